"""What is left behind where somebody removes a recommendation together with its finalizer is swept."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.power_recommendation import PowerRecommendationStatus
from wattkeeper.cluster.objects import ScaledObject


@pytest.fixture
async def scene(world: World) -> Scene:
    """A pause of ours, whose recommendation somebody has removed by force."""
    made = Scene(world)
    await made.open()
    await world.recommend(0)
    await made.ask(False, 5)
    assert made.pause() == "0"
    world.cluster.objects.remove(world.recommendation())
    made.scale(0)
    return made


async def test_a_pause_that_no_recommendation_notes_goes_after_a_while(scene: Scene) -> None:
    await scene.world.passes(10)
    assert scene.pause() == "0"
    await scene.world.passes(8)
    assert scene.pause() is None


async def test_so_does_one_whose_recommendation_is_there_again(scene: Scene) -> None:
    await scene.world.recommend(4)
    await scene.world.passes(18)
    assert scene.pause() is None


async def test_a_new_leader_knows_it_as_ours_too(scene: Scene) -> None:
    other = scene.world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await scene.world.service.leadership.release()
    await other.leadership.renew()
    await scene.follow(other, answers=True)
    await scene.follow(other, answers=True)
    assert scene.pause() is None


async def test_a_pause_that_a_user_has_changed_meanwhile_stays_and_is_not_asked_about_all_day(scene: Scene) -> None:
    scene.annotate("3")
    attempts: list[str] = []
    note = scene.world.cluster._note  # pyright: ignore[reportPrivateUsage]

    def noted(verb: str) -> None:
        attempts.append(verb)
        note(verb)

    scene.world.cluster._note = noted  # pyright: ignore[reportPrivateUsage]
    await scene.world.passes(100)
    assert scene.pause() == "3"
    assert attempts.count("sweep") == 1


async def test_a_pause_that_a_recommendation_notes_stays_however_long_the_outage_lasts(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    await world.recommend(0)
    await scene.ask(False, 40)
    assert scene.pause() == "0"
    assert "sweep" not in world.cluster.written


async def test_a_restoration_sweeps_at_once(scene: Scene) -> None:
    job: ActuatorService = scene.world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await scene.world.clock.forward(30.0)
    assert restoring.done()
    await restoring
    assert scene.pause() is None


async def test_a_restoration_ends_although_a_user_has_paused_something(world: World) -> None:
    scene = Scene(world)
    await scene.open(pause="paused-replicas")
    one = world.recommendation()
    world.cluster.replace(replace(one, status=PowerRecommendationStatus()))
    job = world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(30.0)
    assert restoring.done()
    await restoring
    assert world.get(ScaledObject, "mine").metadata.annotations == {"autoscaling.keda.sh/paused-replicas": "12"}
