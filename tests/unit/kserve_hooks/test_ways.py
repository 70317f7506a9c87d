"""What is written for each way that KServe scales a service."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.unit.kserve_hooks.world import World
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_recommendation import ActuatedField
from wattkeeper.cluster.kserve import LLMInferenceService
from wattkeeper.cluster.objects import ScaledObject, ScaledObjectSpec, ScaledObjectTarget, Trigger

MAXIMUM = "spec.predictor.maxReplicas"


def of_kserve() -> ScaledObject:
    """Returns what KServe makes of a PodMetric that asks for Wattkeeper's replicas."""
    query = 'sum(wattkeeper_replicas{namespace="llm", deployment="chat-predictor"})'
    metadata = {"metricQuery": query, "targetValue": "1", "scalerAddress": "wattkeeper.power.svc:9090"}
    spec = ScaledObjectSpec(
        scale_target_ref=ScaledObjectTarget(name="chat-predictor"),
        triggers=(Trigger(type="external", metadata=metadata),),
    )
    return ScaledObject(metadata=ObjectMeta(name="chat-predictor", namespace="llm"), spec=spec)


async def test_an_hpa_of_kserve_s_gets_the_ceiling_as_its_maximum(world: World) -> None:
    world.policy()
    world.inference_service("hpa", minReplicas=1, maxReplicas=8)
    await world.recommend(3)
    await world.passes()
    assert world.bounds() == (1, 3)
    actuation = world.recommendation().status.actuation
    assert actuation is not None
    assert actuation.fields == (ActuatedField(field=MAXIMUM, original=8, written=3),)
    assert (actuation.autoscaler, actuation.kind, actuation.name) == ("hpa", "InferenceService", "chat")
    assert world.reason() == ("True", "CeilingWritten")


async def test_a_keda_of_kserve_s_is_capped_the_same_way_and_its_scaled_object_is_left_alone(world: World) -> None:
    world.policy()
    world.inference_service("keda", minReplicas=1, maxReplicas=8)
    await world.recommend(3)
    await world.passes()
    assert world.bounds() == (1, 3)
    assert world.find(ScaledObject, "chat-predictor-wk") is None


async def test_a_keda_of_kserve_s_that_asks_us_gets_a_maximum_only_while_a_budget_binds(world: World) -> None:
    world.policy()
    world.inference_service("keda", minReplicas=1, maxReplicas=8)
    world.cluster.create(of_kserve())
    await world.recommend(3, reason="DemandMet")
    await world.passes()
    assert world.reason() == ("True", "NothingToWrite")
    await world.recommend(3)
    await world.passes()
    assert world.bounds() == (1, 3)


