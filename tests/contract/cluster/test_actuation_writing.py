"""What the actuator writes, over real HTTP on loopback."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import FakeApi
from wattkeeper.api.meta import Condition, ObjectMeta, OwnerReference, ScaleTargetRef
from wattkeeper.api.power_recommendation import (
    ActuatedField,
    Actuation,
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cluster.actuation import OURS
from wattkeeper.cluster.braking import MAXIMUM, MINIMUM, PAUSE
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError
from wattkeeper.cluster.kserve import InferenceService, KServeMeta, LLMInferenceService
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
)

RECOMMENDATION = "/apis/wattkeeper.dev/v1alpha1/namespaces/llm/powerrecommendations/deployment-a"
SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/llm/inferenceservices/chat"
LLM = "/apis/serving.kserve.io/v1alpha2/namespaces/llm/llminferenceservices/chat"
SCALED = "/apis/keda.sh/v1alpha1/namespaces/llm/scaledobjects/chat-predictor-wk"
AUTOSCALER = "/apis/autoscaling/v2/namespaces/llm/horizontalpodautoscalers/keda-hpa-chat"
ACTUATION = Actuation(autoscaler="hpa", fields=(ActuatedField(field="spec.predictor.maxReplicas", written=3),))
ACTUATED = Condition(type="Actuated", status="True", reason="Written", last_transition_time="2026-01-01T00:00:00Z")


def recommendation() -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(namespace="llm", name="deployment-a", uid="u1", resource_version="7"),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name="a"), policy="p"),
        status=PowerRecommendationStatus(mode="Scale", reason="BudgetBinds"),
    )


def stored() -> dict[str, Any]:
    """Returns the same as an API server has it."""
    meta = {"namespace": "llm", "name": "deployment-a", "uid": "u1", "resourceVersion": "7"}
    return {**msgspec.to_builtins(recommendation()), "metadata": meta}


def noting(actuation: Actuation) -> PowerRecommendation:
    one = recommendation()
    return replace(one, status=replace(one.status, actuation=actuation))


def scaled_object(*, ours: bool = True) -> ScaledObject:
    labels = dict([OURS]) if ours else {}
    return ScaledObject(
        metadata=ObjectMeta(namespace="llm", name="chat-predictor-wk", uid="u9", labels=labels),
        spec=ScaledObjectSpec(scale_target_ref=ScaledObjectTarget(name="chat-predictor"), max_replica_count=3),
    )


def service() -> InferenceService:
    return InferenceService(metadata=KServeMeta(namespace="llm", name="chat", resource_version="7"))


async def test_leader_and_actuator_write_one_status_without_erasing_each_other(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    api.objects[RECOMMENDATION] = stored()
    cluster = make_cluster()
    await cluster.write_status(recommendation())
    await cluster.write_actuation(recommendation(), actuation=ACTUATION, conditions=(ACTUATED,))
    ready = replace(ACTUATED, type="Ready")
    status = replace(recommendation().status, reason="DemandMet", conditions=(ready,))
    await cluster.write_status(replace(recommendation(), status=status))
    found = api.objects[RECOMMENDATION]["status"]
    assert found["reason"] == "DemandMet"
    assert found["actuation"]["fields"] == [{"field": "spec.predictor.maxReplicas", "written": 3}]
    assert {one["type"] for one in found["conditions"]} == {"Actuated", "Ready"}


async def test_an_actuation_that_is_over_leaves_nothing_behind(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[RECOMMENDATION] = stored()
    cluster = make_cluster()
    await cluster.write_actuation(recommendation(), actuation=ACTUATION, conditions=(ACTUATED,))
    await cluster.write_actuation(noting(ACTUATION), actuation=None, conditions=())
    assert api.objects[RECOMMENDATION]["status"] == stored()["status"]


async def test_a_note_that_was_not_seen_is_neither_replaced_nor_let_go(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[RECOMMENDATION] = stored()
    cluster = make_cluster()
    await cluster.write_actuation(recommendation(), actuation=ACTUATION, conditions=())
    with pytest.raises(ConflictError, match="something else by now"):
        await cluster.write_actuation(recommendation(), actuation=replace(ACTUATION, autoscaler="keda"), conditions=())
    with pytest.raises(ConflictError, match="something else by now"):
        await cluster.hold_recommendation(recommendation(), held=False)
    assert api.objects[RECOMMENDATION]["status"]["actuation"]["autoscaler"] == "hpa"


async def test_a_note_that_was_seen_is_replaced_whatever_else_has_changed(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    api.objects[RECOMMENDATION] = stored()
    cluster = make_cluster()
    await cluster.write_actuation(recommendation(), actuation=ACTUATION, conditions=())
    await cluster.write_status(recommendation())
    await cluster.write_actuation(noting(ACTUATION), actuation=replace(ACTUATION, autoscaler="keda"), conditions=())
    await cluster.hold_recommendation(noting(replace(ACTUATION, autoscaler="keda")), held=True)
    assert api.objects[RECOMMENDATION]["status"]["actuation"]["autoscaler"] == "keda"


@pytest.mark.parametrize(
    "change", [{"target": Amount(replicas=2)}, {"mode": "Off"}, {"upper_bound": Amount(replicas=2)}]
)
async def test_what_is_no_longer_recommended_is_not_acted_on(
    api: FakeApi, make_cluster: MakeCluster, change: dict[str, Any]
) -> None:
    api.objects[RECOMMENDATION] = stored()
    cluster = make_cluster()
    by_now = recommendation()
    await cluster.write_status(replace(by_now, status=replace(by_now.status, **change)))
    with pytest.raises(ConflictError, match="something else by now"):
        await cluster.hold_recommendation(recommendation(), held=True)
    with pytest.raises(ConflictError, match="something else by now"):
        await cluster.write_actuation(recommendation(), actuation=ACTUATION, conditions=())
    assert "actuation" not in api.objects[RECOMMENDATION]["status"]


async def test_an_actuation_is_kept_off_a_namesake(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[RECOMMENDATION] = {"metadata": {"uid": "another", "resourceVersion": "8"}}
    with pytest.raises(NotFoundError, match="another object by now"):
        await make_cluster().write_actuation(recommendation(), actuation=ACTUATION, conditions=())


async def test_the_finalizer_is_all_of_the_metadata_that_is_applied(api: FakeApi, make_cluster: MakeCluster) -> None:
    identity = {"namespace": "llm", "name": "deployment-a", "uid": "u1", "resourceVersion": "7"}
    cluster = make_cluster()
    for held in (True, False):
        api.objects[RECOMMENDATION] = stored()
        await cluster.hold_recommendation(recommendation(), held=held)
    assert api.asked("PATCH", RECOMMENDATION) == [{"fieldManager": "wattkeeper-actuator", "force": "true"}] * 2
    assert [body["metadata"] for _, _, body in api.bodies] == [
        {**identity, "finalizers": ["wattkeeper.dev/actuator"]},
        identity,
    ]


async def test_bounds_change_and_nothing_else(api: FakeApi, make_cluster: MakeCluster) -> None:
    predictor = {"minReplicas": 1, "model": {"runtime": "vllm"}}
    api.objects[SERVICE] = {"metadata": {"uid": "u1", "resourceVersion": "7"}, "spec": {"predictor": predictor}}
    fields = {"spec.predictor.maxReplicas": 3, "spec.predictor.minReplicas": None}
    await make_cluster().set_replica_fields(service(), fields)
    assert api.asked("PATCH", SERVICE) == [{"fieldManager": "wattkeeper-actuator"}]
    assert api.objects[SERVICE]["spec"] == {"predictor": {"maxReplicas": 3, "model": {"runtime": "vllm"}}}


async def test_bounds_of_a_service_that_has_changed_since_are_left(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[SERVICE] = {"metadata": {"uid": "u1", "resourceVersion": "8"}, "spec": {}}
    with pytest.raises(ConflictError):
        await make_cluster().set_replica_fields(service(), {"spec.predictor.maxReplicas": 3})
    assert api.objects[SERVICE]["spec"] == {}


async def test_workloads_of_an_llm_inference_service_have_their_own_bounds(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    api.objects[LLM] = {"metadata": {"uid": "u1", "resourceVersion": "7"}, "spec": {"replicas": 4}}
    one = LLMInferenceService(metadata=service().metadata)
    await make_cluster().set_replica_fields(one, {"spec.replicas": 2, "spec.prefill.scaling.maxReplicas": 3})
    assert api.objects[LLM]["spec"] == {"replicas": 2, "prefill": {"scaling": {"maxReplicas": 3}}}


async def test_no_other_field_of_a_service_can_be_changed(api: FakeApi, make_cluster: MakeCluster) -> None:
    with pytest.raises(RefusedError, match="not ours to change"):
        await make_cluster().set_replica_fields(service(), {"spec.predictor.minReplicas": 1, "metadata.labels": 1})
    assert api.requests == []


async def test_a_scaled_object_of_ours_is_applied_and_deleted(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.apply_scaled_object(scaled_object())
    assert api.asked("PATCH", SCALED) == [{"fieldManager": "wattkeeper-actuator", "force": "true"}]
    assert api.objects[SCALED]["spec"]["maxReplicaCount"] == 3
    api.objects[SCALED]["metadata"]["uid"] = "u9"
    await cluster.delete_scaled_object(scaled_object())
    await cluster.delete_scaled_object(scaled_object())
    assert SCALED not in api.objects


async def test_a_scaled_object_of_somebody_else_is_not_touched(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    for verb in (cluster.apply_scaled_object, cluster.delete_scaled_object):
        with pytest.raises(RefusedError, match="not ours to change"):
            await verb(scaled_object(ours=False))
    assert api.requests == []


async def test_a_scaled_object_of_somebody_else_that_has_our_name_is_not_taken_over(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    mine = {"metadata": {"uid": "u9", "resourceVersion": "7"}, "spec": {"maxReplicaCount": 9}}
    api.objects[SCALED] = mine
    with pytest.raises(RefusedError, match="not ours to change"):
        await make_cluster().apply_scaled_object(scaled_object())
    assert api.objects[SCALED] is mine


def autoscaler(*owners: str) -> HorizontalPodAutoscaler:
    references = tuple(OwnerReference(kind=kind, name="chat", uid="u9") for kind in owners)
    return HorizontalPodAutoscaler(
        metadata=ObjectMeta(namespace="llm", name="keda-hpa-chat", resource_version="7", owner_references=references),
        spec=HorizontalPodAutoscalerSpec(scale_target_ref=CrossVersionTarget(kind="Deployment", name="chat")),
    )


async def test_the_brake_changes_bounds_of_keda_s_hpa_as_it_was_seen(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    api.objects[AUTOSCALER] = {"metadata": {"resourceVersion": "7"}, "spec": {"minReplicas": 6, "maxReplicas": 9}}
    await cluster.set_brake(autoscaler("ScaledObject"), {MAXIMUM: 5, MINIMUM: None})
    assert api.asked("PATCH", AUTOSCALER) == [{"fieldManager": "wattkeeper-actuator"}]
    assert api.objects[AUTOSCALER]["spec"] == {"maxReplicas": 5}
    with pytest.raises(ConflictError):
        await cluster.set_brake(autoscaler("ScaledObject"), {MAXIMUM: 4})


async def test_the_brake_sets_a_pause_and_takes_it_away(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    marks = {"note": "kept"}
    api.objects[SCALED] = {"metadata": {"uid": "u9", "annotations": marks}, "spec": {}}
    await cluster.set_brake(scaled_object(ours=False), {PAUSE: 0})
    assert api.objects[SCALED]["metadata"]["annotations"] == {**marks, "autoscaling.keda.sh/paused-replicas": "0"}
    await cluster.set_brake(scaled_object(ours=False), {PAUSE: None})
    assert api.objects[SCALED]["metadata"]["annotations"] == marks


def paused_by(*managers: str) -> dict[str, Any]:
    said: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, "f:autoscaling.keda.sh/paused-replicas": {}}}}
    entries: list[dict[str, Any]] = [
        {"manager": one, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": said} for one in managers
    ]
    other: dict[str, Any] = {
        "manager": "kubectl",
        "fieldsV1": {"f:metadata": {"f:annotations": {"f:note": {}}}, "f:spec": {}},
    }
    annotations = {"autoscaling.keda.sh/paused-replicas": "0"}
    return {"metadata": {"uid": "u9", "annotations": annotations, "managedFields": [other, *entries]}, "spec": {}}


async def test_a_pause_that_only_the_actuator_has_written_is_taken_off(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[SCALED] = paused_by("wattkeeper-actuator")
    await make_cluster().set_brake(scaled_object(ours=False), {PAUSE: None}, if_ours=True)
    assert api.objects[SCALED]["metadata"]["annotations"] == {}


@pytest.mark.parametrize("managers", [(), ("kubectl-annotate",), ("wattkeeper-actuator", "argocd")])
async def test_a_pause_that_somebody_else_has_written_is_left(
    api: FakeApi, make_cluster: MakeCluster, managers: tuple[str, ...]
) -> None:
    api.objects[SCALED] = paused_by(*managers)
    with pytest.raises(ConflictError, match="somebody else's"):
        await make_cluster().set_brake(scaled_object(ours=False), {PAUSE: None}, if_ours=True)
    assert api.objects[SCALED]["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}


async def test_the_brake_touches_nobody_else_s_hpa_and_no_other_field(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with pytest.raises(RefusedError, match="belongs to no ScaledObject"):
        await cluster.set_brake(autoscaler("InferenceService"), {MAXIMUM: 5})
    with pytest.raises(RefusedError, match="not the brake's to change"):
        await cluster.set_brake(autoscaler("ScaledObject"), {PAUSE: 5})
    with pytest.raises(RefusedError, match="not the brake's to change"):
        await cluster.set_brake(scaled_object(), {MAXIMUM: 5})
    assert api.requests == []
