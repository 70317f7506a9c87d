"""There is one safe state: whatever is proposed, the guarded sum fits or only falls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.algorithms.snapshots import random_snapshot
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Bools, Ints
from wattkeeper.api.snapshot import Snapshot, committed_watts, drawing_watts, planned_watts
from wattkeeper.guard.errors import PlanRejectedError
from wattkeeper.guard.guard import guard, hold
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.guard.standing import standing_grants

SLACK_WATTS = 1e-5

extremes = st.sampled_from([np.iinfo(np.int64).min, -1, 0, 1, 2**31, np.iinfo(np.int64).max])
seeds = st.integers(0, 2**32 - 1)


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Snapshot, Bools, GuardedPlan]:
    """A snapshot, whose demand is known, and what became of an adversarial proposal."""
    snapshot = random_snapshot(draw(seeds))
    count = len(snapshot.services)
    proposal = np.array(draw(st.lists(st.integers(0, 12) | extremes, min_size=count, max_size=count)), dtype=np.int64)
    proposal.setflags(write=draw(st.booleans()))
    known = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=np.bool_)
    return snapshot, known, guard(snapshot, Plan(grants=proposal), warm=True, demand_known=known)


def held(snapshot: Snapshot, known: Bools) -> Bools:
    touching = (snapshot.unit_watts > 0) | (snapshot.active_watts > 0) | (snapshot.draining_watts > 0)
    return (touching & snapshot.frozen).any(axis=1) | ~known


@given(decisions())
def test_a_sum_that_was_inside_stays_inside_and_one_over_the_limit_never_grows(
    decision: tuple[Snapshot, Bools, GuardedPlan],
) -> None:
    snapshot, _, plan = decision
    before = drawing_watts(snapshot)
    assert (plan.guarded_watts <= np.maximum(before, snapshot.limit_watts) + SLACK_WATTS).all()
    raised = np.where(snapshot.gated, plan.openings, np.maximum(plan.grants - snapshot.committed, 0))
    assert (plan.guarded_watts >= before + raised @ snapshot.unit_watts - SLACK_WATTS).all()


@given(decisions())
def test_nobody_blind_is_raised(decision: tuple[Snapshot, Bools, GuardedPlan]) -> None:
    snapshot, known, plan = decision
    blind = held(snapshot, known)
    assert (plan.grants[blind] <= snapshot.committed[blind]).all()
    granted = blind & (snapshot.previous >= 0)
    assert (plan.grants[granted] <= snapshot.previous[granted]).all()


@given(decisions())
def test_grants_lie_between_floor_and_ceiling_but_for_holds_and_raises_that_wait(
    decision: tuple[Snapshot, Bools, GuardedPlan],
) -> None:
    snapshot, _, plan = decision
    assert (plan.grants <= snapshot.ceiling).all()
    lowest = np.minimum(snapshot.started, standing_grants(snapshot))
    assert (plan.grants >= np.minimum(snapshot.floor, lowest)).all()


@given(decisions())
def test_what_a_grant_starts_fits_beside_all_that_is_there(decision: tuple[Snapshot, Bools, GuardedPlan]) -> None:
    snapshot, _, plan = decision
    there = drawing_watts(replace(snapshot, committed=snapshot.started))
    replicas = np.where(snapshot.gated, plan.openings, np.maximum(plan.grants - snapshot.started, 0))
    starting = replicas.astype(np.float64) @ snapshot.unit_watts
    assert (there + starting <= snapshot.limit_watts + SLACK_WATTS)[starting > 0].all()


@given(decisions())
def test_openings_stay_within_grants_and_surges(decision: tuple[Snapshot, Bools, GuardedPlan]) -> None:
    snapshot, _, plan = decision
    opening = plan.openings > 0
    assert (snapshot.active + plan.openings <= plan.grants + plan.surges)[opening].all()
    assert not plan.openings[~snapshot.gated].any()
    assert (plan.surges <= snapshot.surge).all()


@given(decisions())
def test_a_raise_fits_beside_all_that_is_reserved(decision: tuple[Snapshot, Bools, GuardedPlan]) -> None:
    snapshot, _, plan = decision
    raised = np.maximum(plan.grants - standing_grants(snapshot), 0).astype(np.float64) @ snapshot.unit_watts
    assert (committed_watts(snapshot) + raised <= snapshot.limit_watts + SLACK_WATTS)[raised > 0].all()


@given(decisions())
def test_what_is_planned_fits_unless_floors_stand_in_the_way(decision: tuple[Snapshot, Bools, GuardedPlan]) -> None:
    snapshot, _, plan = decision
    lowest = planned_watts(snapshot, np.minimum(plan.grants, snapshot.floor))
    # A domain that is over has nothing left to cut in it: what is above its floor draws nothing there.
    assert (plan.planned_watts <= np.maximum(snapshot.limit_watts, lowest) + SLACK_WATTS).all()
    over = plan.planned_watts > snapshot.limit_watts + SLACK_WATTS
    assert (plan.unachievable[over]).all()
    assert not (plan.unachievable & ~over & (plan.planned_watts < snapshot.limit_watts)).any()


@given(seeds, st.lists(st.integers(0, 12), min_size=7, max_size=7))
def test_the_same_proposal_gives_the_same_plan(seed: int, proposal: list[int]) -> None:
    plans: list[GuardedPlan] = []
    for _ in range(2):
        snapshot = random_snapshot(seed)
        known = np.ones(len(snapshot.services), dtype=np.bool_)
        grants = np.array(proposal[: len(known)], dtype=np.int64)
        plans.append(guard(snapshot, Plan(grants=grants), warm=True, demand_known=known))
    first, second = plans
    assert first.grants.tolist() == second.grants.tolist()
    assert first.reasons.tolist() == second.reasons.tolist()
    assert first.corrections == second.corrections


@given(seeds, st.booleans())
def test_a_hold_raises_nothing(seed: int, warm: bool) -> None:
    snapshot = random_snapshot(seed)
    plan = hold(snapshot, warm=warm, demand_known=np.ones(len(snapshot.services), dtype=np.bool_))
    assert (plan.grants <= snapshot.committed).all()
    opened = plan.openings.astype(np.float64) @ snapshot.unit_watts
    assert plan.guarded_watts == pytest.approx(drawing_watts(snapshot) + opened)


@settings(max_examples=30)
@given(seeds, st.sampled_from(["float64", "int32", "object", "bool", "complex128"]), st.integers(-1, 1))
def test_proposals_of_another_type_or_length_are_refused(seed: int, dtype: str, longer: int) -> None:
    snapshot = random_snapshot(seed, services=3)
    grants: Ints = np.full(3 + longer, 1).astype(dtype)
    with pytest.raises(PlanRejectedError):
        guard(snapshot, Plan(grants=grants), warm=True, demand_known=np.ones(3, dtype=np.bool_))