async def test_what_was_there_is_noted_before_it_is_changed(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes()
    assert world.cluster.written == ["hold", "status", "fields"]


async def test_a_pass_with_nothing_new_writes_nothing(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)
    world.cluster.written.clear()
    await world.passes(3)
    assert world.cluster.written == []


async def test_a_ceiling_above_what_users_ask_for_writes_no_bound(world: World) -> None:
    world.policy()
    world.inference_service("hpa", minReplicas=2, maxReplicas=4)
    await world.recommend(9)
    await world.passes()
    assert world.bounds() == (2, 4)
    assert world.reason() == ("True", "NothingToWrite")


async def test_zero_is_never_written_as_a_maximum(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(0)
    await world.passes()
    assert world.bounds() == (None, 1)
    assert world.reason() == ("False", "OneReplicaStays")


async def test_a_floor_above_the_ceiling_is_kept_unless_the_policy_lets_it_be_lowered(world: World) -> None:
    world.policy(lower=False)
    world.inference_service("hpa", minReplicas=4, maxReplicas=8)
    await world.recommend(2)
    await world.passes()
    assert world.bounds() == (4, 4)
    assert world.reason() == ("False", "MinReplicasAboveCeiling")
    condition = world.condition()
    assert condition is not None
    assert "actuation.lowerMinReplicas of PowerCappingPolicy capped" in condition.message


async def test_a_floor_above_the_ceiling_is_lowered_where_the_policy_lets_it(world: World) -> None:
    world.policy(lower=True)
    world.inference_service("hpa", minReplicas=4, maxReplicas=8)
    await world.recommend(2)
    await world.passes()
    assert world.bounds() == (2, 2)


async def test_with_nobody_scaling_it_a_service_has_fewer_replicas_where_the_policy_lets_it(world: World) -> None:
    world.policy(lower=True)
    world.inference_service("none", minReplicas=4)
    await world.recommend(0)
    await world.passes()
    assert world.bounds() == (0, None)


async def test_with_nobody_scaling_it_a_service_stays_where_the_policy_does_not_let_it(world: World) -> None:
    world.policy(lower=False)
    world.inference_service("none", minReplicas=4)
    await world.recommend(2)
    await world.passes()
    assert world.bounds() == (4, None)
    assert world.reason() == ("False", "MinReplicasAboveCeiling")


async def test_a_service_that_kserve_leaves_to_others_gets_a_scaled_object_of_ours(world: World) -> None:
    world.policy()
    service = world.inference_service("external")
    await world.recommend(3, floor=1)
    await world.passes()
    made = world.get(ScaledObject, "chat-predictor-wk")
    assert (made.spec.scale_target_ref.name, made.spec.min_replica_count, made.spec.max_replica_count) == (
        "chat-predictor",
        1,
        3,
    )
    assert [owner.uid for owner in made.metadata.owner_references] == [service.metadata.uid]
    (trigger,) = made.spec.triggers
    assert trigger.metadata == {"scalerAddress": "wattkeeper.power.svc:9090", "enableTLS": "true"}
    behavior = made.spec.advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["tolerance"] == "0"
    assert made.spec.fallback["behavior"] == "currentReplicas"
    assert world.bounds() == (None, None)


async def test_our_scaled_object_has_the_policy_s_maximum_while_no_budget_binds(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(3, reason="DemandMet", upper=12)
    await world.passes()
    assert world.get(ScaledObject, "chat-predictor-wk").spec.max_replica_count == 12
    await world.recommend(5, reason="DemandMet", upper=12)
    world.cluster.written.clear()
    await world.passes(3)
    assert world.cluster.written == []


async def test_a_scaled_object_of_ours_that_somebody_edits_is_brought_back(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(3)
    await world.passes()
    made = world.get(ScaledObject, "chat-predictor-wk")
    world.cluster.replace(replace(made, spec=replace(made.spec, max_replica_count=50)))
    await world.passes()
    assert world.get(ScaledObject, "chat-predictor-wk").spec.max_replica_count == 3


async def test_what_keda_adds_to_our_scaled_object_makes_us_write_nothing(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(3)
    await world.passes(2)
    made = world.get(ScaledObject, "chat-predictor-wk")
    advanced: dict[str, Any] = {**made.spec.advanced, "scalingModifiers": {}}
    world.cluster.replace(replace(made, spec=replace(made.spec, advanced=advanced)))
    world.cluster.written.clear()
    await world.passes(3)
    assert world.cluster.written == []


async def test_an_llm_inference_service_that_says_no_number_gets_a_scaled_object(world: World) -> None:
    world.policy()
    world.llm()
    await world.recommend(3, name="chat-kserve")
    await world.passes()
    made = world.get(ScaledObject, "chat-kserve-wk")
    assert made.metadata.owner_references[0].kind == "LLMInferenceService"


async def test_the_replicas_of_an_llm_inference_service_are_lowered_where_the_policy_lets_them(world: World) -> None:
    world.policy(lower=True)
    world.llm(replicas=4)
    await world.recommend(2, name="chat-kserve")
    await world.passes()
    assert world.get(LLMInferenceService, "chat").spec.replicas == 2


async def test_prefill_and_decode_have_ceilings_of_their_own(world: World) -> None:
    world.policy(lower=True)
    service = world.llm(replicas=4, prefill={"scaling": {"maxReplicas": 6, "wva": {"hpa": {}}}})
    world.workload("chat-kserve-prefill", service)
    await world.recommend(3, name="chat-kserve")
    await world.recommend(2, name="chat-kserve-prefill")
    await world.passes(2)
    spec = world.get(LLMInferenceService, "chat").spec
    assert spec.replicas == 3
    assert spec.prefill is not None
    assert spec.prefill.scaling is not None
    assert spec.prefill.scaling.max_replicas == 2


async def test_a_plain_deployment_is_left_to_its_own_scaled_object(world: World) -> None:
    world.policy()
    world.workload("plain")
    await world.recommend(3, name="plain")
    await world.passes()
    assert world.cluster.written == []


async def test_a_new_maximum_of_the_user_s_is_what_is_put_back_in_the_end(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)
    world.edit(max_replicas=6)
    await world.passes()
    assert world.bounds() == (None, 3)
    actuation = world.recommendation().status.actuation
    assert actuation is not None
    assert [one.original for one in actuation.fields] == [6]


async def test_a_class_that_changes_leaves_nothing_of_the_old_one(world: World) -> None:
    world.policy()
    service = world.inference_service("external")
    await world.recommend(3)
    await world.passes()
    now = replace(service.metadata, annotations={"serving.kserve.io/autoscalerClass": "hpa"})
    predictor = replace(service.spec.predictor, max_replicas=8)
    world.cluster.replace(replace(service, metadata=now, spec=replace(service.spec, predictor=predictor)))
    await world.passes(3)
    assert world.find(ScaledObject, "chat-predictor-wk") is None
    assert world.bounds() == (None, 3)
    actuation = world.recommendation().status.actuation
    assert actuation is not None
    assert (actuation.autoscaler, actuation.scaled_object) == ("hpa", "")
