"""What may be set about the power model: orders of magnitude for what nobody measured yet, and speeds of learning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Parameters of the power model. Watts, seconds, and plain factors.

    Attributes:
        cpu_watts_per_core: upper bound for a requested core (a hardware thread): 400 W sockets have 64 to 128 threads.
        least_cpu_cores: a pod that requests less is charged as if it requested this.
        node_cpu_limit_watts: no node's CPUs and memory draw more (two sockets of 400 W, and memory); clamps spikes.
        cpu_idle_watts: CPUs and memory of an idle two-socket node.
        wall_loss_factor: watts at the supplies per watt inside, expected (supplies of 92 to 96 %).
        wall_loss_factor_upper: the same at its upper bound, fans that speed up included.
        board_base_watts: fans, drives, network and board of any node, before losses (wall meter alone).
        fixed_margin: factor on priors of a node's fixed draw at their upper bound.
        fixed_samples: samples of a node's fixed draw until its prior no longer counts.
        percentile: of a replica's watts, charged as its upper bound.
        margin: factor on that percentile.
        half_life_seconds: after which a sample weighs half (24 h, as the VPA's recommender uses).
        confident_samples: samples until the prior no longer counts.
        confident_seconds: time watched until the prior no longer counts.
        confident_blind_seconds: the same where the load is unknown, so that quiet hours are not taken for all there is.
        confident_load: load that must have been seen until the prior no longer counts.
        lowering_half_life_seconds: how slowly an upper bound falls towards what is measured.
        idle_share: share of a replica's prior that it is expected to draw when loaded and without traffic.
        fit_samples: samples that the fit of watts over load remembers.
        unmanaged_margin: factor on the measured watts of a pod that no policy covers.
        peak_half_life_seconds: how slowly the highest sustained watts of pods and nodes are forgotten.
        residual_seconds: time constant of the residual's average.
        residual_share: the residual is at most this share of a domain's limit.
        meter_stale_seconds: a budget's own meter is not used beyond this age, a machine's beyond neither it nor 3
            intervals.
        pod_memory_seconds, node_memory_seconds, service_memory_seconds: how long what has left is remembered.
    """

    cpu_watts_per_core: float = 5.0
    least_cpu_cores: float = 0.5
    node_cpu_limit_watts: float = 1200.0
    cpu_idle_watts: float = 150.0
    wall_loss_factor: float = 1.08
    wall_loss_factor_upper: float = 1.15
    board_base_watts: float = 150.0
    fixed_margin: float = 1.25
    fixed_samples: float = 30.0
    percentile: float = 0.98
    margin: float = 1.1
    half_life_seconds: float = 86_400.0
    confident_samples: float = 500.0
    confident_seconds: float = 21_600.0
    confident_blind_seconds: float = 86_400.0
    confident_load: float = 0.8
    lowering_half_life_seconds: float = 3_600.0
    idle_share: float = 0.5
    fit_samples: float = 1_000.0
    unmanaged_margin: float = 1.2
    peak_half_life_seconds: float = 86_400.0
    residual_seconds: float = 600.0
    residual_share: float = 0.2
    meter_stale_seconds: float = 120.0
    pod_memory_seconds: float = 900.0
    node_memory_seconds: float = 86_400.0
    service_memory_seconds: float = 604_800.0
