"""NVIDIA's dcgm-exporter: watts by GPU, and which pod holds it.

What is special about it:

- A GPU that several pods share (MIG, time slicing) has a series per pod, each with the whole GPU's watts.
- Watts are the GPU's whole draw; pods are given what lies above its idle draw, as Kepler does, so that nodes' idle
  watts plus their pods' watts are the nodes' watts.
- It measures every 30 s by default, however often it is scraped: the energy counter moves in steps.
- The pod's labels collide with those of the exporter's own pod, see wattkeeper.power.readers.samples.Labels.
- They can outlive the pod: whoever joins readings with the cluster drops pods that are gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from wattkeeper.api.readings import PodKey
from wattkeeper.power.catalogue import gpu_model
from wattkeeper.power.readers import rates
from wattkeeper.power.readers.places import node_of
from wattkeeper.power.readers.samples import Found, Labels, Reading, Series

K = TypeVar("K", PodKey, str)

ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"  # mJ.
POWER = "DCGM_FI_DEV_POWER_USAGE"  # W.
ENFORCED_LIMIT = "DCGM_FI_DEV_ENFORCED_POWER_LIMIT"
SET_LIMIT = "DCGM_FI_DEV_POWER_MGMT_LIMIT"
METRICS = (ENERGY, POWER, ENFORCED_LIMIT, SET_LIMIT)
_MILLIJOULES = 1000.0
_LEAST_STEPS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class DcgmReadings:
    """What dcgm-exporter says, in watts.

    Attributes:
        node_gpu, node_gpu_idle: by node.
        node_limit: enforced limits of the node's GPUs together.
        pod_gpu: active watts by pod.
        pods_named: some series names the pod that holds its GPU.
    """

    node_gpu: Mapping[str, Reading]
    node_gpu_idle: Mapping[str, Reading]
    node_limit: Mapping[str, Reading]
    pod_gpu: Mapping[PodKey, Reading]
    pods_named: bool


class IdleWatts:
    """What each GPU draws when idle: the least it was seen to draw while no pod held it, else its model's figure."""

    def __init__(self) -> None:
        self._least: dict[str, float] = {}

    def see(self, uuid: str, watts: float) -> None:
        """Takes in what a GPU draws that no pod holds."""
        self._least[uuid] = min(watts, self._least.get(uuid, watts))

    def of(self, uuid: str, model: str) -> float:
        """Returns a GPU's idle watts."""
        least = self._least.get(uuid)
        return gpu_model(model).idle_watts if least is None else least


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gpu:
    node: str
    watts: Reading
    idle_watts: float
    pods: Mapping[PodKey, float]


def read_dcgm(
    found: Found,
    *,
    known: AbstractSet[str],
    pod_nodes: Mapping[PodKey, str],
    kepler_idle: Mapping[str, float],
    memory: IdleWatts,
    gone_seconds: float,
) -> DcgmReadings:
    """Interprets one round.

    Args:
        found: raw series.
        known: names of nodes that are certain.
        pod_nodes: where pods run, for exporters whose own labels do not name their node, and to tell pods that are
            gone from those that share a GPU.
        kepler_idle: idle watts by GPU UUID, where Kepler measured them.
        memory: of idle watts; learns from this round.
        gone_seconds: a series last seen that much before its GPU's youngest is gone.
    """
    every = [*found.get(ENERGY, ()), *found.get(POWER, ())]
    exported = any(one.labels.exported_pod for one in every)
    nodes = _exporters_nodes(every, known, pod_nodes, exported=exported)
    by_gpu: dict[str, list[Series]] = {}
    for one in every:
        by_gpu.setdefault(_gpu_of(one.labels), []).append(one)
    gpus: dict[str, _Gpu] = {}
    for uuid, series in by_gpu.items():
        watts = _watts(series)
        newest = max(points[-1][0] for _, points in series)
        living = [labels for labels, points in series if points[-1][0] >= newest - gone_seconds]
        pods = _shares(living, pod_nodes.keys(), exported=exported)
        if not pods and math.isfinite(watts.value):
            memory.see(uuid, watts.value)
        idle = kepler_idle.get(uuid) or memory.of(uuid, living[0].gpu_model)
        gpus[uuid] = _Gpu(node=nodes[_exporter(living[0])], watts=watts, idle_watts=min(idle, watts.value), pods=pods)
    return DcgmReadings(
        node_gpu=_sum((gpu.node, gpu.watts.value, gpu.watts.timestamp) for gpu in gpus.values()),
        node_gpu_idle=_sum((gpu.node, gpu.idle_watts, gpu.watts.timestamp) for gpu in gpus.values()),
        node_limit=_limits(found, gpus),
        pod_gpu=_sum(
            (pod, share * (gpu.watts.value - gpu.idle_watts), gpu.watts.timestamp)
            for gpu in gpus.values()
            for pod, share in gpu.pods.items()
        ),
        pods_named=any(gpu.pods for gpu in gpus.values()),
    )


