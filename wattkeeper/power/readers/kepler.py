"""Kepler 0.10 and newer: joules of nodes and pods by RAPL zone, and its experimental GPU and Redfish series.

What is special about them (Kepler's docs/user/metrics.md and its collector's code):

- `kepler_node_cpu_joules_total` is the RAPL register itself and wraps; active plus idle joules do not.
- Gauges of watts cover Kepler's last own interval, not the scrape's; joules cover everything.
- Series of terminated pods stay for a while with state="terminated".
- Pods' GPU watts leave the idle draw to the node, and their series exist only where they are above 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wattkeeper.api.readings import PodKey
from wattkeeper.power.readers import rates
from wattkeeper.power.readers.samples import Found, Labels, Part, Reading, Series, total

BUILD = "kepler_build_info"
NODE_ACTIVE = "kepler_node_cpu_active_joules_total"
NODE_IDLE = "kepler_node_cpu_idle_joules_total"
POD_CPU = "kepler_pod_cpu_joules_total"
NODE_GPU_JOULES = "kepler_node_gpu_joules_total"
NODE_GPU_WATTS = "kepler_node_gpu_watts"
NODE_GPU_IDLE_WATTS = "kepler_node_gpu_idle_watts"
POD_GPU_JOULES = "kepler_pod_gpu_joules_total"
POD_GPU_WATTS = "kepler_pod_gpu_watts"

NODE_METRICS = (NODE_ACTIVE, NODE_IDLE, NODE_GPU_JOULES, NODE_GPU_WATTS, NODE_GPU_IDLE_WATTS)
POD_METRICS = (POD_CPU, POD_GPU_JOULES, POD_GPU_WATTS)
RUNNING = "running"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeplerReadings:
    """What Kepler says, in watts.

    Attributes:
        node_cpu, node_cpu_idle: by node; idle included, and the idle part.
        node_gpu, node_gpu_idle: by node.
        gpu_idle: idle watts by GPU UUID.
        pod_cpu, pod_gpu: active watts by pod. pod_gpu holds 0 for pods that are known to use no GPU now.
        pod_nodes: the node of each pod.
        frozen: nodes whose Kepler answers with counters that no longer advance.
    """

    node_cpu: Mapping[str, Reading]
    node_cpu_idle: Mapping[str, Reading]
    node_gpu: Mapping[str, Reading]
    node_gpu_idle: Mapping[str, Reading]
    gpu_idle: Mapping[str, float]
    pod_cpu: Mapping[PodKey, Reading]
    pod_gpu: Mapping[PodKey, Reading]
    pod_nodes: Mapping[PodKey, str]
    frozen: AbstractSet[str]


def read_kepler(found: Found, zones: tuple[str, ...], gone_seconds: float) -> KeplerReadings:
    """Interprets one round.

    Args:
        found: raw series.
        zones: RAPL zones to sum; they must not hold one another.
        gone_seconds: a series last seen that much before its siblings is gone.
    """
    cpu_rows = list(_both(found, zones))
    node_cpu = total(cpu_rows, gone_seconds)
    frozen = rates.frozen(cpu_rows, gone_seconds)
    cpu_idle = total(_zone_rows(found.get(NODE_IDLE, ()), zones), gone_seconds)
    pod_nodes: dict[PodKey, str] = {}
    pod_cpu = total(_pod_rows(found.get(POD_CPU, ()), zones, frozen, pod_nodes), gone_seconds)
    node_gpu = _node_gpu(found, frozen, gone_seconds)
    return KeplerReadings(
        node_cpu=node_cpu,
        node_cpu_idle={node: one for node, one in cpu_idle.items() if node in node_cpu and node not in frozen},
        node_gpu=node_gpu,
        node_gpu_idle=total(_gpu_rows(found.get(NODE_GPU_IDLE_WATTS, ()), rates.gauge), gone_seconds),
        gpu_idle={
            labels.gpu_uuid: points[-1][1] for labels, points in found.get(NODE_GPU_IDLE_WATTS, ()) if labels.gpu_uuid
        },
        pod_cpu=pod_cpu,
        pod_gpu=_pod_gpu(found, pod_cpu, pod_nodes, node_gpu, frozen, gone_seconds),
        pod_nodes=pod_nodes,
        frozen=frozen,
    )


def _node(labels: Labels) -> str:
    return labels.exported_node_name or labels.node_name


def _pod(labels: Labels) -> PodKey:
    return PodKey(labels.exported_pod_namespace or labels.pod_namespace, labels.exported_pod_name or labels.pod_name)


_Zone = tuple[str, str, str]


def _zone_rows(series: Sequence[Series], zones: tuple[str, ...]) -> Iterator[tuple[str, _Zone, Part]]:
    for labels, points in series:
        node = _node(labels)
        if node and labels.zone in zones:
            yield node, (labels.zone, labels.path, ""), rates.per_second(points)


def _both(found: Found, zones: tuple[str, ...]) -> Iterator[tuple[str, _Zone, Part]]:
    """Yields active plus idle, added sample by sample: either may stand still (a busy CPU has no idle joules)."""
    idle = {_scraped(labels): points for labels, points in found.get(NODE_IDLE, ()) if labels.zone in zones}
    for labels, points in found.get(NODE_ACTIVE, ()):
        node = _node(labels)
        if not node or labels.zone not in zones:
            continue
        idle_at = dict(idle.get(_scraped(labels), ()))
        sums = [(when, joules + idle_at[when]) for when, joules in points if when in idle_at]
        last_seen = points[-1][0]
        # Without its other half a zone is unknown: left out, it would count as 0.
        part = rates.while_advancing(sums) if sums else Part(math.nan, last_seen, last_seen)
        yield node, (labels.zone, labels.path, ""), part


def _scraped(labels: Labels) -> tuple[str, ...]:
    return (_node(labels), labels.zone, labels.path, labels.instance, labels.job)


def _gpu_rows(series: Sequence[Series], measure: rates.Measure) -> Iterator[tuple[str, str, Part]]:
    for labels, points in series:
        node = _node(labels)
        # Legacy Kepler has a metric of the same name, without node_name and with a mode.
        if node and not labels.mode:
            yield node, labels.gpu_uuid or labels.gpu, measure(points)


def _node_gpu(found: Found, frozen: AbstractSet[str], gone_seconds: float) -> dict[str, Reading]:
    by_joules = total(_gpu_rows(found.get(NODE_GPU_JOULES, ()), rates.while_advancing), gone_seconds)
    by_gauge = total(_gpu_rows(found.get(NODE_GPU_WATTS, ()), rates.positive_gauge), gone_seconds)
    # A frozen Kepler's gauges look young.
    return {**{node: one for node, one in by_gauge.items() if node not in frozen}, **by_joules}


def _pod_rows(
    series: Sequence[Series], zones: tuple[str, ...], frozen: AbstractSet[str], nodes: dict[PodKey, str]
) -> Iterator[tuple[PodKey, tuple[str, str], Part]]:
    for labels, points in series:
        if labels.state != RUNNING or (zones and labels.zone not in zones):
            continue
        node, key = _node(labels), _pod(labels)
        if not key.name or node in frozen:
            continue
        nodes[key] = node
        yield key, (labels.pod_id, labels.zone), rates.per_second(points)


def _pod_gpu(
    found: Found,
    pod_cpu: Mapping[PodKey, Reading],
    pod_nodes: dict[PodKey, str],
    node_gpu: Mapping[str, Reading],
    frozen: AbstractSet[str],
    gone_seconds: float,
) -> dict[PodKey, Reading]:
    rows: list[tuple[PodKey, str, Part]] = []
    joules = {(_pod(one.labels), one.labels.pod_id): one for one in found.get(POD_GPU_JOULES, ())}
    gauges = {(_pod(one.labels), one.labels.pod_id): one for one in found.get(POD_GPU_WATTS, ())}
    for (key, pod_id), (labels, points) in {**gauges, **joules}.items():
        node = _node(labels)
        if labels.state != RUNNING or not key.name or node in frozen:
            continue
        pod_nodes.setdefault(key, node)
        by_joules = (key, pod_id) in joules and len(points) > 1
        gauge = gauges.get((key, pod_id))
        rows.append(
            (key, pod_id, rates.per_second(points) if by_joules or gauge is None else rates.gauge(gauge.points))
        )
    # Without a series now: 0 W, where Kepler is known to see this pod and this node's GPUs.
    idle = {
        key: Reading(0.0, one.timestamp)
        for key, one in pod_cpu.items()
        if pod_nodes[key] in node_gpu and node_gpu[pod_nodes[key]].timestamp >= one.timestamp - gone_seconds
    }
    drawing = {
        key: one
        for key, one in total(rows, gone_seconds).items()
        if key not in pod_cpu or one.timestamp >= pod_cpu[key].timestamp - gone_seconds
    }
    unknown = {key for key, _, part in rows if math.isnan(part.value) and key not in drawing}
    return {key: one for key, one in {**idle, **drawing}.items() if key not in unknown}
