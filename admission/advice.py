"""What kubectl users are told where a policy does not enforce: what would be held back if it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.recommender.pods import unix_seconds

FRESH_SECONDS: Final = 60.0
"""A budget that nobody has evaluated for longer says nothing about now."""


def advice(
    recommendation: PowerRecommendation,
    budget: PowerBudget | None,
    policy: str,
    mode: str,
    replicas: int | None,
    now: float,
    *,
    what: str = "this pod starts",
) -> Iterator[str]:
    """Yields warnings, none where nothing would be held back.

    Args:
        recommendation: what the leader last wrote about the service.
        budget: the one that binds it, if any does.
        policy: the name of the service's policy.
        mode: its mode, Off or Initial.
        replicas: what the scale target asks for; None while that is unknown.
        now: Unix seconds.
        what: happens although the budget would have it otherwise.
    """
    if budget is None or abs(now - unix_seconds(budget.status.last_evaluated)) > FRESH_SECONDS:
        return
    name, over, target = budget.metadata.name, budget.status.over_watts, recommendation.status.target.replicas
    passive = f"policy {policy} is in mode {mode}, so {what} anyway"
    if over > 0:
        yield f"PowerBudget {name} is over by {over:.0f} W; {passive}"
    elif replicas is not None and target < replicas:
        yield f"PowerBudget {name} carries {target} of {replicas} replicas; {passive}"
