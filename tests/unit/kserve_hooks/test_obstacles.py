"""Every conflict ends in a condition and an event that say what to do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.world import NAMESPACE, World
from wattkeeper.api.conditions import holds
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.errors import RefusedError
from wattkeeper.cluster.kserve import Canary, Component, InferenceService
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)


def scaled_object(name: str, *triggers: Trigger, owner: InferenceService | None = None) -> ScaledObject:
    owners = () if owner is None else (OwnerReference(kind="InferenceService", name="chat", uid=owner.metadata.uid),)
    return ScaledObject(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, owner_references=owners),
        spec=ScaledObjectSpec(scale_target_ref=ScaledObjectTarget(name="chat-predictor"), triggers=triggers),
    )


def message(world: World) -> str:
    found = world.condition()
    return "" if found is None else found.message


async def told(world: World, reason: str, *, target: int = 3) -> str:
    """Makes a pass, and returns what the condition says once the event has said so, too."""
    await world.recommend(target)
    await world.passes()
    assert world.reason() == ("False", reason)
    assert reason in world.events()
    return message(world)


async def test_a_canary_s_replicas_are_left_to_its_owner(world: World) -> None:
    world.policy()
    service = world.inference_service("hpa", maxReplicas=8)
    canary = (Canary(predictor=Component(name="v2", min_replicas=2)),)
    world.cluster.replace(replace(service, spec=replace(service.spec, canary=canary)))
    world.workload("chat-v2-predictor", service)
    await world.recommend(1, name="chat-v2-predictor")
    await world.passes()
    assert world.reason("chat-v2-predictor") == ("False", "Canary")
    assert world.bounds() == (None, 8)


async def test_a_scaled_object_left_over_from_kserve_is_to_be_deleted(world: World) -> None:
    world.policy()
    service = world.inference_service("external")
    world.cluster.create(scaled_object("chat-predictor", Trigger(type="prometheus"), owner=service))
    assert "kubectl delete scaledobject chat-predictor" in await told(world, "LeftOverScaledObject")
    assert world.find(ScaledObject, "chat-predictor-wk") is None


async def test_a_scaled_object_of_the_user_s_that_asks_us_is_enough(world: World) -> None:
    world.policy()
    world.inference_service("external")
    ours = Trigger(type="external", metadata={"scalerAddress": "wattkeeper.power.svc.cluster.local:9090"})
    world.cluster.create(scaled_object("mine", ours))
    await world.recommend(3)
    await world.passes()
    assert world.reason() == ("True", "OwnScaledObject")
    assert "apply" not in world.cluster.written


async def test_a_scaled_object_of_the_user_s_that_does_not_ask_us_should(world: World) -> None:
    world.policy()
    world.inference_service("external")
    world.cluster.create(scaled_object("mine", Trigger(type="cron")))
    assert "give it a trigger for wattkeeper.power.svc:9090" in await told(world, "OtherScaledObject")


async def test_an_hpa_of_the_user_s_is_to_be_deleted(world: World) -> None:
    world.policy()
    world.inference_service("external")
    target = CrossVersionTarget(kind="Deployment", name="chat-predictor")
    meta = ObjectMeta(name="mine", namespace=NAMESPACE)
    world.cluster.create(
        HorizontalPodAutoscaler(metadata=meta, spec=HorizontalPodAutoscalerSpec(scale_target_ref=target))
    )
    assert "kubectl delete hpa mine" in await told(world, "OtherAutoscaler")


async def test_the_hpa_that_keda_makes_for_us_is_in_nobody_s_way(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(3)
    await world.passes()
    target = CrossVersionTarget(kind="Deployment", name="chat-predictor")
    meta = ObjectMeta(name="keda-hpa-chat-predictor-wk", namespace=NAMESPACE)
    world.cluster.create(
        HorizontalPodAutoscaler(metadata=meta, spec=HorizontalPodAutoscalerSpec(scale_target_ref=target))
    )
    await world.passes()
    assert world.reason() == ("True", "ScaledObjectMade")


async def test_several_nodes_to_a_replica_are_said(world: World) -> None:
    world.policy()
    world.inference_service("none", workerSpec={"pipelineParallelSize": 2})
    assert "LLMInferenceService" in await told(world, "MultiNode")


async def test_a_class_that_nobody_knows_is_said(world: World) -> None:
    world.policy()
    world.inference_service("hpaa")
    assert "Correct it" in await told(world, "UnknownAutoscaler")


@pytest.mark.parametrize(("autoscaler", "verb"), [("hpa", "fields"), ("external", "apply")])
async def test_what_a_webhook_refuses_is_said_in_its_words_and_left_for_a_while(
    world: World, autoscaler: str, verb: str
) -> None:
    world.policy()
    world.inference_service(autoscaler, maxReplicas=8)
    world.cluster.failing[verb] = RefusedError("admission webhook denied: no")
    await world.recommend(3)
    await world.passes(2)
    assert world.reason() == ("False", "WriteRefused")
    assert "admission webhook denied" in message(world)
    world.cluster.failing.clear()
    world.cluster.written.clear()
    await world.passes(5)
    assert world.cluster.written == []
    await world.wait(60.0)
    await world.passes(2)
    assert verb in world.cluster.written
    assert world.reason()[0] == "True"


def annotate(world: World, name: str) -> None:
    found: Any = world.get(InferenceService, "chat")
    annotations = {**found.metadata.annotations, "wattkeeper.dev/policy": name}
    world.cluster.replace(replace(found, metadata=replace(found.metadata, annotations=annotations)))


async def test_an_annotation_that_names_no_policy_is_said_and_lifts_no_cap(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    annotate(world, "cappd")
    await world.recommend(3)
    await world.passes(3)
    assert world.events().count("PolicyUnknown") == 1
    assert holds(world.recommendation().status.conditions, "PolicyUnknown")
    assert world.bounds() == (None, 3)


async def test_an_annotation_is_said_once_until_it_changes(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    annotate(world, "cappd")
    await world.passes(3)
    annotate(world, "capped")
    await world.passes(2)
    annotate(world, "cappd")
    await world.passes(2)
    (seen,) = [seen for seen in world.cluster.events if seen.record.reason == "PolicyUnknown"]
    assert seen.count == 2


async def test_an_annotation_of_a_component_is_said_as_well(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8, annotations={"wattkeeper.dev/policy": "cappd"})
    await world.passes(3)
    assert world.events().count("PolicyUnknown") == 1
