"""On whose word pods go: a budget has to tell that somebody has decided lately. Readings may be old, decisions not."""

from __future__ import annotations

import dataclasses

import pytest

from kserve_hooks.service import Rehearsal
from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.test_replacing import Rollout
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_recommendation import ViolationType

STALE = Condition(
    type="TelemetryStale", status="True", reason="ReadingsStale", last_transition_time="2026-01-01T00:00:00Z"
)


@pytest.fixture
async def scene() -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    return made


def delete_budgets(world: World) -> None:
    for one in list(world.cluster.objects.all(PowerBudget).values()):
        world.cluster.objects.remove(one)


async def without_budgets(world: World, seconds: float) -> None:
    """Lets time go by without any PowerBudget."""
    for _ in range(int(seconds // 2)):
        await world.clock.forward(2.0)
        await world.service.leadership.renew()
        await world.service.act()


@pytest.mark.parametrize("type_", ["Budget", "Replicas", "Slipped", "Performance"])
async def test_without_any_budget_no_pod_is_evicted_or_marked_and_that_is_said(
    scene: KillScene, type_: ViolationType
) -> None:
    delete_budgets(scene.world)
    await scene.violate(scene.violation(type_, "p2", watts=900.0, ago=1000.0), slipped=1)
    await without_budgets(scene.world, 2 * LASTS)
    assert not {"cost", "evict"} & set(scene.world.cluster.written)
    reason, message = scene.blocked()
    assert (reason, "there is no PowerBudget" in message) == ("NobodyDecides", True)
    assert scene.said("KillRefused") == [message]


async def test_who_deletes_the_budgets_while_nobody_decides_makes_no_pod_go(scene: KillScene) -> None:
    await scene.violate(scene.violation("Slipped", "p2"), slipped=1)
    await without_budgets(scene.world, 2 * LASTS)  # They are there still, and nobody evaluates them.
    assert "p2" in scene.there()
    delete_budgets(scene.world)
    await without_budgets(scene.world, 2 * LASTS)
    assert "p2" in scene.there()


async def test_once_the_last_budget_is_gone_costs_are_put_back_and_bounds_follow(scene: KillScene) -> None:
    await scene.violate(scene.violation("Replicas", "p2"))
    await scene.passes(6)
    assert (scene.cost("p2"), scene.world.bounds()) == ("-1", (1, 2))
    delete_budgets(scene.world)
    await scene.violate(target=4)
    await without_budgets(scene.world, 60)
    assert (scene.cost("p2"), scene.note(), scene.world.bounds()[1]) == ("", None, 4)


async def test_a_violation_that_has_not_lasted_yet_is_no_matter_of_who_decides(scene: KillScene) -> None:
    delete_budgets(scene.world)
    await scene.violate(scene.violation("Slipped", "p2"), slipped=1)
    await without_budgets(scene.world, LASTS - 10)
    assert scene.blocked() == ("", "")


async def test_a_mode_that_evicts_nobody_is_told_nothing(scene: KillScene) -> None:
    delete_budgets(scene.world)
    scene.amend(mode="Scale")
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await without_budgets(scene.world, 10)
    assert scene.blocked() == ("", "")


async def test_without_any_budget_no_old_pod_goes_for_a_rollout() -> None:
    world = World(FAST)
    await world.start()
    rollout = Rollout(world)
    await rollout.open(mode="Scale")
    await rollout.begin()
    delete_budgets(world)
    await without_budgets(world, 20)
    assert "evict" not in world.cluster.written


async def test_an_eviction_for_a_rollout_is_forgotten_with_the_last_budget() -> None:
    world = World(FAST)
    await world.start()
    rollout = Rollout(world)
    await rollout.open(mode="Scale")
    rollout.hang(600.0)
    await rollout.begin()
    await rollout.passes(10)
    assert rollout.ending() == ["p0"]
    delete_budgets(world)
    await without_budgets(world, 4)
    assert rollout.note() is None


async def test_a_rehearsal_without_budgets_names_no_eviction(scene: KillScene) -> None:
    delete_budgets(scene.world)
    await scene.violate(scene.violation("Budget", "p0", watts=900.0, ago=LASTS))
    said: list[str] = []
    rehearsal = Rehearsal(
        cluster=scene.world.cluster,
        clock=scene.world.clock,
        options=dataclasses.replace(FAST, holder="rehearsal"),
        scaler_answers=scene.world.answers,
        say=said.append,
    )
    rehearsal.rehearse({})
    assert not any("deletion cost" in one or "evict" in one for one in said)
    assert any("KillBlocked True (NobodyDecides)" in one for one in said)


@pytest.mark.parametrize("type_", ["Budget", "Replicas"])
async def test_a_pod_that_was_named_goes_though_readings_are_old_by_now(scene: KillScene, type_: ViolationType) -> None:
    await scene.violate(scene.violation(type_, "p2", watts=900.0))
    await scene.passes(10)
    found = scene.world.recommendation().status.violations
    await scene.violate(*found, conditions=(STALE,))
    await scene.passes(LASTS + 4)
    assert scene.there() == ["p0", "p1", "p3"]
