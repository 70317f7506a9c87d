"""Whoever leads next finishes a brake that was cut short, or takes it off."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.cluster.errors import UnreachableError


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


@pytest.mark.parametrize("cap", [5, 0])
@pytest.mark.parametrize("verb", ["hold", "status", "brake"])
async def test_a_brake_that_was_cut_short_is_finished_or_taken_off_by_the_next_leader(
    scene: Scene, verb: str, cap: int
) -> None:
    await scene.open()
    world = scene.world
    world.cluster.failing[verb] = UnreachableError("no answer")
    await world.recommend(cap)
    await scene.ask(False, 5)
    world.cluster.failing.clear()
    assert (scene.bounds(), scene.pause()) == ((3, 20), None)
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await world.service.leadership.release()
    await other.leadership.renew()
    await scene.follow(other, answers=False)
    assert (scene.bounds(), scene.pause()) == (((3, 5), None) if cap else ((3, 20), "0"))
    await scene.follow(other, answers=True)
    assert (scene.bounds(), scene.pause()) == ((3, 20), None)
    found = world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())


@pytest.mark.parametrize("verb", ["status", "brake"])
async def test_a_brake_that_was_cut_short_leaves_nothing_where_the_outage_is_over(scene: Scene, verb: str) -> None:
    await scene.open()
    world = scene.world
    world.cluster.failing[verb] = UnreachableError("no answer")
    await world.recommend(5)
    await scene.ask(False, 5)
    world.cluster.failing.clear()
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await world.service.leadership.release()
    await other.leadership.renew()
    await scene.follow(other, answers=True)
    assert (scene.bounds(), "brake" in world.cluster.written) == ((3, 20), False)
    found = world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())


@pytest.mark.parametrize("verb", ["brake", "status", "let go"])
async def test_a_release_that_was_cut_short_is_finished_by_the_next_leader(scene: Scene, verb: str) -> None:
    await scene.open()
    world = scene.world
    await world.recommend(5)
    await scene.ask(False, 5)
    world.cluster.failing[verb] = UnreachableError("no answer")
    await scene.ask(True, 8)
    world.cluster.failing.clear()
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await world.service.leadership.release()
    await other.leadership.renew()
    await scene.follow(other, answers=True)
    assert scene.bounds() == (3, 20)
    found = world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())


async def test_a_new_leader_that_knows_nothing_yet_leaves_the_brake_on(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    other = scene.world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await scene.world.service.leadership.release()
    await other.leadership.renew()
    await other.act()
    for _ in range(8):
        await scene.world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert scene.bounds() == (3, 5)
    assert scene.braked() == ("True", "ScalerUnreachable")
