"""How old the leader's last decision is, as every replica can see it: PowerBudget.status.lastEvaluated."""

from __future__ import annotations

from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.interface import View


class Freshness:
    """Follows the budgets of a view, so that asking costs nothing."""

    def __init__(self, view: View, *, stale_seconds: float) -> None:
        """Subscribes.

        Args:
            view: the caches.
            stale_seconds: a decision older than this is stale.
        """
        self._stale_seconds = stale_seconds
        self._evaluated: dict[str, float] = {}
        self._newest = float("-inf")
        view.subscribe(PowerBudget, self._changed)

    def stale(self, now: float) -> bool:
        """Says whether nobody has decided for too long.

        The newest instant counts, because one leader evaluates all budgets at once. One that lies further in the
        future than a decision may be old shows a wrong clock, and is no sign of life. Without budgets there is nothing
        to be stale against, and no budget that what is loosened could exceed; see `told`.
        """
        return bool(self._evaluated) and abs(now - self._newest) > self._stale_seconds

    def told(self, now: float) -> bool:
        """Says whether somebody is known to have decided lately: without budgets nothing tells.

        Who does what cannot be undone asks this.
        """
        return bool(self._evaluated) and not self.stale(now)

    def age_seconds(self, now: float) -> float:
        """Returns how old the newest decision is; inf before the first one."""
        return max(now - self._newest, 0.0)

    def _changed(self, old: PowerBudget | None, new: PowerBudget | None) -> None:
        if old is not None:
            self._evaluated.pop(old.metadata.name, None)
        if new is not None:
            evaluated = parse_instant(new.status.last_evaluated)
            self._evaluated[new.metadata.name] = float("-inf") if evaluated is None else evaluated
        self._newest = max(self._evaluated.values(), default=float("-inf"))
