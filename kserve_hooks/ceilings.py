"""How high a ceiling is: down at once, up only after it could have been higher for a while, never on old decisions."""

from __future__ import annotations

from dataclasses import dataclass

from wattkeeper.api.power_recommendation import PowerRecommendationStatus

_BINDING = ("BudgetBinds", "FloorHeld")
_HOLDING = ("ReadingsStale", "DemandUnknown", "WarmingUp")


@dataclass(kw_only=True, slots=True)
class _Rise:
    since: float
    lowest: int


class Rises:
    """Remembers since when each ceiling could be higher. Forgetting it only delays a rise."""

    def __init__(self, *, raise_seconds: float) -> None:
        """Takes how long a ceiling must have been too low before it rises."""
        self._raise_seconds = raise_seconds
        self._rises: dict[str, _Rise] = {}

    def settled(self, key: str, *, in_force: int, wanted: int, now: float, fresh: bool) -> int:
        """Returns the ceiling from now on.

        Args:
            key: whose it is.
            in_force: what holds now.
            wanted: what the recommendation carries.
            now: Unix seconds.
            fresh: somebody has decided lately: an old decision loosens nothing.
        """
        if wanted <= in_force or not fresh:
            self._rises.pop(key, None)
            return min(wanted, in_force)
        rise = self._rises.setdefault(key, _Rise(since=now, lowest=wanted))
        rise.lowest = min(rise.lowest, wanted)
        if now - rise.since < self._raise_seconds:
            return in_force
        del self._rises[key]
        return rise.lowest


def hard_ceiling(status: PowerRecommendationStatus, in_force: int | None) -> int:
    """Returns the maxReplicaCount of a ScaledObject whose trigger is ours.

    The trigger tells the exact number already. A maximum beside it that followed demand would be rewritten all day, and
    each change rebuilds KEDA's scalers. So it comes down where a budget binds, and is the policy's own elsewhere.
    """
    if status.reason in _BINDING:
        return status.target.replicas
    if status.reason in _HOLDING and in_force is not None:
        return min(in_force, status.upper_bound.replicas)
    return status.upper_bound.replicas
