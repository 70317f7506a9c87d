"""Raw samples as both readers hand them to the sources' modules: labels and a few points in time.

Raw points instead of rate() and instant vectors, because they carry their own times: an instant vector looks back five
minutes, rate() keeps answering for its whole window after scraping stopped and understates a series that has just
begun, and neither says so.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from wattkeeper.api.readings import Column

K = TypeVar("K", bound=Hashable)


class Labels(msgspec.Struct, frozen=True, kw_only=True, gc=False, cache_hash=True):
    """The labels that some source's module asks for; "" where a series lacks one, as Prometheus itself counts.

    `exported_*` is what Prometheus makes of an exporter's own label that collides with one of its target's, unless
    the scrape configuration sets honor_labels (honorLabels in a ServiceMonitor).
    """

    metric: str = msgspec.field(default="", name="__name__")
    job: str = ""
    instance: str = ""
    exported_instance: str = ""
    node: str = ""
    exported_node: str = ""
    kubernetes_node: str = ""
    namespace: str = ""
    pod: str = ""
    exported_namespace: str = ""
    exported_pod: str = ""
    kubernetes_namespace: str = ""
    kubernetes_pod_name: str = ""
    # Kepler.
    node_name: str = ""
    exported_node_name: str = ""
    zone: str = ""
    path: str = ""
    state: str = ""
    pod_id: str = ""
    pod_name: str = ""
    pod_namespace: str = ""
    exported_pod_name: str = ""
    exported_pod_namespace: str = ""
    gpu_uuid: str = ""
    chassis_id: str = ""
    bmc_id: str = ""
    source: str = ""
    source_id: str = ""
    source_type: str = ""
    version: str = ""
    # Legacy Kepler.
    container_namespace: str = ""
    container_name: str = ""
    container_id: str = ""
    mode: str = ""
    package: str = ""
    # DCGM.
    gpu: str = ""
    gpu_uuid_dcgm: str = msgspec.field(default="", name="UUID")
    gpu_model: str = msgspec.field(default="", name="modelName")
    hostname: str = msgspec.field(default="", name="Hostname")
    mig_instance: str = msgspec.field(default="", name="GPU_I_ID")
    mig_profile: str = msgspec.field(default="", name="GPU_I_PROFILE")
    # vLLM.
    engine: str = ""
    model_name: str = ""


Point = tuple[float, float]


class Series(NamedTuple):
    """One series of one round: points are (Unix seconds, value), oldest first, at least one."""

    labels: Labels
    points: Sequence[Point]


Found = Mapping[str, Sequence[Series]]
"""What a round found, by metric name."""


class Reading(NamedTuple):
    """One quantity: its value and the time of the youngest sample behind it."""

    value: float
    timestamp: float


class Part(NamedTuple):
    """One series' share of a quantity.

    Attributes:
        value: NaN where the series is there and yields nothing yet.
        timestamp: of the youngest sample that taught anything.
        sampled: when the series was last seen.
    """

    value: float
    timestamp: float
    sampled: float


def total(rows: Iterable[tuple[K, Hashable, Part]], gone_seconds: float) -> dict[K, Reading]:
    """Sums parts by key. Unknown stays unknown: a key with a part that yields nothing is absent.

    Args:
        rows: (key, what the part is, the part). What is seen twice (scraped by two jobs) counts once, the youngest.
        gone_seconds: a part last seen that much before its key's youngest is gone (a pod's predecessor of the same
            name, a GPU that went idle) and does not count.
    """
    parts: dict[K, dict[Hashable, Part]] = {}
    for key, name, part in rows:
        of_key = parts.get(key)
        if of_key is None:
            parts[key] = {name: part}
            continue
        seen = of_key.get(name)
        if seen is None or part.sampled > seen.sampled or math.isnan(seen.value):
            of_key[name] = part
    result: dict[K, Reading] = {}
    for key, of_key in parts.items():
        living: Iterable[Part] = of_key.values()
        if len(of_key) > 1:
            oldest = max(part.sampled for part in living) - gone_seconds
            living = [part for part in living if part.sampled >= oldest]
        value = timestamp = 0.0
        for part in living:
            value += part.value
            timestamp = max(timestamp, part.timestamp)
        if math.isfinite(value) and value >= 0.0:
            result[key] = Reading(value, timestamp)
    return result


def column(readings: Mapping[K, Reading]) -> Column[K]:
    """Turns readings into arrays."""
    return Column(
        keys=tuple(readings),
        values=np.array([one.value for one in readings.values()], dtype=np.float64),
        timestamps=np.array([one.timestamp for one in readings.values()], dtype=np.float64),
    )
