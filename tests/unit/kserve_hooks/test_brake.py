"""While KEDA cannot ask the scaler, the actuator lowers by itself: to the cap, never upwards, and for no longer."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.brake_scene import OURS, Scene
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.conditions import message_of
from wattkeeper.api.meta import OwnerReference
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.objects import (
    ScaledObject,
    ScaledObjectCondition,
    ScaledObjectStatus,
    Trigger,
)

FAILING = ScaledObjectStatus(
    conditions=(ScaledObjectCondition(type="HPAActive", status="False", reason="FailedGetExternalMetric"),)
)

BRAKED = ("wattkeeper_actuator_braked_services", {"reason": "ScalerUnreachable"})


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


async def test_a_service_above_its_cap_is_lowered_to_it_while_the_scaler_is_silent(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    assert scene.bounds() == (3, 5)
    assert scene.braked() == ("True", "ScalerUnreachable")
    assert "Braked" in scene.world.events()
    assert scene.world.registry.get_sample_value(*BRAKED) == 1.0


async def test_a_minimum_above_the_cap_is_lowered_too(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(2)
    await scene.ask(False, 5)
    assert scene.bounds() == (2, 2)


async def test_two_silences_are_no_outage(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 2)
    await scene.ask(True, 1)
    await scene.ask(False, 2)
    assert scene.bounds() == (3, 20)


async def test_a_service_within_its_cap_is_left_alone(scene: Scene) -> None:
    await scene.open()
    await scene.ask(False, 10)
    assert scene.bounds() == (3, 20)
    assert scene.braked() == ("", "")
    assert scene.world.cluster.written == []


async def test_a_service_that_does_not_ask_us_is_left_alone(scene: Scene) -> None:
    await scene.open(Trigger(type="prometheus"))
    await scene.world.recommend(5)
    await scene.ask(False, 10)
    assert scene.bounds() == (3, 20)


async def test_a_lower_cap_lowers_the_brake_and_a_higher_one_does_not_raise_it(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    scene.scale(5)
    await scene.world.recommend(4)
    await scene.ask(False, 2)
    assert scene.bounds() == (3, 4)
    scene.scale(4)
    await scene.world.recommend(9)
    await scene.ask(False, 5)
    assert scene.bounds() == (3, 4)
    await scene.ask(True, 8)
    assert scene.bounds() == (3, 20)


async def test_what_there_was_comes_back_once_the_scaler_has_answered_for_a_while(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(2)
    await scene.ask(False, 5)
    await scene.ask(True, 4)
    assert scene.bounds() == (2, 2)
    await scene.ask(True, 5)
    assert scene.bounds() == (3, 20)
    found = scene.world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())
    assert scene.braked() == ("", "")
    assert "BrakeReleased" in scene.world.events()


async def test_bounds_that_somebody_else_has_set_since_stay(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    scene.change_bounds(1, 7)
    await scene.ask(True, 9)
    assert scene.bounds() == (1, 7)
    assert scene.world.recommendation().status.actuation is None


async def test_a_bound_that_keda_would_set_by_now_is_left_to_it(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    found = scene.world.get(ScaledObject, "mine")
    scene.world.cluster.replace(replace(found, spec=replace(found.spec, max_replica_count=5)))
    await scene.ask(True, 9)
    assert scene.bounds() == (3, 5)
    assert scene.world.recommendation().status.actuation is None


async def test_a_bound_comes_back_no_higher_than_keda_would_set_it_by_now(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    found = scene.world.get(ScaledObject, "mine")
    scene.world.cluster.replace(replace(found, spec=replace(found.spec, max_replica_count=8)))
    await scene.ask(True, 9)
    assert scene.bounds() == (3, 8)


async def test_a_cap_of_zero_pauses_and_the_pause_goes_with_the_outage(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(0)
    await scene.ask(False, 5)
    assert (scene.pause(), scene.bounds()) == ("0", (3, 20))
    scene.scale(0)
    await scene.ask(True, 9)
    assert scene.pause() is None
    assert scene.world.recommendation().status.actuation is None


async def test_what_other_triggers_scale_as_well_is_paused_at_the_cap(scene: Scene) -> None:
    await scene.open(OURS, Trigger(type="cpu"))
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    assert (scene.pause(), scene.bounds()) == ("5", (3, 20))
    scene.scale(5)
    await scene.world.recommend(4)
    await scene.ask(False, 3)
    assert scene.pause() == "4"


@pytest.mark.parametrize("pause", ["paused", "paused-replicas", "paused-scale-in"])
async def test_a_user_s_pause_is_never_touched(scene: Scene, pause: str) -> None:
    await scene.open(pause=pause)
    before = scene.world.get(ScaledObject, "mine").metadata.annotations
    await scene.world.recommend(0)
    await scene.ask(False, 5)
    assert scene.braked() == ("False", "PausedByUser")
    assert "BrakeRefused" in scene.world.events()
    await scene.ask(True, 9)
    assert scene.world.get(ScaledObject, "mine").metadata.annotations == before
    assert "brake" not in scene.world.cluster.written


@pytest.mark.parametrize(
    ("pause", "value"), [("paused", "false"), ("paused-scale-in", "F"), ("paused-scale-out", "true")]
)
async def test_what_keda_takes_for_no_pause_or_only_for_one_upwards_holds_no_brake_off(
    scene: Scene, pause: str, value: str
) -> None:
    await scene.open()
    found = scene.world.get(ScaledObject, "mine")
    annotations = {f"autoscaling.keda.sh/{pause}": value}
    scene.world.cluster.replace(replace(found, metadata=replace(found.metadata, annotations=annotations)))
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    assert scene.bounds() == (3, 5)


async def test_a_pause_that_a_user_has_changed_is_the_user_s(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(0)
    await scene.ask(False, 5)
    scene.annotate("3")
    await scene.ask(False, 2)
    await scene.ask(True, 9)
    assert scene.pause() == "3"


async def test_what_kserve_reverts_is_lowered_by_its_hpa_to_the_last_replica(scene: Scene) -> None:
    owner = OwnerReference(api_version="serving.kserve.io/v1beta1", kind="InferenceService", name="chat", uid="u")
    await scene.open(owner=owner)
    await scene.world.recommend(0)
    await scene.ask(False, 5)
    assert (scene.pause(), scene.bounds()) == (None, (1, 1))


async def test_what_kserve_reverts_and_others_scale_too_is_said(scene: Scene) -> None:
    owner = OwnerReference(api_version="serving.kserve.io/v1beta1", kind="InferenceService", name="chat", uid="u")
    await scene.open(OURS, Trigger(type="cpu"), owner=owner)
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    assert scene.braked() == ("False", "NoLever")
    assert "brake" not in scene.world.cluster.written


async def test_keda_s_word_alone_is_enough_to_lower_and_never_to_pause(scene: Scene) -> None:
    await scene.open()
    scene.say(FAILING)
    await scene.world.recommend(0)
    await scene.ask(True, 5)
    assert (scene.pause(), scene.bounds()) == (None, (1, 1))
    scene.say(ScaledObjectStatus())
    await scene.ask(True, 9)
    assert scene.bounds() == (3, 20)


async def test_the_brake_is_not_put_on_again_after_keda_has_put_it_back(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    scene.change_bounds(3, 20)
    written = len(scene.world.cluster.written)
    await scene.ask(False, 20)
    assert scene.bounds() == (3, 20)
    assert scene.braked() == ("False", "BrakePutBack")
    assert "brake" not in scene.world.cluster.written[written:]
    await scene.ask(True, 9)
    await scene.ask(False, 5)
    assert scene.bounds() == (3, 5)


@pytest.mark.parametrize("mode", ["Off", "Initial"])
async def test_a_mode_that_enforces_nothing_takes_the_brake_off(scene: Scene, mode: str) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    await scene.world.recommend(5, mode=mode)
    await scene.ask(False, 2)
    assert scene.bounds() == (3, 20)
    assert scene.world.recommendation().metadata.finalizers == ()


async def test_a_recommendation_that_goes_waits_until_the_brake_is_off(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    await scene.world.cluster.delete(scene.world.recommendation())
    await scene.ask(False, 2)
    assert scene.bounds() == (3, 20)
    assert scene.world.find(PowerRecommendation, "deployment-chat-predictor") is None


async def test_a_restoration_takes_the_brake_off(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    job = scene.world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await scene.world.clock.forward(30.0)
    await restoring
    assert scene.bounds() == (3, 20)


async def test_while_nobody_decides_the_last_cap_holds_and_people_are_told(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    for _ in range(12):
        await scene.world.clock.forward(2.0)
        await scene.world.service.leadership.renew()
        scene.world.scaler_answers = False
        await scene.world.service.ask_scaler()
        await scene.world.service.act()
    assert scene.bounds() == (3, 5)
    said = message_of(scene.world.recommendation().status.conditions, "LaterCutsHeld")
    assert "the last cap, 5, holds" in said
    await scene.ask(True, 1)
    assert scene.world.condition("LaterCutsHeld") is None


async def test_what_keda_puts_back_as_the_scaler_returns_is_a_release_and_no_complaint(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    await scene.ask(True, 1)
    scene.change_bounds(3, 20)
    written = len(scene.world.cluster.written)
    for _ in range(6):
        await scene.ask(True, 1)
        assert scene.braked() == ("", "")
    assert scene.world.recommendation().status.actuation is None
    assert "brake" not in scene.world.cluster.written[written:]
    assert "BrakeRefused" not in scene.world.events()


async def test_a_return_that_does_not_last_is_followed_by_the_brake_again(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    await scene.ask(True, 1)
    scene.change_bounds(3, 20)
    await scene.ask(True, 1)
    await scene.ask(False, 3)
    assert scene.bounds() == (3, 20)
    await scene.ask(False, 2)
    assert scene.bounds() == (3, 5)


async def test_what_is_put_back_while_keda_says_that_it_cannot_ask_is_said_once_that_lasts(scene: Scene) -> None:
    await scene.open()
    scene.say(FAILING)
    await scene.world.recommend(5)
    await scene.ask(True, 5)
    scene.change_bounds(3, 20)
    await scene.ask(True, 20)
    assert scene.braked() == ("", "")
    await scene.ask(True, 15)
    assert scene.braked() == ("False", "BrakePutBack")
    assert scene.bounds() == (3, 20)


async def test_keda_may_be_quicker_than_the_next_question_to_the_scaler(scene: Scene) -> None:
    await scene.open()
    await scene.world.recommend(5)
    await scene.ask(False, 5)
    scene.change_bounds(3, 20)
    await scene.ask(False, 1)
    await scene.ask(True, 9)
    assert "BrakeRefused" not in scene.world.events()
