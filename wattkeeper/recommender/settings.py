"""What can be set about a decision. Services fill this from their own settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommenderSettings:
    """Settings of the step.

    Attributes:
        actuation_window_seconds: how long an autoscaler may still act on a grant that has since been lowered: one
            KEDA poll (30 s) and two HPA syncs (15 s each).
        warm_up_ticks: ticks with synced caches before anything acts: enough for a reader to have seen two
            rounds of counters.
        demand_stale_intervals: demand older than this many sampling intervals (but at least 30 s) is unknown.
        nearly_used_up_share: pods could move away from a domain whose planned guarded sum is above this share of its
            limit.
        headroom_share: they move to domains that stay below this share.
        settled_seconds: a younger pod does not move: wherever it came from, it has only just arrived.
        history_ticks: how many past ticks an algorithm is shown.
    """

    actuation_window_seconds: float = 60.0
    warm_up_ticks: int = 3
    demand_stale_intervals: float = 3.0
    nearly_used_up_share: float = 0.9
    headroom_share: float = 0.8
    settled_seconds: float = 600.0
    history_ticks: int = 120
