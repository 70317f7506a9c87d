"""What a PowerRecommendation says about pods that have to go, or could move: whether that is worth a write."""

from __future__ import annotations

from collections.abc import Sequence

from scaler.gate_statuses import watts_moved
from wattkeeper.api.power_recommendation import MovablePod, PowerRecommendationStatus, ViolatingPod, Violation


def corrections_differ(old: PowerRecommendationStatus, new: PowerRecommendationStatus) -> bool:
    """Says whether other violations or other pods are named: watts that drift alone do not count."""
    return _violations_differ(old.violations, new.violations) or _pods_differ(old.movable_pods, new.movable_pods)


def _violations_differ(old: Sequence[Violation], new: Sequence[Violation]) -> bool:
    return [(one.type, one.since, one.budget) for one in old] != [
        (one.type, one.since, one.budget) for one in new
    ] or any(
        watts_moved(one.watts, other.watts) or _pods_differ(one.pods, other.pods)
        for one, other in zip(old, new, strict=True)
    )


def _pods_differ(old: Sequence[ViolatingPod | MovablePod], new: Sequence[ViolatingPod | MovablePod]) -> bool:
    return [_named(one) for one in old] != [_named(one) for one in new] or any(
        watts_moved(one.watts, other.watts) for one, other in zip(old, new, strict=True)
    )


def _named(pod: ViolatingPod | MovablePod) -> tuple[str, str]:
    return pod.uid, pod.budget if isinstance(pod, MovablePod) else ""
