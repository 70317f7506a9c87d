"""The power gate over many ticks: openings, drains, rollouts and steering."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.recommender.chaos import Chaos
from tests.unit.recommender.gated_world import FIXED_WATTS, WINDOW_TICKS, GatedWorld, Workload, limits
from wattkeeper.api.readings import PodPhase
from wattkeeper.recommender.result import StepResult

SLACK_WATTS = 1e-5
STEADY_TICKS = 3 * WINDOW_TICKS
"""Nothing comes of its own after that: all that is remembered lasts for a window."""


def settled(*workloads: Workload, all_watts: float = 1e6, racks: tuple[float, ...] = (1e6,)) -> GatedWorld:
    world = GatedWorld(workloads=list(workloads), limit_watts=limits(all_watts, *racks))
    world.ticks(8)
    return world


def replicas(world: GatedWorld) -> list[int]:
    return [len(world.of(service, PodPhase.RUNNING)) for service in range(len(world.workloads))]


def test_pods_that_the_budget_carries_leave_the_gate_at_once() -> None:
    assert replicas(settled(Workload(demand=3))) == [3]


def test_what_a_spec_asks_for_beyond_the_grant_waits_at_the_gate_and_needs_no_watts() -> None:
    world = settled(Workload(demand=2), Workload(demand=2), all_watts=400)
    world.workloads[0].replicas = 9
    result = [world.tick(obey=False) for _ in range(5)][-1]
    assert (replicas(world), result.gate.waiting.tolist()) == ([2, 2], [7, 0])
    assert result.plan.grants.tolist() == [2, 2]


def test_a_pod_within_the_grant_waits_while_its_predecessor_drains() -> None:
    world = settled(Workload(demand=3), all_watts=300)
    world.drain_ticks = 3
    world.delete(world.of(0, PodPhase.RUNNING)[0])
    seen: list[tuple[int, int]] = []
    for _ in range(5):
        result = world.tick()
        seen.append((int(result.plan.grants[0]), int(result.gate.openings[0])))
    assert seen == [(3, 0), (3, 0), (3, 0), (3, 1), (3, 0)]


def test_it_starts_at_once_where_both_fit() -> None:
    world = settled(Workload(demand=3), all_watts=400)
    world.delete(world.of(0, PodPhase.RUNNING)[0])
    assert world.tick().gate.openings.tolist() == [1]


def test_a_waiting_pod_says_which_budget_binds_and_what_is_missing() -> None:
    world = settled(Workload(demand=3), all_watts=330)
    world.drain_ticks = 9
    world.delete(world.of(0, PodPhase.RUNNING)[0])
    world.control()
    result = world.tick()
    assert (result.gate.binding.tolist(), result.gate.missing_watts.tolist()) == ([0], [70.0])


def test_a_pod_beyond_the_grant_names_no_budget() -> None:
    world = settled(Workload(demand=2))
    world.workloads[0].replicas = 3
    world.control()
    result = world.decide()
    assert (result.gate.waiting.tolist(), result.gate.binding.tolist()) == ([1], [-1])


def test_the_higher_priority_leaves_the_gate_first() -> None:
    world = settled(Workload(demand=2), Workload(demand=2, priority=9), all_watts=400)
    world.drain_ticks = 3
    for service in (0, 1):
        world.delete(world.of(service, PodPhase.RUNNING)[0])
    world.of(0, PodPhase.TERMINATING)[0].drains = 1
    world.control()
    openings = [world.tick().gate.openings.tolist() for _ in range(2)]
    assert openings == [[0, 0], [0, 1]]


def test_nothing_leaves_the_gate_until_caches_are_warm() -> None:
    world = GatedWorld(workloads=[Workload(demand=3, replicas=3)], limit_watts=limits(1e6, 1e6))
    world.control()
    first = world.tick()
    assert (first.warm, first.gate.openings.tolist(), first.plan.grants.tolist()) == (False, [0], [3])


def test_a_new_leader_is_quiet() -> None:
    world = settled(Workload(demand=3), Workload(demand=2), all_watts=500)
    world.recommender = world.new_leader()
    seen = [world.tick() for _ in range(4)]
    assert [one.plan.grants.tolist() for one in seen] == [[3, 2]] * 4
    assert not any(one.gate.openings.any() for one in seen)


def test_a_service_that_was_never_measured_starts_with_what_its_spec_asks_for() -> None:
    world = settled(Workload(demand=1))
    world.workloads.append(Workload(demand=float("nan"), replicas=2))
    world.control()
    world.ticks(2)
    assert replicas(world) == [1, 2]


def test_one_that_found_no_room_at_first_comes_back_when_there_is() -> None:
    world = settled(Workload(demand=3, priority=9), all_watts=300)
    world.workloads.append(Workload(demand=float("nan"), replicas=2))
    world.ticks(4)
    assert (replicas(world), world.workloads[1].replicas) == ([3, 0], 0)
    world.workloads[0].demand = 1
    world.ticks(12)
    assert replicas(world) == [1, 2]


def test_stale_readings_let_a_pod_within_its_grant_start_again() -> None:
    world = settled(Workload(demand=3), all_watts=400)
    world.stale = True
    world.delete(world.of(0, PodPhase.RUNNING)[0])
    assert world.tick().gate.openings.tolist() == [1]


def test_stale_readings_start_no_surge() -> None:
    world = settled(Workload(demand=3))
    world.workloads[0].template = 1
    world.control()
    world.stale = True
    result = world.tick()
    assert (result.gate.openings.tolist(), result.gate.rollout_blocked.tolist()) == ([0], [True])


def test_a_group_leaves_the_gate_whole_and_counts_once() -> None:
    world = settled(Workload(demand=2, size=4), all_watts=250)
    assert [len(one.pods) for one in world.of(0, PodPhase.RUNNING)] == [4, 4]
    assert all(one.ready for one in world.replicas)


def test_pods_of_a_group_that_are_not_there_yet_are_charged() -> None:
    world = settled(Workload(demand=2, size=4, priority=9), Workload(demand=9), all_watts=250)
    group = world.of(0, PodPhase.RUNNING)[0]
    for pod in group.pods[1:]:
        pod.phase, pod.rack = PodPhase.GATED, -1
    assert world.decide().plan.guarded_watts[0] == np.float64(FIXED_WATTS + 200)


# Rollouts.


def rolled(world: GatedWorld, ticks: int = 60) -> list[StepResult]:
    world.workloads[0].template += 1
    world.control()
    return world.ticks(ticks)


def is_rolled(world: GatedWorld) -> bool:
    return all(one.template == world.workloads[0].template for one in world.living(0))


def test_a_rollout_surges_where_the_budget_has_room() -> None:
    world = settled(Workload(demand=3), all_watts=400)
    results = rolled(world)
    assert is_rolled(world)
    assert replicas(world) == [3]
    assert all(result.plan.grants.tolist() == [3] for result in results)


def test_a_rollout_of_three_makes_room_for_itself() -> None:
    world = settled(Workload(demand=3), all_watts=300)
    world.workloads[0].template += 1
    world.control()
    results = world.ticks(9)
    openings = [int(result.gate.openings[0]) for result in results]
    opened = results[openings.index(1)]
    # First an old pod drains, and only then does the surge leave the gate.
    assert (opened.plan.grants.tolist(), opened.plan.surges.tolist(), openings[0]) == ([2], [1], 0)
    world.ticks(60)
    assert (is_rolled(world), replicas(world)) == (True, [3])


def test_a_rollout_of_three_that_replaces_goes_on_with_each_old_pod_that_is_made_to_go() -> None:
    world = settled(Workload(demand=3, replaces=True), all_watts=300)
    world.workloads[0].template += 1
    for _ in range(3):
        results = world.ticks(8)
        assert all(result.gate.rollout_blocked.tolist() == [True] for result in results[1:])
        assert all(result.plan.grants.tolist() == [3] for result in results)
        world.delete(next(one for one in world.of(0, PodPhase.RUNNING) if one.template == 0))
    world.ticks(8)
    assert (is_rolled(world), replicas(world)) == (True, [3])


def test_a_rollout_of_one_takes_from_lower_priorities() -> None:
    world = settled(Workload(demand=1, priority=9), Workload(demand=3, floor=1), all_watts=400)
    results = rolled(world)
    assert min(int(result.plan.grants[1]) for result in results) == 2
    assert (is_rolled(world), replicas(world)) == (True, [1, 3])


def test_a_rollout_of_one_without_anybody_to_take_from_is_blocked() -> None:
    world = settled(Workload(demand=1), Workload(demand=3, priority=9), all_watts=400)
    results = rolled(world, 20)
    assert all(result.gate.rollout_blocked.tolist() == [True, False] for result in results[1:])
    assert (is_rolled(world), replicas(world)) == (False, [1, 3])


def test_a_blocked_rollout_goes_on_when_the_budget_grows() -> None:
    world = settled(Workload(demand=1), Workload(demand=3, priority=9), all_watts=400)
    rolled(world, 5)
    world.limit_watts = limits(500, 500)
    world.ticks(20)
    assert (is_rolled(world), replicas(world)) == (True, [1, 3])


def test_a_new_leader_goes_on_with_a_rollout() -> None:
    world = settled(Workload(demand=3), all_watts=300)
    rolled(world, 6)
    world.recommender = world.new_leader()
    world.ticks(60)
    assert (is_rolled(world), replicas(world)) == (True, [3])


# Steering.


def test_new_replicas_avoid_a_full_rack() -> None:
    world = settled(Workload(demand=2, racks=(0,), priority=9), Workload(demand=3), racks=(200.0, 500.0))
    assert replicas(world) == [2, 3]
    assert {pod.rack for one in world.living(1) for pod in one.pods} == {1}


def test_without_steering_the_fullest_rack_would_decide() -> None:
    world = settled(Workload(demand=2, racks=(0,), priority=9), Workload(demand=3, gated=False), racks=(200.0, 500.0))
    assert replicas(world) == [2, 0]


def test_a_service_never_avoids_all_that_it_may_use() -> None:
    world = settled(Workload(demand=9), racks=(250.0, 250.0))
    assert replicas(world) == [4]
    assert not world.decide().gate.avoided[0].all()


def test_a_rack_with_room_again_is_avoided_no_more() -> None:
    world = settled(Workload(demand=2, racks=(0,), priority=9), Workload(demand=1), racks=(200.0, 500.0))
    assert world.tick().gate.avoided[1].tolist() == [False, True, False]
    world.workloads[0].demand = 0
    world.ticks(8)
    assert world.tick().gate.avoided[1].tolist() == [False, False, False]


# Whatever happens.


@worlds(60)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_what_may_draw_fits_or_only_falls_and_nothing_leaves_the_gate_beyond_grants_and_surges(
    seed: int, ticks: int
) -> None:
    chaos = Chaos(seed)
    world = chaos.world
    highest = np.maximum(world.draw(), world.limit_watts)
    for _ in range(ticks):
        if chaos.rng.random() < 0.1:
            world.limit_watts = world.limit_watts * chaos.rng.uniform(0.5, 1.1)
        out = np.array([world.out(service) for service in range(len(world.workloads))])
        result = chaos.decide()
        guarded, opening = result.plan.guarded_watts, result.gate.openings > 0
        assert (guarded <= np.maximum(highest, world.limit_watts) + SLACK_WATTS).all()
        assert (out + result.gate.openings <= result.plan.grants + result.plan.surges)[opening].all()
        chaos.act(result)
        assert (world.draw() <= guarded + SLACK_WATTS).all()
        highest = guarded


@worlds(30)
@given(st.integers(0, 2**32 - 1))
def test_once_everybody_calms_down_all_that_is_granted_runs(seed: int) -> None:
    chaos = Chaos(seed)
    world = chaos.world
    for _ in range(15):
        chaos.act(chaos.decide())
    steady = 0
    for _ in range(80):
        result = world.tick()
        running = np.array([len(world.of(service, PodPhase.RUNNING)) for service in range(len(world.workloads))])
        # Floors that exceed a budget wait at the gate.
        calm = result.gate.gated & ~result.gate.rollout_blocked & ~result.services.unachievable
        steady = steady + 1 if (running[calm] == result.plan.grants[calm]).all() else 0
        if steady == STEADY_TICKS:
            break
    assert steady == STEADY_TICKS
