"""Kepler before 0.10: joules of nodes and containers by component.

`kepler_container_joules_total` adds the GPU to CPU, memory and the rest, so it is never used: components are summed
here, and GPUs come from one source only. Nodes are named by the exporter's own `instance` label, which Prometheus
keeps as `exported_instance` unless labels are honoured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wattkeeper.api.readings import PodKey
from wattkeeper.power.readers import rates
from wattkeeper.power.readers.places import node_of
from wattkeeper.power.readers.samples import Found, Labels, Part, Reading, Series, total

NODE_GPU = "kepler_node_gpu_joules_total"  # Newer Kepler has one of the same name, without `mode`.
NODE_PLATFORM = "kepler_node_platform_joules_total"
CONTAINER_GPU = "kepler_container_gpu_joules_total"
EXPORTER = "kepler_exporter_build_info"
_COMPONENTS = ("package", "dram")
NODE_METRICS = (*(f"kepler_node_{part}_joules_total" for part in _COMPONENTS), NODE_GPU, NODE_PLATFORM)
CONTAINER_METRICS = (*(f"kepler_container_{part}_joules_total" for part in _COMPONENTS), CONTAINER_GPU)
DYNAMIC, IDLE = "dynamic", "idle"
# What legacy Kepler books on whatever is no container.
_NO_PODS = {"", "system_processes", "kernel_processes", "unknown"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LegacyReadings:
    """What legacy Kepler says, in watts: by node, and dynamic watts by pod. GPUs are there only where it has them.

    `frozen` are nodes whose Kepler answers with counters that no longer advance.
    """

    node_cpu: Mapping[str, Reading]
    node_cpu_idle: Mapping[str, Reading]
    node_gpu: Mapping[str, Reading]
    node_gpu_idle: Mapping[str, Reading]
    node_platform: Mapping[str, Reading]
    pod_cpu: Mapping[PodKey, Reading]
    pod_gpu: Mapping[PodKey, Reading]
    frozen: AbstractSet[str]


def read_legacy(found: Found, known: AbstractSet[str], gone_seconds: float) -> LegacyReadings:
    """Interprets one round.

    Args:
        found: raw series.
        known: names of nodes that are certain.
        gone_seconds: a series last seen that much before its siblings is gone.
    """
    cpu = [one for part in _COMPONENTS for one in found.get(f"kepler_node_{part}_joules_total", ())]
    gpu = [one for one in found.get(NODE_GPU, ()) if one.labels.mode]
    pods = [one for part in _COMPONENTS for one in found.get(f"kepler_container_{part}_joules_total", ())]
    cpu_rows = list(_node_rows(cpu, known, (DYNAMIC, IDLE)))
    frozen = rates.frozen(cpu_rows, gone_seconds)
    # Containers carry their exporter's target labels, and not always its node's name.
    silent = frozen | {one.labels.instance for one in cpu if node_of(one.labels, known) in frozen} - {""}
    return LegacyReadings(
        node_cpu=_drawn(cpu_rows, gone_seconds),
        node_cpu_idle=_drawn(_node_rows(cpu, known, (IDLE,)), gone_seconds),
        node_gpu=_drawn(_node_rows(gpu, known, (DYNAMIC, IDLE)), gone_seconds),
        node_gpu_idle=_drawn(_node_rows(gpu, known, (IDLE,)), gone_seconds),
        node_platform=_drawn(_node_rows(found.get(NODE_PLATFORM, ()), known, (DYNAMIC, IDLE)), gone_seconds),
        pod_cpu=total(_pod_rows(pods, known, silent), gone_seconds),
        pod_gpu=total(_pod_rows(found.get(CONTAINER_GPU, ()), known, silent), gone_seconds),
        frozen=frozen,
    )


def _part_of(labels: Labels) -> tuple[str, ...]:
    return (labels.metric, labels.mode, labels.package, labels.source, labels.gpu)


def _node_rows(
    series: Sequence[Series], known: AbstractSet[str], modes: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], Part]]:
    for labels, points in series:
        node = node_of(labels, known)
        if node and labels.mode in modes:
            yield node, _part_of(labels), rates.whole_machine(points)


def _drawn(rows: Iterable[tuple[str, tuple[str, ...], Part]], gone_seconds: float) -> dict[str, Reading]:
    """Sums parts by node; 0 W is unknown, for whatever runs draws something."""
    return {node: one for node, one in total(rows, gone_seconds).items() if one.value > 0.0}


def _pod_rows(
    series: Sequence[Series], known: AbstractSet[str], silent: AbstractSet[str]
) -> Iterator[tuple[PodKey, tuple[str, ...], Part]]:
    for labels, points in series:
        if labels.mode != DYNAMIC or labels.pod_name in _NO_PODS:
            continue
        if labels.instance in silent or node_of(labels, known) in silent:
            continue
        key = PodKey(labels.container_namespace, labels.pod_name)
        yield key, (labels.metric, labels.container_name, labels.container_id), rates.per_second(points)
