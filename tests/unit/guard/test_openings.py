"""Rule 8: what leaves the power gate."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.algorithms.snapshots import Service, random_snapshot, snapshot_of
from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import Snapshot, drawing_watts
from wattkeeper.guard.guard import guard
from wattkeeper.guard.guarded_plan import GuardedPlan


def guarded(snapshot: Snapshot, *grants: int, warm: bool = True) -> GuardedPlan:
    known = np.ones(len(snapshot.services), dtype=np.bool_)
    return guard(snapshot, Plan(grants=np.array(grants, dtype=np.int64)), warm=warm, demand_known=known)


def at_gate(committed: int, *, out: int = 0, **rest: float) -> Service:
    """A gated service with `out` replicas past the gate, of as many as are committed."""
    return Service(gated=True, active=out, committed=committed, **rest)  # pyright: ignore[reportArgumentType]


def test_what_is_granted_leaves_the_gate_where_it_fits() -> None:
    plan = guarded(snapshot_of(at_gate(3, out=1)), 3)
    assert (plan.openings.tolist(), plan.guarded_watts.tolist()) == ([2], [300.0])


def test_it_waits_beside_what_drains() -> None:
    snapshot = snapshot_of(at_gate(3, out=1, draining_watts=150.0), limit_watts=[350.0])
    plan = guarded(snapshot, 3)
    assert (plan.grants.tolist(), plan.openings.tolist()) == ([3], [1])


def test_nothing_leaves_the_gate_of_a_domain_over_its_limit() -> None:
    snapshot = snapshot_of(at_gate(3, out=1, draining_watts=300.0), limit_watts=[300.0])
    assert guarded(snapshot, 3).openings.tolist() == [0]


def test_every_domain_that_it_could_land_in_must_have_room() -> None:
    snapshot = snapshot_of(at_gate(2), limit_watts=[1000.0, 150.0])
    assert guarded(snapshot, 2).openings.tolist() == [1]


def test_a_service_without_a_gate_has_no_openings() -> None:
    assert guarded(snapshot_of(Service(active=1, committed=3)), 3).openings.tolist() == [0]


def test_what_autoscalers_may_still_start_without_a_gate_comes_first() -> None:
    snapshot = snapshot_of(Service(active=1, committed=3), at_gate(2, priority=9), limit_watts=[400.0])
    assert guarded(snapshot, 3, 2).openings.tolist() == [0, 1]


def test_a_raise_without_a_gate_leaves_no_room_for_openings() -> None:
    snapshot = snapshot_of(
        Service(active=1, demand=2, priority=9), at_gate(2, draining_watts=100.0), limit_watts=[500.0]
    )
    plan = guarded(snapshot, 2, 2)
    assert (plan.grants.tolist(), plan.openings.tolist(), plan.guarded_watts.tolist()) == ([2, 2], [0, 2], [500.0])


def test_the_higher_priority_leaves_first() -> None:
    snapshot = snapshot_of(at_gate(2), at_gate(2, priority=9, draining_watts=100.0), limit_watts=[400.0])
    assert guarded(snapshot, 2, 2).openings.tolist() == [1, 2]


def test_a_cut_grant_closes_the_gate() -> None:
    assert guarded(snapshot_of(at_gate(5, out=2)), 2).openings.tolist() == [0]


def test_nothing_leaves_until_caches_are_warm() -> None:
    plan = guarded(snapshot_of(at_gate(3, out=1)), 3, warm=False)
    assert (plan.grants.tolist(), plan.openings.tolist(), plan.guarded_watts.tolist()) == ([3], [0], [100.0])


def test_a_planned_surge_leaves_above_the_grant() -> None:
    plan = guarded(snapshot_of(at_gate(2, out=2, surge=1)), 2)
    assert (plan.grants.tolist(), plan.openings.tolist(), plan.surges.tolist()) == ([2], [1], [1])


def test_a_surge_that_does_not_fit_yet_is_not_granted() -> None:
    snapshot = snapshot_of(at_gate(2, out=2, surge=1, draining_watts=100.0), limit_watts=[300.0])
    plan = guarded(snapshot, 2)
    assert (plan.openings.tolist(), plan.surges.tolist()) == ([0], [0])


def test_a_surge_that_is_out_stays_granted() -> None:
    plan = guarded(snapshot_of(at_gate(2, out=3, surge=1), limit_watts=[300.0]), 2)
    assert (plan.openings.tolist(), plan.surges.tolist()) == ([0], [1])


def test_a_surge_is_reserved_before_others_are_raised() -> None:
    snapshot = snapshot_of(at_gate(2, out=2, surge=1), Service(active=1, demand=2, priority=9), limit_watts=[400.0])
    assert guarded(snapshot, 2, 2).grants.tolist() == [2, 1]


def test_stale_readings_let_a_granted_replica_start_again_but_no_surge() -> None:
    snapshot = snapshot_of(at_gate(3, out=2, surge=1), frozen=[True])
    assert guarded(snapshot, 3).openings.tolist() == [1]


def test_a_grant_that_a_predecessor_still_draws_is_not_taken_back() -> None:
    snapshot = snapshot_of(at_gate(3, out=2, draining_watts=100.0), limit_watts=[300.0])
    assert guarded(snapshot, 3).grants.tolist() == [3]


def test_reservations_at_a_gate_hold_raises_back_and_not_what_was_granted_already() -> None:
    snapshot = snapshot_of(
        at_gate(2, out=1, draining_watts=100.0),
        Service(active=1, started=1, committed=2, previous=2, demand=3),
        limit_watts=[400.0],
    )
    assert guarded(snapshot, 2, 3).grants.tolist() == [2, 2]


def plain_openings(snapshot: Snapshot, grants: list[int], drawn: list[float], stale: list[bool]) -> list[int]:
    """The rule, replica by replica: those of the highest priority first, then in the snapshot's order."""
    openings = [0] * len(grants)
    for row in sorted(range(len(grants)), key=lambda row: -int(snapshot.priority[row])):
        if not snapshot.gated[row]:
            continue
        allowed = grants[row] + (0 if stale[row] else int(snapshot.surge[row]))
        for _ in range(allowed - int(snapshot.active[row])):
            unit: list[float] = snapshot.unit_watts[row].tolist()
            after = [watts + more for watts, more in zip(drawn, unit, strict=True)]
            limits: list[float] = snapshot.limit_watts.tolist()
            if any(more > 0 and total > limit + 1e-6 for total, limit, more in zip(after, limits, unit, strict=True)):
                break
            openings[row], drawn = openings[row] + 1, after
    return openings


