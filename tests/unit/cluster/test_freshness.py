"""What budgets tell of when somebody decided last."""

from __future__ import annotations

import pytest

from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.cluster.freshness import Freshness
from wattkeeper.simulation.cluster import TwinCluster

NOW = 1_800_000_000.0


def evaluated(*ages: float | None) -> tuple[TwinCluster, Freshness]:
    """Returns a cluster with a budget for each age in seconds, None for one that nobody has evaluated."""
    cluster = TwinCluster(PausingClock())
    freshness = Freshness(cluster.view, stale_seconds=15.0)
    for number, age in enumerate(ages):
        stamp = "" if age is None else format_instant(NOW - age)
        cluster.create(
            PowerBudget(
                metadata=ObjectMeta(name=f"rack-{number}"),
                spec=PowerBudgetSpec(limit_watts=1.0),
                status=PowerBudgetStatus(last_evaluated=stamp),
            )
        )
    return cluster, freshness


@pytest.mark.parametrize(
    ("ages", "stale", "told"),
    [
        ((3.0,), False, True),
        ((30.0,), True, False),
        ((30.0, 3.0), False, True),
        ((None,), True, False),
        ((-60.0,), True, False),
        ((), False, False),
    ],
)
def test_the_newest_evaluation_counts_and_without_budgets_nothing_is_old_and_nothing_is_told(
    ages: tuple[float | None, ...], *, stale: bool, told: bool
) -> None:
    _, freshness = evaluated(*ages)
    assert (freshness.stale(NOW), freshness.told(NOW)) == (stale, told)


def test_a_budget_that_is_gone_tells_nothing() -> None:
    cluster, freshness = evaluated(3.0)
    (only,) = cluster.view.all(PowerBudget).values()
    cluster.objects.remove(only)
    assert (freshness.stale(NOW), freshness.told(NOW)) == (False, False)
