"""One brake, one note, one reason: as the scaler goes and returns, and as leaders change."""

from __future__ import annotations

import dataclasses

import pytest

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.overshoot_scene import Overshooting
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.cluster.errors import UnreachableError


@pytest.fixture
def scene(world: World) -> Overshooting:
    return Overshooting(world)


async def next_leader(scene: Overshooting) -> ActuatorService:
    other = scene.world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await scene.world.service.leadership.release()
    await other.leadership.renew()
    return other


def reason(scene: Overshooting) -> str:
    note = scene.note()
    return "" if note is None else note.reason


async def test_a_pause_outlasts_the_overshoot_while_the_scaler_is_silent(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.ask(False, 4)
    await scene.cut(5, watts=0.0)
    await scene.ask(False, 8)
    assert (scene.pause(), reason(scene)) == ("5", "ScalerUnreachable")
    assert scene.braked() == ("True", "ScalerUnreachable")
    await scene.ask(True, 8)
    assert (scene.pause(), scene.note()) == (None, None)
    assert scene.brakes() == 2


async def test_a_pause_of_an_outage_becomes_one_of_the_overshoot_that_is_left(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.world.recommend(0)
    await scene.ask(False, 5)
    scene.scale(0)
    await scene.cut(0)
    await scene.ask(True, 8)
    assert (scene.pause(), reason(scene)) == ("0", "Overshoot")
    await scene.cut(0, watts=0.0)
    await scene.ask(True, 8)
    assert (scene.pause(), scene.note()) == (None, None)
    assert scene.brakes() == 2


async def test_bounds_that_an_outage_has_lowered_come_back_before_a_pause(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    assert (scene.bounds(), scene.pause()) == ((3, 5), None)
    await scene.cut(5)
    await scene.ask(True, 10)
    assert (scene.bounds(), scene.pause(), reason(scene)) == ((3, 20), "5", "Overshoot")


@pytest.mark.parametrize("verb", ["hold", "status", "brake"])
async def test_a_pause_that_was_cut_short_is_finished_by_the_next_leader(scene: Overshooting, verb: str) -> None:
    await scene.open()
    await scene.rule()
    scene.world.cluster.failing[verb] = UnreachableError("no answer")
    await scene.cut(5)
    await scene.ask(True, 1)
    assert scene.pause() is None
    scene.world.cluster.failing.clear()
    await scene.follow(await next_leader(scene), answers=True)
    assert (scene.pause(), reason(scene)) == ("5", "Overshoot")


@pytest.mark.parametrize("verb", ["brake", "status", "let go"])
async def test_a_release_that_was_cut_short_is_finished_by_the_next_leader(scene: Overshooting, verb: str) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    scene.world.cluster.failing[verb] = UnreachableError("no answer")
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 8)
    scene.world.cluster.failing.clear()
    await scene.follow(await next_leader(scene), answers=True)
    found = scene.world.recommendation()
    assert (scene.pause(), found.status.actuation, found.metadata.finalizers) == (None, None, ())


async def test_a_new_leader_keeps_a_pause_until_it_knows_that_the_scaler_answers(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    await scene.cut(5, watts=0.0)
    other = await next_leader(scene)
    await other.act()
    for _ in range(8):
        await scene.world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert (scene.pause(), scene.braked()) == ("5", ("True", "Overshoot"))


@pytest.mark.parametrize("mode", ["Off", "Initial"])
async def test_a_mode_that_enforces_nothing_takes_the_pause_off(scene: Overshooting, mode: str) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    await scene.world.recommend(5, mode=mode)
    await scene.ask(True, 2)
    assert (scene.pause(), scene.note()) == (None, None)
