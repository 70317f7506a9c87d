"""Over many ticks, whatever is proposed and however late the autoscaler is, the real draw fits or only falls."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.guard.fleet import Fleet
from wattkeeper.api.plan import Plan
from wattkeeper.guard.guard import guard
from wattkeeper.guard.guarded_plan import GuardedPlan

SLACK_WATTS = 1e-4


def step(fleet: Fleet, rng: np.random.Generator) -> GuardedPlan:
    snapshot = fleet.snapshot()
    count = len(snapshot.services)
    kind = int(rng.integers(0, 3))
    proposal = [np.full(count, 12), rng.integers(0, 13, count), snapshot.demand][kind].astype(np.int64)
    return guard(snapshot, Plan(grants=proposal), warm=True, demand_known=np.ones(count, dtype=np.bool_))


@worlds(60)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_the_guarded_sum_fits_or_only_falls_and_the_real_draw_never_outgrows_it(seed: int, ticks: int) -> None:
    fleet, rng = Fleet.random(seed), np.random.default_rng(seed + 1)
    highest = np.maximum(fleet.draw(), fleet.limit)
    for _ in range(ticks):
        if rng.random() < 0.1:
            fleet.limit = fleet.limit * rng.uniform(0.4, 1.0)
        plan = step(fleet, rng)
        assert (plan.guarded_watts <= np.maximum(highest, fleet.limit) + SLACK_WATTS).all()
        highest = plan.guarded_watts
        fleet.tick(plan.grants)
        assert (fleet.draw() <= highest + SLACK_WATTS).all()


@worlds(40)
@given(st.integers(0, 2**32 - 1))
def test_after_a_cut_the_sum_ends_inside_unless_floors_stand_in_the_way(seed: int) -> None:
    fleet, rng = Fleet.random(seed), np.random.default_rng(seed + 1)
    for _ in range(5):
        fleet.tick(step(fleet, rng).grants)
    fleet.limit = fleet.limit * rng.uniform(0.2, 0.9, len(fleet.limit))
    # A cut takes as many rounds as the ReplicaSet picks victims in other racks: never more than there are replicas.
    for _ in range(50):
        fleet.settle(step(fleet, rng).grants)
    plan = step(fleet, rng)
    assert ((plan.over_watts == 0.0) | plan.unachievable).all()
