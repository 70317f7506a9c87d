"""What a whole decision names, tick by tick."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.recommender.gated_world import GatedWorld, Workload, limits
from wattkeeper.api.readings import Published, ServiceKey
from wattkeeper.recommender.result import StepResult

LOW = ServiceKey("serving", "Deployment", "service-0")


def types(result: StepResult) -> list[str]:
    return [one.type for one in result.service_violations.get(LOW, ())]


def running(*, all_watts: float = 2_000.0, rack_watts: float = 1_000.0) -> GatedWorld:
    """Four replicas of 100 W on rack 0; rack 1 is empty."""
    world = GatedWorld(workloads=[Workload(demand=4.0)], limit_watts=limits(all_watts, rack_watts, rack_watts))
    world.start(0, rack=0, count=4)
    world.ticks(4)
    return world


def test_a_cut_names_pods_of_the_budget_and_of_replicas_until_they_are_gone() -> None:
    world = running()
    assert world.tick().service_violations == {}
    world.limit_watts = limits(250.0, 1_000.0, 1_000.0)
    cut = world.decide()
    assert types(cut) == ["Budget", "Replicas"]
    budget, replicas = cut.service_violations[LOW]
    assert (budget.budget, budget.watts, len(budget.pods), len(replicas.pods)) == ("budget-0", 150.0, 2, 2)
    after = world.ticks(12)[-1]
    assert (after.service_violations, after.plan.grants.tolist()) == ({}, [2])


def test_a_new_leader_says_what_the_last_one_said_and_goes_on_from_there() -> None:
    world = running()
    world.limit_watts = limits(250.0, 1_000.0, 1_000.0)
    said = world.decide().service_violations
    world.recommender = world.new_leader()
    published = {LOW: Published(grant=2, demand=4, violations=said[LOW])}
    found = [
        world.recommender.step(replace(world.readings(), published=published), world.now + 5.0 * tick)
        for tick in range(4)
    ]
    assert not found[0].warm
    assert found[0].service_violations == said
    assert [one.since for one in found[-1].service_violations[LOW]] == [one.since for one in said[LOW]]


def test_nothing_is_named_while_caches_are_incomplete() -> None:
    world = running()
    world.limit_watts = limits(250.0, 1_000.0, 1_000.0)
    result = world.recommender.step(replace(world.readings(), synced=False), world.now)
    assert result.service_violations == {}


def test_a_rack_that_is_nearly_full_beside_an_empty_one_names_pods_that_could_move() -> None:
    world = running(rack_watts=430.0)
    (pod,) = world.tick().movable_pods[LOW]
    assert pod.budget == "budget-1"
    moving = world.of(0, *{one.phase for one in world.replicas})[int(pod.name.removeprefix("pod-"))]
    moving.pods[0].rack = 1
    assert world.tick().movable_pods == {}
