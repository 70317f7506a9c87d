"""What the power model says a cluster draws: the terms of the guarded and the expected sum."""

from __future__ import annotations

from dataclasses import dataclass

from wattkeeper.api.readings import Floats, Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Charges:
    """Watts by meter (axis of length 3, the order of wattkeeper.api.power_budget.METERS: wall, node, gpu).

    Attributes:
        node_upper_watts: float64[3, N], fixed draw of each node with losses, at its upper bound.
        node_expected_watts: float64[3, N], the same, expected.
        unmanaged_upper_watts: float64[3, N], what pods that no policy covers may draw on each node.
        unmanaged_expected_watts: float64[3, N].
        pending_unmanaged_watts: float64[3], what unmanaged pods without a node request; they may land anywhere.
        replica_upper_watts: float64[3, S, K], what one replica of a service may draw on a kind of node.
        replica_expected_watts: float64[3, S, K], the same at the load now measured.
        pod_upper_watts: float64[3, P], what each managed pod on a node may draw (0 for pending and unmanaged ones).
            At least what it was last measured to draw.
        pod_expected_watts: float64[3, P].
        residual_watts: float64[D], what the domain's meter shows beyond the expected sum, learned slowly; >= 0.
        meter_watts: float64[D], the domain's measured watts in its own meter; NaN unknown.
        node_rung: int64[N], wattkeeper.api.readings.Rung.
    """

    node_upper_watts: Floats
    node_expected_watts: Floats
    unmanaged_upper_watts: Floats
    unmanaged_expected_watts: Floats
    pending_unmanaged_watts: Floats
    replica_upper_watts: Floats
    replica_expected_watts: Floats
    pod_upper_watts: Floats
    pod_expected_watts: Floats
    residual_watts: Floats
    meter_watts: Floats
    node_rung: Ints
