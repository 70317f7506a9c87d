"""Somebody who puts deletion costs back is told of and not fought for ever; what stays is evicted instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.world import World
from wattkeeper.cluster.objects import Pod

PAUSE = 600.0


@pytest.fixture
async def scene() -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    return made


@pytest.fixture(params=["", "7"])
def original(request: pytest.FixtureRequest) -> str:
    return request.param


async def fought(scene: KillScene, seconds: float, original: str = "") -> int:
    """Has a controller put the cost of p2 back after each pass. Returns how often the actuator wrote one."""
    before = scene.world.cluster.written.count("cost")
    for _ in range(int(seconds // 2)):
        if "p2" in scene.there():
            scene.set_cost("p2", original)
        await scene.passes(2)
    return scene.world.cluster.written.count("cost") - before


async def name(scene: KillScene, original: str = "") -> None:
    """Has pod p2 be named, with the cost that it had before."""
    if original:
        scene.set_cost("p2", original)
    await scene.violate(scene.violation("Replicas", "p2"))


async def test_costs_that_are_put_back_with_each_pass_are_written_three_times_and_no_more(
    scene: KillScene, original: str
) -> None:
    await name(scene, original)
    assert await fought(scene, LASTS - 10, original) == 3
    assert scene.cost("p2") == original


async def test_it_is_told_by_condition_and_event_and_said_what_to_do(scene: KillScene) -> None:
    await name(scene)
    await fought(scene, 30)
    reason, message = scene.blocked("Reverted")
    assert (reason, "3 times in a row" in message, "stopped writing" in message) == ("PutBack", True, True)
    assert "leave the annotation controller.kubernetes.io/pod-deletion-cost alone" in message
    assert any("put back deletion costs" in said for said in scene.said("PutBack"))


async def test_a_cost_that_was_put_back_once_is_written_again_and_that_is_said(scene: KillScene) -> None:
    await name(scene)
    await scene.passes(6)
    scene.set_cost("p2", "")
    await scene.passes(4)
    assert scene.cost("p2") == "-1"
    assert "pods once: have it leave" in scene.blocked("Reverted")[1]


async def test_the_pod_whose_cost_cannot_be_kept_is_evicted_once_its_violation_has_lasted(scene: KillScene) -> None:
    await name(scene)
    await fought(scene, LASTS + 12)
    assert scene.there() == ["p0", "p1", "p3"]


async def test_no_ceiling_waits_for_costs_that_are_not_written_any_more(scene: KillScene) -> None:
    await name(scene)
    await fought(scene, 30)
    await scene.violate(scene.violation("Replicas", "p2", "p1"), target=1)
    await scene.passes(2)
    assert scene.world.bounds()[1] == 1


async def test_pods_that_are_named_later_are_not_marked_while_costs_are_put_back(scene: KillScene) -> None:
    await name(scene)
    await fought(scene, 30)
    await scene.violate(scene.violation("Replicas", "p2", "p1"), target=1)
    await scene.passes(10)
    assert scene.cost("p1") == ""


async def test_after_a_pause_it_tries_once_more(scene: KillScene) -> None:
    scene.amend(violation=None)
    scene.floor = 4  # Nobody is evicted meanwhile.
    await name(scene)
    await fought(scene, 30)
    await scene.world.wait(PAUSE)
    assert await fought(scene, 60) == 1


async def test_costs_that_stay_make_it_forgotten(scene: KillScene) -> None:
    scene.floor = 4
    await name(scene)
    await scene.passes(6)
    scene.set_cost("p2", "")
    await scene.passes(4)
    await scene.world.wait(PAUSE)
    await scene.passes(4)
    assert (scene.cost("p2"), scene.blocked("Reverted")) == ("-1", ("", ""))


async def test_a_violation_that_is_over_makes_it_forgotten(scene: KillScene) -> None:
    await name(scene)
    await fought(scene, 30)
    await scene.violate(target=4)
    await scene.passes(40)
    assert (scene.note(), scene.blocked("Reverted")) == (None, ("", ""))


async def test_a_new_leader_goes_on_counting(scene: KillScene) -> None:
    world = scene.world
    await name(scene)
    first = await fought(scene, 10)
    await world.service.leadership.release()
    other = world.replica(dataclasses.replace(FAST, holder="actuator-1"))
    await other.leadership.renew()
    before = world.cluster.written.count("cost")
    for _ in range(20):
        scene.set_cost("p2", "")
        await world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert first == 2
    # What the first leader has written last it cannot have seen put back.
    assert world.cluster.written.count("cost") - before == 2


def mutating(scene: KillScene, changed: Callable[[], None]) -> None:
    """Has an admission webhook change every cost as it is written."""
    write = scene.world.cluster.set_deletion_cost

    async def written(pod: Pod, cost: int | None) -> None:
        await write(pod, cost)
        changed()

    scene.world.cluster.set_deletion_cost = written


async def test_a_webhook_that_takes_costs_away_as_they_are_written_is_seen_too(scene: KillScene) -> None:
    mutating(scene, lambda: scene.set_cost("p2", ""))
    await name(scene)
    await scene.passes(LASTS - 10)
    assert scene.world.cluster.written.count("cost") == 3
    assert scene.blocked("Reverted")[0] == "PutBack"


async def test_a_view_that_is_late_shows_nobody_who_puts_back(scene: KillScene) -> None:
    await name(scene)
    scene.world.cluster.late.stand_still(Pod)
    await scene.passes(24)
    scene.world.cluster.late.catch_up()
    await scene.passes(4)
    assert scene.blocked("Reverted") == ("", "")
    assert scene.world.cluster.written.count("cost") == 1


async def test_a_cost_that_the_actuator_itself_has_taken_off_was_put_back_by_nobody(scene: KillScene) -> None:
    await name(scene)
    await scene.passes(6)
    await scene.violate(target=4)
    await scene.passes(4)
    await name(scene)
    await scene.passes(6)
    assert (scene.cost("p2"), scene.blocked("Reverted")) == ("-1", ("", ""))


async def test_what_is_put_back_of_bounds_and_of_costs_is_told_together(scene: KillScene) -> None:
    await name(scene)
    await scene.passes(6)
    scene.set_cost("p2", "")
    scene.world.edit(max_replicas=4)
    await scene.passes(2)
    message = scene.blocked("Reverted")[1]
    assert "argocd put back spec.predictor.maxReplicas" in message
    assert "put back deletion costs" in message
