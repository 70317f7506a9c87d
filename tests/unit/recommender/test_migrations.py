"""Migrations over ticks: who gets the watts of one replica more, where it lands, and what is told."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.recommender.chaos import Chaos
from tests.unit.recommender.gated_world import GatedWorld, Moving, Workload, limits
from wattkeeper.api.readings import PodPhase
from wattkeeper.recommender import migrations
from wattkeeper.recommender.migrations import Decided, Ground
from wattkeeper.recommender.result import MigrationResults, Refusal, StepResult

SLACK_WATTS = 1e-5


def settled(*workloads: Workload, racks: tuple[float, ...] = (1e6, 1e6), all_watts: float = 1e6) -> GatedWorld:
    world = GatedWorld(workloads=list(workloads), limit_watts=limits(all_watts, *racks))
    world.ticks(8)
    return world


def crowded(*others: Workload, demand: float = 2.0) -> GatedWorld:
    """Returns a world in which all replicas of service 0 stand in rack 0, which they fill."""
    world = GatedWorld(workloads=[Workload(demand=demand), *others], limit_watts=limits(1e6, 100 * demand, 1e6))
    world.start(0, 0, int(demand))
    world.ticks(8)
    return world


def moving(world: GatedWorld) -> Moving:
    world.moving.append(Moving(service=0, rack=0))
    return world.moving[-1]


def refusal(world: GatedWorld) -> Refusal:
    return Refusal(int(world.decide().migrations.refusal[0]))


def racks(world: GatedWorld, service: int = 0) -> list[int]:
    return sorted(pod.rack for one in world.of(service, PodPhase.RUNNING) for pod in one.pods)


# What has its watts.


def test_a_migration_that_fits_is_told_one_replica_more_than_is_granted() -> None:
    world = crowded()
    moving(world)
    result = world.decide()
    assert (result.plan.grants.tolist(), result.migrations.surge.tolist()) == ([2], [1])
    assert (result.migrations.refusal.tolist(), result.migrations.replicas.tolist()) == ([Refusal.NONE], [3])


def test_the_new_replica_leaves_the_gate_and_lands_outside_of_the_budget_that_the_pod_leaves() -> None:
    world = crowded()
    moving(world)
    results = world.ticks(4)
    assert racks(world) == [0, 0, 1]
    assert all(result.gate.avoided[0].tolist() == [False, True, False] for result in results)


def test_old_and_new_pod_are_both_charged() -> None:
    world = crowded()
    moving(world)
    result = world.ticks(4)[-1]
    assert (result.plan.planned_watts == world.draw()).all()
    assert (result.plan.guarded_watts == world.draw()).all()


def test_it_stays_reserved_as_long_as_it_asks() -> None:
    world = crowded()
    moving(world)
    assert [result.migrations.surge.tolist() for result in world.ticks(12)] == [[1]] * 12


def test_from_shrinking_on_the_grant_is_told_again() -> None:
    world = crowded()
    one = moving(world)
    world.ticks(4)
    one.asks = False
    result = world.decide()
    assert (result.plan.grants.tolist(), result.migrations.surge.tolist()) == ([2], [0])


def test_only_migrations_that_ask_get_an_answer() -> None:
    world = crowded()
    one = moving(world)
    one.asks = False
    assert world.decide().migrations.keys == ()


def test_a_new_leader_goes_on_with_what_was_published() -> None:
    world = crowded()
    moving(world)
    world.ticks(4)
    world.published = [2]
    world.recommender = world.new_leader()
    first, *later = [world.decide() for _ in range(6)]
    assert not first.warm
    assert [(one.plan.grants.tolist(), one.migrations.surge.tolist()) for one in later] == [([2], [1])] * 5


def test_stale_readings_take_no_watts_back() -> None:
    world = crowded()
    moving(world)
    world.ticks(4)
    world.stale = True
    assert refusal(world) == Refusal.NONE


def test_a_service_that_was_never_measured_does_not_grow_by_being_told_of_its_migration() -> None:
    world = GatedWorld(
        workloads=[Workload(demand=float("nan"), replicas=2)],
        limit_watts=limits(1e6, 200.0, 1e6),
    )
    world.start(0, 0, 2)
    world.workloads[0].replicas = 2
    world.ticks(8)
    one = moving(world)
    world.ticks(10)
    assert world.workloads[0].replicas == 3
    one.asks = False
    world.ticks(10)
    assert world.workloads[0].replicas == 2


def test_a_cap_that_leaves_room_for_one_more_is_not_raised() -> None:
    world = GatedWorld(workloads=[Workload(demand=12.0, cap_only=True)], limit_watts=limits(1e6, 1e6, 1e6))
    world.start(0, 0, 2)
    for _ in range(4):
        world.tick(obey=False)
    moving(world)
    result = world.decide()
    assert (result.plan.grants.tolist(), result.migrations.surge.tolist()) == ([12], [0])
    assert (result.migrations.refusal.tolist(), result.migrations.replicas.tolist()) == ([Refusal.NONE], [3])


def test_a_cap_that_is_used_up_is_raised() -> None:
    world = GatedWorld(workloads=[Workload(demand=2.0, cap_only=True)], limit_watts=limits(1200.0, 1e6, 1e6))
    world.start(0, 0, 12)
    world.limit_watts = limits(1300.0, 1e6, 1e6)
    for _ in range(4):
        world.tick(obey=False)
    moving(world)
    assert world.decide().migrations.surge.tolist() == [1]


# What is refused.


def test_without_watts_elsewhere_it_is_refused_and_says_what_is_missing() -> None:
    world = settled(Workload(demand=2, racks=(0,)), racks=(200.0, 30.0))
    world.workloads[0].racks = None
    moving(world)
    moves = world.decide().migrations
    assert (moves.refusal.tolist(), moves.surge.tolist()) == ([Refusal.LACKS_WATTS], [0])
    assert (moves.binding.tolist(), moves.missing_watts.tolist()) == ([2], [70.0])


def test_a_budget_of_all_nodes_has_to_have_the_watts_as_well() -> None:
    world = crowded()
    world.limit_watts = limits(250.0, 200.0, 1e6)
    moving(world)
    moves = world.decide().migrations
    assert (moves.refusal.tolist(), moves.binding.tolist()) == ([Refusal.LACKS_WATTS], [0])


def test_nobody_makes_room() -> None:
    world = crowded(Workload(demand=3, priority=-9, racks=(1,)))
    world.limit_watts = limits(500.0, 200.0, 1e6)
    moving(world)
    result = world.decide()
    assert (result.plan.grants.tolist(), refusal(world)) == ([2, 3], Refusal.LACKS_WATTS)


def test_a_cut_takes_the_watts_back() -> None:
    world = crowded()
    moving(world)
    world.ticks(4)
    world.limit_watts = limits(1e6, 200.0, 50.0)
    assert refusal(world) == Refusal.LACKS_WATTS


def test_a_budget_over_its_limit_sheds_first() -> None:
    world = crowded()
    world.limit_watts = limits(1e6, 150.0, 1e6)
    moving(world)
    moves = world.decide().migrations
    assert (moves.refusal.tolist(), moves.binding.tolist()) == ([Refusal.OVER_LIMIT], [1])
    assert moves.missing_watts.tolist() == [50.0]


def test_stale_readings_start_none() -> None:
    world = crowded()
    world.stale = True
    moving(world)
    assert refusal(world) == Refusal.READINGS_STALE


def test_a_service_that_can_run_nowhere_else_does_not_move() -> None:
    world = settled(Workload(demand=2, racks=(0,)))
    moving(world)
    assert refusal(world) == Refusal.NOWHERE_ELSE


def test_a_service_that_rolls_does_not_move() -> None:
    world = crowded()
    world.workloads[0].template += 1
    world.control()
    moving(world)
    assert refusal(world) == Refusal.ROLLS


def test_without_a_gate_nothing_keeps_the_new_replica_off_the_budget() -> None:
    world = settled(Workload(demand=2, gated=False))
    moving(world)
    assert refusal(world) == Refusal.NO_GATE


def test_groups_of_pods_do_not_move() -> None:
    world = settled(Workload(demand=2, size=2))
    moving(world)
    assert refusal(world) == Refusal.GROUPS


def test_one_migration_of_a_service_goes_at_a_time() -> None:
    world = crowded()
    moving(world)
    world.moving.append(Moving(service=0, rack=0, name="later"))
    moves = world.decide().migrations
    assert moves.refusal.tolist() == [Refusal.NONE, Refusal.ANOTHER_FIRST]
    assert moves.surge.tolist() == [1]


def test_one_that_is_past_its_reservation_still_goes_first() -> None:
    world = crowded()
    world.moving.append(Moving(service=0, rack=0, name="shrinks", asks=False))
    moving(world)
    assert refusal(world) == Refusal.ANOTHER_FIRST


@pytest.mark.parametrize(
    ("change", "why"), [({"service": -1}, Refusal.UNKNOWN_SERVICE), ({"rack": -2}, Refusal.UNKNOWN_BUDGET)]
)
def test_what_is_not_there_is_refused(change: dict[str, int], why: Refusal) -> None:
    world = crowded()
    one = moving(world)
    for name, value in change.items():
        setattr(one, name, value)
    assert refusal(world) == why


def test_more_replicas_than_are_granted_shrink_first() -> None:
    world = crowded(demand=3)
    world.workloads[0].demand = 2
    moving(world)
    assert refusal(world) == Refusal.ABOVE_GRANT


def test_a_service_without_any_grant_has_nothing_to_move() -> None:
    world = settled(Workload(demand=0))
    moving(world)
    assert refusal(world) == Refusal.NOTHING_GRANTED


def test_a_raise_that_drains_hold_up_comes_before_a_migration() -> None:
    world = crowded(Workload(demand=2, racks=(1,)))
    world.limit_watts = limits(600.0, 200.0, 1e6)
    world.drain_ticks = 9
    world.delete(world.of(1, PodPhase.RUNNING)[0])
    world.workloads[1].demand = 3
    moving(world)
    result = world.decide()
    # Beside what drains there is room for the raise or for the migration: the raise has it.
    assert result.plan.grants.tolist() == [2, 3]
    moves = result.migrations
    assert (moves.refusal.tolist(), moves.binding.tolist()) == ([Refusal.OTHERS_FIRST], [0])


def test_two_migrations_share_what_room_there_is_by_priority() -> None:
    world = GatedWorld(
        workloads=[Workload(demand=1), Workload(demand=1, priority=9)], limit_watts=limits(1e6, 200.0, 150.0)
    )
    for service in (0, 1):
        world.start(service, 0)
    world.ticks(4)
    world.moving = [Moving(service=0, rack=0, name="low"), Moving(service=1, rack=0, name="high")]
    moves = world.decide().migrations
    assert moves.refusal.tolist() == [Refusal.LACKS_WATTS, Refusal.NONE]


def test_one_that_has_its_watts_keeps_them_before_a_higher_priority() -> None:
    world = GatedWorld(
        workloads=[Workload(demand=1), Workload(demand=1, priority=9)], limit_watts=limits(1e6, 200.0, 150.0)
    )
    for service in (0, 1):
        world.start(service, 0)
    world.ticks(4)
    world.moving = [Moving(service=0, rack=0, name="low")]
    world.ticks(1)
    world.moving.append(Moving(service=1, rack=0, name="high"))
    assert world.decide().migrations.refusal.tolist() == [Refusal.NONE, Refusal.LACKS_WATTS]


# Whatever happens.


@worlds(40)
@given(st.integers(0, 2**32 - 1), st.integers(5, 30))
def test_whatever_moves_the_sum_fits_or_only_falls_and_no_grant_is_lower_for_it(seed: int, ticks: int) -> None:
    chaos = Chaos(seed, moves=0.4)
    world = chaos.world
    lowered: list[bool] = []

    def compared(decided: Decided, ground: Ground) -> tuple[Decided, MigrationResults]:
        after, moves = migrations.decide_migrations(decided, ground)
        lowered.append(bool((after.plan.grants < decided.plan.grants).any()))
        return after, moves

    highest = np.maximum(world.draw(), world.limit_watts)
    with mock.patch("wattkeeper.recommender.step.decide_migrations", compared):
        for _ in range(ticks):
            if chaos.rng.random() < 0.1:
                world.limit_watts = world.limit_watts * chaos.rng.uniform(0.5, 1.1)
            out = np.array([world.out(service) for service in range(len(world.workloads))])
            result: StepResult = chaos.decide()
            guarded, opening = result.plan.guarded_watts, result.gate.openings > 0
            assert (guarded <= np.maximum(highest, world.limit_watts) + SLACK_WATTS).all()
            assert (out + result.gate.openings <= result.plan.grants + result.plan.surges)[opening].all()
            highest = guarded
            chaos.act(result)
            assert (world.draw() <= guarded + SLACK_WATTS).all()
    assert not any(lowered)
