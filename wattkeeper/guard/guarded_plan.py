"""The only type that publishers accept. Only wattkeeper.guard.guard makes one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from wattkeeper.api.readings import Bools, Floats, Ints


class GrantReason(IntEnum):
    """Why a service got what it got (names are those of PowerRecommendation's reasons)."""

    DEMAND_MET = 0
    BUDGET_BINDS = 1
    FLOOR_HELD = 2
    READINGS_STALE = 3
    DEMAND_UNKNOWN = 4
    WARMING_UP = 5
    UNCAPPED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardedPlan:
    """A plan that may reach the cluster. S services, D domains.

    Attributes:
        services, domains: names, the snapshot's own.
        grants: int64[S], replicas that each service may run.
        reasons: int64[S], GrantReason.
        binding: int64[S], the domain that holds a service below its demand, -1 for none.
        missing_watts: float64[S], what the binding domain lacks for the service's demand, 0 for none.
        openings: int64[S], replicas of gated services that may leave the power gate now, on top of the snapshot's
            active ones.
        surges: int64[S], how many of all that are out then exceed the grant, for the sake of a rollout.
        guarded_watts: float64[D], the sum as it stands: all that runs, loads, drains or, for services without a gate,
            was granted, this plan's raises and openings included.
        planned_watts: float64[D], the sum once the plan's cuts have drained.
        over_watts: float64[D], how much guarded_watts exceeds the limit, 0 if inside.
        unachievable: bool[D], no allowed cut brings the domain inside: floors, fixed draw or unmanaged pods alone
            exceed it.
        corrections: sentences: what of the proposal was not taken, and why.
        state: the algorithm's opaque state, for its next call.
    """

    services: tuple[str, ...]
    domains: tuple[str, ...]
    grants: Ints
    reasons: Ints
    binding: Ints
    missing_watts: Floats
    openings: Ints
    surges: Ints
    guarded_watts: Floats
    planned_watts: Floats
    over_watts: Floats
    unachievable: Bools
    corrections: tuple[str, ...]
    state: bytes
