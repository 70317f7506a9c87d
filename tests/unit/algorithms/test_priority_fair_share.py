"""The default algorithm: who gets what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.algorithms.snapshots import Service, big_snapshot, random_snapshot, snapshot_of
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.snapshot import Snapshot, planned_watts
from wattkeeper.guard.guard import guard


def grants(snapshot: Snapshot) -> list[int]:
    return PriorityFairShare().decide(snapshot).grants.tolist()


def test_demand_that_fits_is_met() -> None:
    assert grants(snapshot_of(Service(active=2, demand=4), Service(active=3, demand=1))) == [4, 1]


def test_higher_priorities_are_served_first() -> None:
    snapshot = snapshot_of(Service(active=5), Service(active=5, priority=1, demand=8), limit_watts=[1000.0])
    assert grants(snapshot) == [2, 8]


def test_floors_of_the_lowest_priority_come_before_demand_of_the_highest() -> None:
    snapshot = snapshot_of(Service(active=5, floor=3), Service(active=5, priority=1, demand=9), limit_watts=[1000.0])
    assert grants(snapshot) == [3, 7]


def test_equals_get_the_same_fraction_of_their_demands() -> None:
    snapshot = snapshot_of(
        Service(active=8), Service(active=4), Service(active=4, unit_watts=50.0), limit_watts=[700.0]
    )
    assert grants(snapshot) == [4, 2, 2]


def test_services_outside_a_full_domain_go_on() -> None:
    snapshot = snapshot_of(
        Service(active=8, unit_watts=(100.0, 100.0)),
        Service(active=8, unit_watts=(0.0, 100.0)),
        limit_watts=[200.0, 1000.0],
    )
    assert grants(snapshot) == [2, 8]


def test_watts_that_are_left_go_to_the_largest_remainder() -> None:
    snapshot = snapshot_of(Service(active=9), Service(active=7), Service(active=5), limit_watts=[1000.0])
    # Shares are 4.29, 3.33 and 2.38 of 10 replicas.
    assert grants(snapshot_of(*[Service(active=n, previous=0) for n in (9, 7, 5)], limit_watts=[1000.0])) == [4, 3, 3]
    assert sum(grants(snapshot)) == 10


def test_a_replica_stays_where_it_was_when_demand_moves_by_one() -> None:
    def split(first: int, second: int, previous: tuple[int, int]) -> list[int]:
        return grants(
            snapshot_of(
                Service(active=previous[0], demand=first, previous=previous[0]),
                Service(active=previous[1], demand=second, previous=previous[1]),
                limit_watts=[900.0],
            )
        )

    assert split(8, 8, (5, 4)) == [5, 4]
    assert split(8, 9, (5, 4)) == [5, 4]
    assert split(9, 8, (5, 4)) == [5, 4]
    assert split(8, 8, (4, 5)) == [4, 5]


def test_what_no_demand_needs_goes_to_what_is_wanted_by_priority() -> None:
    snapshot = snapshot_of(
        Service(active=2, wanted=9), Service(active=2, wanted=6, priority=1), Service(active=1, demand=1)
    )
    assert grants(snapshot) == [3, 6, 1]


def test_wants_yield_to_demand_of_lower_priorities() -> None:
    snapshot = snapshot_of(Service(active=2, demand=7), Service(active=8, demand=3, wanted=9, priority=1))
    assert grants(snapshot) == [7, 3]


def test_a_raise_is_proposed_together_with_the_cut_that_makes_room_for_it() -> None:
    snapshot = snapshot_of(Service(active=10), Service(active=0, demand=4, priority=1))
    assert grants(snapshot) == [6, 4]


def test_one_raise_does_not_empty_every_rack_that_it_might_land_in() -> None:
    racks = 10
    incumbents = [
        Service(active=8, unit_watts=[100.0 if rack == home else 0.0 for rack in range(racks)]) for home in range(racks)
    ]
    active_watts = [80.0] * racks
    raised = Service(active=8, demand=18, priority=1, unit_watts=100.0, active_watts=active_watts)
    snapshot = snapshot_of(*incumbents, raised, limit_watts=[900.0] * racks)
    plan = grants(snapshot)
    assert plan[-1] >= 9
    assert sum(plan[:-1]) >= 60


def test_nobody_makes_room_for_a_raise_that_cannot_happen() -> None:
    stuck = Service(active=1, demand=5, priority=1, unit_watts=(100.0, 100.0), active_watts=(100.0, 0.0))
    other = Service(active=9, unit_watts=(100.0, 0.0))
    assert grants(snapshot_of(stuck, other, limit_watts=[1000.0, 50.0])) == [1, 9]
    assert grants(snapshot_of(stuck, other, limit_watts=[1000.0, 900.0], frozen=[False, True])) == [1, 9]


def test_replicas_under_way_stay_before_anybody_is_raised() -> None:
    snapshot = snapshot_of(
        Service(active=4, committed=6, demand=6), Service(active=2, demand=6, priority=1), limit_watts=[1200.0]
    )
    assert grants(snapshot) == [6, 6]


def test_floor_above_ceiling_does_not_crash() -> None:
    assert grants(snapshot_of(Service(active=3, floor=5, ceiling=2))) == [2]


def test_unknown_watts_are_refused() -> None:
    with pytest.raises(ValueError, match="unit_watts"):
        grants(snapshot_of(Service(active=1, unit_watts=np.nan, active_watts=1.0)))
    with pytest.raises(ValueError, match="base_watts"):
        grants(snapshot_of(Service(active=1), base_watts=[np.nan]))


@worlds(150)
@given(st.integers(0, 2**32 - 1))
def test_proposals_fit_wherever_floors_do(seed: int) -> None:
    snapshot = random_snapshot(seed)
    plan = PriorityFairShare().decide(snapshot)
    planned = planned_watts(snapshot, plan.grants)
    at_floors = planned_watts(snapshot, np.minimum(snapshot.floor, snapshot.ceiling))
    assert (planned <= np.maximum(snapshot.limit_watts, at_floors) + 1e-4).all()
    assert (plan.grants >= snapshot.floor).all()
    assert (plan.grants <= snapshot.ceiling).all()


@worlds(50)
@given(st.integers(0, 2**32 - 1))
def test_at_constant_demand_grants_come_to_rest(seed: int) -> None:
    snapshot = random_snapshot(seed, settled=True)
    snapshot = replace(snapshot, previous=snapshot.committed)
    landing = snapshot.unit_watts > 0
    each = np.divide(
        snapshot.active_watts,
        snapshot.active[:, None],
        out=snapshot.unit_watts * 0.5,
        where=snapshot.active[:, None] > 0,
    )
    share = np.where(landing, np.minimum(each, snapshot.unit_watts), 0.0)
    snapshot = replace(snapshot, active_watts=snapshot.active[:, None] * share)
    seen: list[list[int]] = []
    known = np.ones(len(snapshot.services), dtype=np.bool_)
    for _ in range(40):
        plan = guard(snapshot, PriorityFairShare().decide(snapshot), warm=True, demand_known=known)
        seen.append(plan.grants.tolist())
        snapshot = replace(
            snapshot,
            active=plan.grants,
            committed=plan.grants,
            previous=plan.grants,
            active_watts=plan.grants[:, None] * share,
        )
    assert seen[-1] == seen[-2] == seen[-3]


def test_a_big_cluster_is_shared_out_within_its_limits() -> None:
    snapshot = big_snapshot(400, 200, 3)
    plan = PriorityFairShare().decide(snapshot)
    planned = planned_watts(snapshot, plan.grants)
    assert (planned <= np.maximum(snapshot.limit_watts, planned_watts(snapshot, snapshot.floor)) + 1e-4).all()
    assert 0.5 * snapshot.active.sum() < plan.grants.sum() < snapshot.demand.sum()