def pod_on(labels: Labels, *, exported: bool) -> PodKey | None:
    """Returns the pod that holds the GPU; None where none does.

    Args:
        labels: of a GPU's series.
        exported: some series has `exported_pod`, so `pod` is the exporter's own.
    """
    if exported:
        return PodKey(labels.exported_namespace, labels.exported_pod) if labels.exported_pod else None
    # With no GPU held at all there is no exported_pod to tell the exporter's own labels by.
    own = "dcgm-exporter" in labels.pod
    return PodKey(labels.namespace, labels.pod) if labels.pod and labels.namespace and not own else None


def _gpu_of(labels: Labels) -> str:
    return labels.gpu_uuid_dcgm or f"{_exporter(labels)}/{labels.gpu}"


def _exporter(labels: Labels) -> tuple[str, ...]:
    return (labels.instance, labels.hostname, labels.node, labels.kubernetes_node)


def _exporters_nodes(
    series: Iterable[Series], known: AbstractSet[str], pod_nodes: Mapping[PodKey, str], *, exported: bool
) -> dict[tuple[str, ...], str]:
    nodes: dict[tuple[str, ...], str] = {}
    for labels, _ in series:
        exporter = _exporter(labels)
        if nodes.get(exporter) in known:
            continue
        name = node_of(labels, known)
        if name not in known:
            pod = pod_on(labels, exported=exported)
            name = pod_nodes.get(pod, name) if pod else name
        nodes[exporter] = name
    return nodes


def _watts(series: Sequence[Series]) -> Reading:
    """Returns a GPU's watts from its energy, or where that has not moved twice in the window, from its power.

    NaN where neither says anything yet.
    """
    energies = [points for labels, points in series if labels.metric == ENERGY]
    powers = [points for labels, points in series if labels.metric == POWER]
    measured = [rates.while_advancing(points, least_changes=_LEAST_STEPS) for points in energies]
    best = max((part for part in measured if part.value >= 0.0), key=lambda part: part.timestamp, default=None)
    if best is not None:
        return Reading(best.value / _MILLIJOULES, best.timestamp)
    gauges = [part for part in map(rates.positive_gauge, powers) if part.value > 0.0]
    if not gauges:
        return Reading(math.nan, 0.0)
    last = max(gauges, key=lambda part: part.timestamp)
    # A frozen exporter's gauge looks young; its energy knows when it last moved.
    frozen = [part.timestamp for part in measured if part.timestamp < part.sampled]
    return Reading(last.value, min([last.timestamp, *([max(frozen)] if frozen else [])]))


def _shares(living: Sequence[Labels], running: AbstractSet[PodKey], *, exported: bool) -> dict[PodKey, float]:
    """Returns each pod's share of a GPU: by compute slices under MIG (profile 3g.40gb: three), else equal.

    The kubelet may go on naming a pod that has ended: where some of the pods are known to run, they share alone.
    """
    slices: dict[PodKey, dict[str, float]] = {}
    for labels in living:
        pod = pod_on(labels, exported=exported)
        if pod is not None:
            slices.setdefault(pod, {})[labels.mig_instance] = _slices(labels.mig_profile)
    sharing = (slices.keys() & running) or slices.keys()
    weights = {pod: sum(of_pod.values()) for pod, of_pod in slices.items() if pod in sharing}
    whole = sum(weights.values())
    return {pod: weight / whole for pod, weight in weights.items()}


def _slices(profile: str) -> float:
    count, dot, _ = profile.partition("g.")
    return float(count) if dot and count.isdecimal() and int(count) > 0 else 1.0


def _limits(found: Found, gpus: Mapping[str, _Gpu]) -> dict[str, Reading]:
    by_gpu: dict[str, Reading] = {}
    for metric in (SET_LIMIT, ENFORCED_LIMIT):  # The enforced one, where both are there.
        for labels, points in found.get(metric, ()):
            when, watts = points[-1]
            if watts > 0.0:
                by_gpu[_gpu_of(labels)] = Reading(watts, when)
    limited = _sum((gpus[uuid].node, one.value, one.timestamp) for uuid, one in by_gpu.items() if uuid in gpus)
    partly = {gpu.node for uuid, gpu in gpus.items() if uuid not in by_gpu}
    return {node: one for node, one in limited.items() if node not in partly}


def _sum(rows: Iterable[tuple[K, float, float]]) -> dict[K, Reading]:
    """Adds watts by key; a key with an unknown part is absent."""
    result: dict[K, Reading] = {}
    for key, watts, when in rows:
        before = result.get(key)
        result[key] = (
            Reading(watts, when) if before is None else Reading(before.value + watts, max(before.timestamp, when))
        )
    return {key: one for key, one in result.items() if math.isfinite(one.value)}
