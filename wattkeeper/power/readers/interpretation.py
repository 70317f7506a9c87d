"""Raw series of one round to Measurements: one CPU source and one GPU source per node.

GPUs come from dcgm-exporter where it covers a node, else from Kepler. Where dcgm-exporter names no pods at all and
Kepler's GPU series are there, Kepler's are taken.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wattkeeper.api.readings import Measurements, PodKey, ServiceKey
from wattkeeper.power.readers.clamping import clamp
from wattkeeper.power.readers.dcgm import DcgmReadings, IdleWatts, read_dcgm
from wattkeeper.power.readers.kepler import KeplerReadings, read_kepler
from wattkeeper.power.readers.legacy_kepler import LegacyReadings, read_legacy
from wattkeeper.power.readers.meters import read_meters
from wattkeeper.power.readers.samples import Found, Reading, column
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.vllm import ServingReadings, read_vllm

K = TypeVar("K", bound=Hashable)

_GONE_INTERVALS = 1.5
_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreted:
    """One round, interpreted, still by source (for `wattkeeper probe`) and combined.

    Attributes:
        kepler, legacy, dcgm, serving: by source.
        platform: watts at the supplies, by node.
        dcgm_nodes: nodes whose GPUs dcgm-exporter is believed for.
        found: the raw series.
        measurements: everything combined.
    """

    kepler: KeplerReadings
    legacy: LegacyReadings
    dcgm: DcgmReadings
    serving: ServingReadings
    platform: Mapping[str, Reading]
    dcgm_nodes: frozenset[str]
    found: Found
    measurements: Measurements


def interpret(
    found: Found,
    settings: ReaderSettings,
    memory: IdleWatts,
    *,
    interval_seconds: float,
    demand_interval_seconds: float,
    demand: Mapping[ServiceKey, Reading],
    meters: Mapping[str, Reading],
    problems: Sequence[str],
) -> Interpreted:
    """Interprets one round.

    Args:
        found: raw series by metric.
        settings: zones and limits.
        memory: of GPUs' idle watts; learns from this round.
        interval_seconds: of the slowest source of watts.
        demand_interval_seconds: of model servers.
        demand: values of policies' queries.
        meters: values of budgets' queries.
        problems: sentences about what could not be fetched.
    """
    gone_seconds = _GONE_INTERVALS * interval_seconds
    kepler = read_kepler(found, settings.zone_names, gone_seconds)
    known = frozenset(kepler.node_cpu) | kepler.frozen
    legacy = read_legacy(found, known, gone_seconds)
    known |= frozenset(legacy.node_cpu) | legacy.frozen
    dcgm = read_dcgm(
        found,
        known=known,
        pod_nodes=kepler.pod_nodes,
        kepler_idle=kepler.gpu_idle,
        memory=memory,
        gone_seconds=gone_seconds,
    )
    serving = read_vllm(found, _GONE_INTERVALS * demand_interval_seconds)
    platform = {**legacy.node_platform, **read_meters(found, known, gone_seconds)}
    use_dcgm = dcgm.pods_named or not kepler.pod_gpu
    dcgm_nodes = frozenset(dcgm.node_gpu) if use_dcgm else frozenset[str]()
    said = [*problems, *_problems(kepler, legacy, dcgm, serving)]

    node_cpu = _clamped(
        {**legacy.node_cpu, **kepler.node_cpu}, {}, settings.node_cpu_limit_watts, "CPU watts of node", said
    )
    node_gpu = _gpu_by_node(legacy.node_gpu, kepler.node_gpu, dcgm.node_gpu, dcgm_nodes)
    node_gpu_idle = _gpu_by_node(legacy.node_gpu_idle, kepler.node_gpu_idle, dcgm.node_gpu_idle, dcgm_nodes)
    limits = {node: one.value for node, one in dcgm.node_limit.items()}
    pod_cpu = {**legacy.pod_cpu, **kepler.pod_cpu}
    pod_gpu = _pod_gpu(kepler, legacy, dcgm, dcgm_nodes)
    pod_gpu_limits = {pod: limits[node] for pod, node in kepler.pod_nodes.items() if node in limits}
    measurements = Measurements(
        node_cpu_watts=column(node_cpu),
        node_cpu_idle_watts=column({**legacy.node_cpu_idle, **kepler.node_cpu_idle}),
        node_gpu_watts=column(_clamped(node_gpu, limits, math.inf, "GPU watts of node", said)),
        node_gpu_idle_watts=column(node_gpu_idle),
        node_gpu_limit_watts=column(dcgm.node_limit),
        node_platform_watts=column(platform),
        pod_cpu_watts=column(_clamped(pod_cpu, {}, settings.node_cpu_limit_watts, "CPU watts of pod", said)),
        pod_gpu_watts=column(_clamped(pod_gpu, pod_gpu_limits, math.inf, "GPU watts of pod", said)),
        pod_requests=column(serving.requests),
        pod_tokens_per_second=column(serving.tokens_per_second),
        service_demand=column(demand),
        meter_watts=column(meters),
        interval_seconds=interval_seconds,
        demand_interval_seconds=demand_interval_seconds,
        problems=tuple(said),
    )
    return Interpreted(
        kepler=kepler,
        legacy=legacy,
        dcgm=dcgm,
        serving=serving,
        platform=platform,
        dcgm_nodes=dcgm_nodes,
        found=found,
        measurements=measurements,
    )


def _gpu_by_node(
    legacy: Mapping[str, Reading],
    kepler: Mapping[str, Reading],
    dcgm: Mapping[str, Reading],
    dcgm_nodes: frozenset[str],
) -> dict[str, Reading]:
    by_kepler = {node: one for node, one in {**legacy, **kepler}.items() if node not in dcgm_nodes}
    return {**by_kepler, **{node: one for node, one in dcgm.items() if node in dcgm_nodes}}


def _pod_gpu(
    kepler: KeplerReadings, legacy: LegacyReadings, dcgm: DcgmReadings, dcgm_nodes: frozenset[str]
) -> dict[PodKey, Reading]:
    # Legacy Kepler does not say where a pod runs: with dcgm-exporter anywhere, its GPU watts could count twice.
    by_legacy: Mapping[PodKey, Reading] = legacy.pod_gpu if not dcgm_nodes else dict[PodKey, Reading]()
    by_kepler = {pod: one for pod, one in kepler.pod_gpu.items() if kepler.pod_nodes[pod] not in dcgm_nodes}
    return {**by_legacy, **by_kepler, **(dcgm.pod_gpu if dcgm_nodes else {})}


def _clamped(
    readings: Mapping[K, Reading], limits: Mapping[K, float], otherwise: float, what: str, said: list[str]
) -> dict[K, Reading]:
    inside, clamped = clamp(readings, limits, otherwise)
    if clamped:
        said.append(f"{what} {_names(clamped)} read above what is possible and were clamped.")
    return inside


def _problems(
    kepler: KeplerReadings, legacy: LegacyReadings, dcgm: DcgmReadings, serving: ServingReadings
) -> list[str]:
    said: list[str] = []
    frozen = sorted(kepler.frozen | legacy.frozen)
    if frozen:
        said.append(f"Kepler answers on node {_names(frozen)}, but its counters no longer advance: restart it there.")
    if dcgm.node_gpu and not dcgm.pods_named and not kepler.pod_gpu:
        said.append(
            "dcgm-exporter names no pods: start it with --kubernetes (DCGM_EXPORTER_KUBERNETES=true) and let it reach "
            "the kubelet's pod-resources socket. (No pod with a GPU running would look the same.)"
        )
    if serving.nameless:
        said.append(
            f"{serving.nameless} series of vLLM name no pod: scrape it by a PodMonitor or ServiceMonitor, or add "
            "namespace and pod as target labels."
        )
    return said


def _names(keys: Sequence[Hashable]) -> str:
    shown = ", ".join(f"{key.namespace}/{key.name}" if isinstance(key, PodKey) else str(key) for key in keys[:_NAMED])
    return shown if len(keys) <= _NAMED else f"{shown} and {len(keys) - _NAMED} more"
