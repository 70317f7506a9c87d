"""Who makes room for the one replica more of a rollout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.unit.algorithms.snapshots import Service, snapshot_of
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.recommender.deciding import decide_with_rollouts
from wattkeeper.recommender.rollouts import Rollouts, plan_rollouts, with_rollouts


def gated(replicas: int, *, previous: int | None = None, priority: int = 0, floor: int = 0) -> Service:
    return Service(gated=True, active=replicas, previous=previous, priority=priority, floor=floor)


def planned(snapshot: Snapshot, grants: Sequence[int], *rolling: int, replacing: Sequence[int] = ()) -> Rollouts:
    rows = np.arange(len(grants))
    return plan_rollouts(snapshot, np.array(grants), np.isin(rows, rolling), np.isin(rows, replacing))


def outcome(rollouts: Rollouts) -> tuple[list[int], list[bool], bool]:
    return rollouts.surge.tolist(), rollouts.blocked.tolist(), rollouts.lacking


def test_a_surge_that_fits_is_planned() -> None:
    rollouts = planned(snapshot_of(gated(2), limit_watts=[300.0]), [2], 0)
    assert outcome(rollouts) == ([1], [False], False)


def test_nobody_surges_who_does_not_roll() -> None:
    assert outcome(planned(snapshot_of(gated(2)), [2])) == ([0], [False], False)


def test_without_room_a_grant_of_two_makes_room_for_itself() -> None:
    rollouts = planned(snapshot_of(gated(2), limit_watts=[200.0]), [2], 0)
    assert (outcome(rollouts), rollouts.ceiling.tolist()) == (([1], [False], True), [1])


def test_it_makes_none_where_an_old_pod_goes_first() -> None:
    rollouts = planned(snapshot_of(gated(2), limit_watts=[200.0]), [2], 0, replacing=[0])
    assert (outcome(rollouts), rollouts.ceiling.tolist()) == (([0], [True], False), [1000])


def test_nor_does_a_lower_priority() -> None:
    snapshot = snapshot_of(gated(2, priority=9), gated(3), limit_watts=[500.0])
    assert outcome(planned(snapshot, [2, 3], 0, replacing=[0])) == ([0, 0], [True, False], False)


def test_it_makes_no_room_below_its_floor() -> None:
    rollouts = planned(snapshot_of(gated(2, floor=2), limit_watts=[200.0]), [2], 0)
    assert (outcome(rollouts), rollouts.ceiling.tolist()) == (([0], [True], False), [1000])


def test_a_single_replica_takes_from_lower_priorities() -> None:
    snapshot = snapshot_of(gated(1, priority=9), gated(3), limit_watts=[400.0])
    assert outcome(planned(snapshot, [1, 3], 0)) == ([1, 0], [False, False], True)


def test_but_not_from_their_floors() -> None:
    snapshot = snapshot_of(gated(1, priority=9), gated(3, floor=3), limit_watts=[400.0])
    assert outcome(planned(snapshot, [1, 3], 0)) == ([0, 0], [True, False], False)


def test_nor_from_equals() -> None:
    snapshot = snapshot_of(gated(1), gated(3), limit_watts=[400.0])
    assert outcome(planned(snapshot, [1, 3], 0)) == ([0, 0], [True, False], False)


def test_two_rollouts_do_not_take_the_same_watts() -> None:
    snapshot = snapshot_of(gated(1, priority=9), gated(1, priority=9), gated(1), limit_watts=[300.0])
    assert outcome(planned(snapshot, [1, 1, 1], 0, 1)) == ([1, 0, 0], [False, True, False], True)


def test_two_rollouts_share_what_room_there_is() -> None:
    snapshot = snapshot_of(gated(1), gated(1, priority=9), limit_watts=[300.0])
    assert outcome(planned(snapshot, [1, 1], 0, 1)) == ([0, 1], [True, False], False)


def test_every_domain_must_have_the_watts() -> None:
    snapshot = snapshot_of(gated(1), limit_watts=[1000.0, 150.0])
    assert outcome(planned(snapshot, [1], 0)) == ([0], [True], False)


def test_a_surge_that_is_out_is_planned_whatever_comes_of_it() -> None:
    snapshot = snapshot_of(gated(2, previous=1), limit_watts=[150.0])
    assert outcome(planned(snapshot, [1], 0)) == ([1], [False], False)


def test_a_service_without_any_grant_has_nothing_to_roll() -> None:
    assert outcome(planned(snapshot_of(gated(0)), [0], 0)) == ([0], [False], False)


def test_stale_readings_start_no_surge() -> None:
    assert outcome(planned(snapshot_of(gated(2), frozen=[True]), [2], 0)) == ([0], [True], False)


def test_a_surge_that_is_out_is_not_committed_once_more() -> None:
    snapshot = snapshot_of(gated(3, previous=2))
    picture = with_rollouts(snapshot, planned(snapshot, [2], 0), np.array([2]))
    assert (picture.committed.tolist(), picture.surge.tolist()) == ([2], [1])


def test_one_that_waits_leaves_the_grant_committed() -> None:
    snapshot = snapshot_of(gated(1, previous=2))
    picture = with_rollouts(snapshot, planned(snapshot, [2], 0), np.array([2]))
    assert (picture.committed.tolist(), picture.surge.tolist()) == ([2], [1])


class Counted(PriorityFairShare):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, snapshot: Snapshot) -> Plan:
        self.asked += 1
        assert (snapshot.demand <= snapshot.ceiling).all()
        return super().decide(snapshot)


def asked(limit_watts: float, *, rolling: bool = True) -> tuple[int, list[int], list[int]]:
    """Returns how often the algorithm was asked, grants and surges of a service of two replicas."""
    algorithm = Counted()
    decision = decide_with_rollouts(
        snapshot_of(gated(2), limit_watts=[limit_watts]),
        algorithm,
        rolling=np.array([rolling]),
        replacing=np.array([False]),
        granted=np.array([2]),
        warm=True,
        known=np.array([True]),
        problems=[],
    )
    return algorithm.asked, decision.plan.grants.tolist(), decision.plan.surges.tolist()


def test_the_algorithm_is_asked_again_only_where_a_rollout_lacks_headroom() -> None:
    assert asked(1000.0, rolling=False) == (1, [2], [0])
    assert asked(300.0) == (1, [2], [1])
    assert asked(200.0) == (2, [1], [1])


def test_a_ceiling_that_makes_room_does_not_hide_what_the_traffic_asks_for() -> None:
    decision = decide_with_rollouts(
        snapshot_of(gated(2), limit_watts=[200.0]),
        PriorityFairShare(),
        rolling=np.array([True]),
        replacing=np.array([False]),
        granted=np.array([2]),
        warm=True,
        known=np.array([True]),
        problems=[],
    )
    snapshot, plan = decision.snapshot, decision.plan
    assert (snapshot.demand.tolist(), plan.reasons.tolist(), plan.binding.tolist()) == ([2], [1], [0])