@given(st.integers(0, 2**32 - 1))
def test_a_plain_reading_of_the_rule_opens_the_same(seed: int) -> None:
    snapshot = random_snapshot(seed)
    grants = np.random.default_rng(seed).integers(0, 9, len(snapshot.services))
    plan = guarded(snapshot, *grants.tolist())
    opened = plan.openings.astype(np.float64) @ snapshot.unit_watts
    touching = (snapshot.unit_watts > 0) | (snapshot.active_watts > 0) | (snapshot.draining_watts > 0)
    stale: list[bool] = np.logical_or.reduce(touching[:, snapshot.frozen], axis=1).tolist()
    drawn: list[float] = (plan.guarded_watts - opened).tolist()
    assert plan.openings.tolist() == plain_openings(snapshot, plan.grants.tolist(), drawn, stale)


@given(st.integers(0, 2**32 - 1))
def test_openings_never_take_a_domain_over_its_limit(seed: int) -> None:
    snapshot = random_snapshot(seed)
    plan = guarded(snapshot, *snapshot.demand.tolist())
    opened = plan.openings.astype(np.float64) @ snapshot.unit_watts
    assert (plan.guarded_watts <= snapshot.limit_watts + 1e-5)[opened > 0].all()
    assert (plan.guarded_watts >= drawing_watts(snapshot) + opened - 1e-5).all()
