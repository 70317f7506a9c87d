"""A view that is late, or that shows less than there is, costs nobody what they had."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.kserve import InferenceService, LLMInferenceService
from wattkeeper.cluster.objects import Deployment, HorizontalPodAutoscaler, ScaledObject


async def capped(world: World, **predictor: int) -> None:
    world.policy()
    world.inference_service("hpa", **predictor)
    await world.recommend(5)
    await world.passes()


async def let_go(world: World) -> None:
    await world.recommend(5, mode="Off")
    await world.passes(8)


@pytest.mark.parametrize("asked", [{"maxReplicas": 8}, {"minReplicas": 8}, {}])
async def test_a_cap_that_falls_twice_before_the_service_shows_the_first_fall_loses_no_original(
    world: World, asked: dict[str, int]
) -> None:
    world.policy(lower=True)
    before = world.inference_service("hpa", **(asked or {"minReplicas": 8}))
    world.cluster.late.stand_still(InferenceService)
    for cap in (5, 4, 3):
        await world.recommend(cap)
        await world.passes()
    world.cluster.late.catch_up()
    await world.passes(8)
    assert world.bounds()[1] == 3
    await let_go(world)
    assert world.get(InferenceService, "chat").spec == before.spec


async def test_a_write_that_lands_after_its_time_is_up_is_still_known_as_ours(world: World) -> None:
    await capped(world, maxReplicas=8)
    world.cluster.failing["fields"] = UnreachableError("no answer in time")
    await world.recommend(4)
    await world.passes()
    await world.recommend(3)
    await world.passes()
    world.edit(max_replicas=4)  # The first of both comes through after all.
    world.cluster.failing.clear()
    await world.passes(8)
    assert world.bounds() == (None, 3)
    await let_go(world)
    assert world.bounds() == (None, 8)


async def test_a_recommendation_that_is_shown_without_its_note_gets_no_other_one(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(5)
    world.cluster.late.stand_still(PowerRecommendation)
    await world.passes(12)
    assert world.bounds() == (None, 5)
    world.cluster.late.catch_up()
    await let_go(world)
    assert world.bounds() == (None, 8)


async def test_a_recommendation_that_is_shown_without_its_note_is_not_let_go(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(5)
    world.cluster.failing["status"] = UnreachableError("no answer")
    await world.passes()
    world.cluster.late.stand_still(PowerRecommendation)  # It has the finalizer now.
    world.cluster.failing.clear()
    await world.passes()
    assert world.bounds() == (None, 5)
    await world.cluster.delete(world.get(PowerCappingPolicy, "capped"))
    await world.passes()
    world.cluster.late.catch_up()
    await world.passes(8)
    assert world.bounds() == (None, 8)


async def test_a_service_whose_workload_is_gone_for_a_moment_stays_as_it_is(world: World) -> None:
    await capped(world, maxReplicas=8)
    workload = world.get(Deployment, "chat-predictor")
    world.cluster.objects.remove(workload)
    await world.passes(3)
    assert world.bounds() == (None, 5)
    world.cluster.create(workload)
    await world.passes(3)
    await let_go(world)
    assert world.bounds() == (None, 8)


async def test_a_scaled_object_of_ours_stays_while_its_workload_is_gone_for_a_moment(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(5)
    await world.passes(2)
    world.cluster.objects.remove(world.get(Deployment, "chat-predictor"))
    await world.passes(3)
    assert world.get(ScaledObject, "chat-predictor-wk").spec.max_replica_count == 5


async def test_a_recommendation_that_goes_with_its_workload_puts_back_what_there_was(world: World) -> None:
    await capped(world, maxReplicas=8)
    world.cluster.objects.remove(world.get(Deployment, "chat-predictor"))  # serving.kserve.io/stop does it.
    await world.cluster.delete(world.recommendation())
    await world.passes(3)
    assert world.bounds() == (None, 8)
    assert world.find(PowerRecommendation, "deployment-chat-predictor") is None


async def test_a_service_that_cannot_be_seen_while_its_workload_is_there_loses_no_note(world: World) -> None:
    await capped(world, maxReplicas=8)
    service = world.get(InferenceService, "chat")
    world.cluster.objects.remove(service)
    await world.passes(3)
    world.cluster.create(service)
    await let_go(world)
    assert world.bounds() == (None, 8)


async def test_a_ceiling_that_is_not_shown_yet_is_put_back_all_the_same(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    world.cluster.late.stand_still(InferenceService)
    await world.recommend(5)
    await world.passes()
    await world.recommend(5, mode="Off")
    await world.passes(2)
    world.cluster.late.catch_up()
    await world.passes(3)
    assert world.bounds() == (None, 8)
    assert world.recommendation().metadata.finalizers == ()


async def test_a_write_that_never_came_through_is_not_waited_for_for_ever(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    world.cluster.failing["fields"] = UnreachableError("no answer in time")
    await world.recommend(5)
    await world.passes()
    await world.recommend(5, mode="Off")
    await world.passes()
    assert world.recommendation().metadata.finalizers == (FINALIZER,)
    await world.passes(15)
    assert world.recommendation().metadata.finalizers == ()


async def test_what_takes_a_workload_s_place_takes_over_what_was_noted_of_the_service(world: World) -> None:
    world.policy(lower=True)
    service = world.llm(replicas=8)
    await world.recommend(5, name="chat-kserve")
    await world.passes(2)
    world.workload("chat-kserve-mn", service)
    await world.recommend(4, name="chat-kserve-mn")
    await world.passes(2)
    world.cluster.objects.remove(world.get(Deployment, "chat-kserve"))
    await world.cluster.delete(world.recommendation("chat-kserve"))
    await world.passes(3)
    assert world.get(LLMInferenceService, "chat").spec.replicas == 4
    await world.recommend(4, name="chat-kserve-mn", mode="Off")
    await world.passes(3)
    assert world.get(LLMInferenceService, "chat").spec.replicas == 8


async def test_a_pause_that_is_not_shown_yet_is_known_as_ours_once_it_is(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    await world.recommend(0)
    await scene.ask(False, 3)
    world.cluster.late.stand_still(ScaledObject)
    await scene.ask(False, 2)
    assert scene.pause() == "0"
    world.cluster.late.catch_up()
    await scene.ask(False, 3)
    assert scene.braked() == ("True", "ScalerUnreachable")
    await scene.ask(True, 9)
    assert scene.pause() is None


async def test_bounds_that_fall_twice_before_the_first_fall_is_shown_come_back(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    world.cluster.late.stand_still(HorizontalPodAutoscaler)
    for cap in (5, 4):
        await world.recommend(cap)
        await scene.ask(False, 4)
    world.cluster.late.catch_up()
    await scene.ask(False, 8)
    assert scene.bounds() == (3, 4)
    await scene.ask(True, 9)
    assert scene.bounds() == (3, 20)


async def test_a_pause_that_is_not_shown_yet_goes_with_the_outage_all_the_same(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    await world.recommend(0)
    world.cluster.late.stand_still(ScaledObject)
    await scene.ask(False, 4)
    scene.scale(0)
    await scene.ask(True, 6)
    world.cluster.late.catch_up()
    await scene.ask(True, 3)
    assert scene.pause() is None
    assert world.recommendation().status.actuation is None


async def test_a_pause_of_a_scaled_object_that_scales_something_else_by_now_goes(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    await world.recommend(0)
    await scene.ask(False, 5)
    found = world.get(ScaledObject, "mine")
    target = replace(found.spec.scale_target_ref, name="another")
    world.cluster.replace(replace(found, spec=replace(found.spec, scale_target_ref=target)))
    await scene.ask(False, 3)
    assert scene.pause() is None
