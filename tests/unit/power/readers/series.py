"""Writes series by hand: a metric's labels, and its values one interval apart."""

from collections.abc import Mapping, Sequence

from wattkeeper.api.readings import Column, PodKey
from wattkeeper.power.readers.dcgm import IdleWatts
from wattkeeper.power.readers.interpretation import Interpreted, interpret
from wattkeeper.power.readers.samples import Labels, Series
from wattkeeper.power.readers.settings import ReaderSettings

INTERVAL = 5.0
NOW = 1000.0


def series(
    metric: str,
    values: Sequence[float],
    *,
    until: float = NOW,
    labels: Mapping[str, str] | None = None,
    **more: str,
) -> Series:
    """Values one interval apart, the last at `until`."""
    points = [(until - INTERVAL * (len(values) - 1 - at), value) for at, value in enumerate(values)]
    return Series(Labels(metric=metric, **(labels or {}), **more), points)


def counter(
    metric: str,
    per_second: float,
    *,
    start: float = 0.0,
    until: float = NOW,
    samples: int = 5,
    labels: Mapping[str, str] | None = None,
    **more: str,
) -> Series:
    """A counter that rises evenly."""
    return series(
        metric,
        [start + per_second * INTERVAL * at for at in range(samples)],
        until=until,
        labels={**(labels or {}), **more},
    )


def node_cpu(node: str, active: float, idle: float, *, zone: str = "package", until: float = NOW) -> list[Series]:
    return [
        counter("kepler_node_cpu_active_joules_total", active, until=until, node_name=node, zone=zone, path=zone),
        counter("kepler_node_cpu_idle_joules_total", idle, until=until, node_name=node, zone=zone, path=zone),
    ]


def pod_cpu(
    pod: str,
    watts: float,
    *,
    node: str = "n1",
    zone: str = "package",
    until: float = NOW,
    samples: int = 5,
    **more: str,
) -> Series:
    labels = {"node_name": node, "pod_name": pod, "pod_namespace": "ml", "pod_id": f"uid-{pod}", "state": "running"}
    return counter(
        "kepler_pod_cpu_joules_total", watts, until=until, samples=samples, zone=zone, labels={**labels, **more}
    )


def run(
    *parts: Series | Sequence[Series], settings: ReaderSettings | None = None, interval: float = INTERVAL
) -> Interpreted:
    """Interprets series as one round, `interval` being that of the slowest source of watts."""
    found: dict[str, list[Series]] = {}
    for part in parts:
        for one in [part] if isinstance(part, Series) else part:
            found.setdefault(one.labels.metric, []).append(one)
    return interpret(
        found,
        settings or ReaderSettings(),
        IdleWatts(),
        interval_seconds=interval,
        demand_interval_seconds=INTERVAL,
        demand={},
        meters={},
        problems=(),
    )


def by_name(column: Column[str] | Column[PodKey]) -> dict[str, float]:
    """Values by node's or pod's name, rounded."""
    names = [key.name if isinstance(key, PodKey) else key for key in column.keys]
    return {name: round(float(value), 3) for name, value in zip(names, column.values, strict=True)}


def ages(column: Column[str] | Column[PodKey]) -> dict[str, float]:
    """Ages by node's or pod's name."""
    names = [key.name if isinstance(key, PodKey) else key for key in column.keys]
    return {name: NOW - float(when) for name, when in zip(names, column.timestamps, strict=True)}
