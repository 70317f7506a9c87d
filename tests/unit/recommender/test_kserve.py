"""Whose a scale target is to KServe, who scales it, what users let it have, and which policy an annotation names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.recommender.frozen_view import FrozenView, budget, deployment, measured, namespace, node, policy
from wattkeeper.api.meta import ObjectMeta, OwnerReference, ScaleTargetRef
from wattkeeper.api.power_recommendation import (
    ActuatedField,
    Actuation,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.kserve import InferenceService, KServeMeta, KServeService, LLMInferenceService, writers_of
from wattkeeper.cluster.objects import Deployment
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.kserve import KServeServices, Part, selecting

POLICY = "wattkeeper.dev/policy"
CLASS = "serving.kserve.io/autoscalerClass"


def inference_service(
    name: str = "chat", *, annotations: dict[str, str] | None = None, **spec: Any
) -> InferenceService:
    raw: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "llm", "uid": f"uid-{name}", "annotations": annotations or {}},
        "spec": {"predictor": {}, **spec},
    }
    return msgspec.convert(raw, InferenceService)


def llm(**spec: Any) -> LLMInferenceService:
    meta = {"name": "chat", "namespace": "llm", "uid": "uid-chat"}
    return msgspec.convert({"metadata": meta, "spec": spec}, LLMInferenceService)


def owned(
    name: str, by: KServeService, *, replicas: int = 3, kind: str = "", labels: dict[str, str] | None = None
) -> Deployment:
    owner = OwnerReference(
        api_version="serving.kserve.io/v1beta1",
        kind=kind or type(by).__name__,
        name=by.metadata.name,
        uid=by.metadata.uid,
        controller=True,
    )
    made = deployment(name, replicas)
    meta = msgspec.structs.replace(made.metadata, owner_references=(owner,), labels=labels or made.metadata.labels)
    return msgspec.structs.replace(made, metadata=meta)


def part(name: str, by: KServeService) -> Part:
    found = KServeServices(FrozenView(by)).part(owned(name, by))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "expected"), [(None, "hpa"), ("hpa", "hpa"), ("keda", "keda"), ("external", "external"), ("none", "none")]
)
def test_the_autoscaler_is_what_the_annotation_says_and_an_hpa_without_one(said: str | None, expected: str) -> None:
    found = part("chat-predictor", inference_service(annotations={CLASS: said} if said else {}))
    assert (found.autoscaler, found.obstacle) == (expected, "")


def test_a_component_s_own_annotation_goes_before_its_service_s() -> None:
    service = inference_service(annotations={CLASS: "keda"}, predictor={"annotations": {CLASS: "none"}})
    assert part("chat-predictor", service).autoscaler == "none"


def test_a_class_that_nobody_knows_is_left_alone() -> None:
    assert part("chat-predictor", inference_service(annotations={CLASS: "hpaa"})).obstacle == "UnknownAutoscaler"


def test_components_are_parts_of_their_own() -> None:
    service = inference_service(transformer={"maxReplicas": 7})
    found = part("chat-transformer", service)
    assert (found.maximum, found.ceiling(None)) == ("spec.transformer.maxReplicas", 7)


def test_a_predictor_with_a_name_of_its_own_is_found_by_it() -> None:
    service = inference_service(predictor={"name": "v2", "maxReplicas": 7})
    assert part("chat-v2-predictor", service).maximum == "spec.predictor.maxReplicas"
    assert KServeServices(FrozenView(service)).part(owned("chat-predictor", service)) is None


def test_a_canary_is_left_alone_and_follows_the_policy_that_it_names() -> None:
    canary = {"trafficPercent": 10, "predictor": {"name": "v2", "annotations": {POLICY: "b"}}}
    service = inference_service(annotations={POLICY: "a"}, canary=[canary])
    assert part("chat-v2-predictor", service).obstacle == "Canary"
    assert KServeServices(FrozenView(service)).policy(owned("chat-v2-predictor", service)) == "b"


def test_several_nodes_to_a_replica_are_left_alone() -> None:
    assert part("chat-predictor", inference_service(predictor={"workerSpec": {"pipelineParallelSize": 2}})).obstacle


def test_a_deployment_of_knative_s_is_known_by_its_label_and_left_alone() -> None:
    service = inference_service()
    revision = owned(
        "chat-predictor-00001-deployment",
        service,
        kind="Revision",
        labels={"serving.kserve.io/inferenceservice": "chat"},
    )
    owner = msgspec.structs.replace(revision.metadata.owner_references[0], api_version="serving.knative.dev/v1")
    meta = msgspec.structs.replace(revision.metadata, owner_references=(owner,))
    found = KServeServices(FrozenView(service)).part(msgspec.structs.replace(revision, metadata=meta))
    assert found is not None
    assert found.obstacle == "Knative"


def test_a_namesake_of_the_owner_is_not_the_owner() -> None:
    service = inference_service()
    other = msgspec.structs.replace(service, metadata=msgspec.structs.replace(service.metadata, uid="younger"))
    assert KServeServices(FrozenView(other)).part(owned("chat-predictor", service)) is None


@pytest.mark.parametrize(
    ("spec", "autoscaler", "maximum", "minimum"),
    [
        ({}, "external", "", ""),
        ({"replicas": 4}, "none", "", "spec.replicas"),
        (
            {"scaling": {"maxReplicas": 5, "wva": {"hpa": {}}}},
            "hpa",
            "spec.scaling.maxReplicas",
            "spec.scaling.minReplicas",
        ),
        (
            {"scaling": {"maxReplicas": 5, "keda": {}}},
            "keda",
            "spec.scaling.maxReplicas",
            "spec.scaling.minReplicas",
        ),
    ],
)
def test_an_llm_inference_service_is_scaled_as_its_spec_says(
    spec: dict[str, Any], autoscaler: str, maximum: str, minimum: str
) -> None:
    found = part("chat-kserve", llm(**spec))
    assert (found.autoscaler, found.maximum, found.minimum) == (autoscaler, maximum, minimum)


def test_prefill_is_a_part_of_its_own_as_a_deployment_and_as_groups() -> None:
    service = llm(replicas=1, prefill={"replicas": 2})
    for name in ("chat-kserve-prefill", "chat-kserve-mn-prefill"):
        assert part(name, service).minimum == "spec.prefill.replicas"


def test_an_llm_inference_service_with_a_long_name_is_found_by_what_kserve_makes_of_it() -> None:
    raw: dict[str, Any] = {
        "metadata": {"name": "m" * 50, "namespace": "llm", "uid": "u"},
        "spec": {"replicas": 4, "prefill": {}},
    }
    service = msgspec.convert(raw, LLMInferenceService)
    digest = "3ec12b14b783df9b7327487b0a73d80f"
    assert part(f"{'m' * 13}{digest}-kserve-mn-prefill", service).autoscaler == "external"
    assert part(f"{'m' * 50}-kserve", service).minimum == "spec.replicas"


def test_a_router_s_scheduler_is_no_part() -> None:
    service = llm(replicas=1)
    assert KServeServices(FrozenView(service)).part(owned("chat-kserve-router-scheduler", service)) is None


@pytest.mark.parametrize(
    ("bounds", "ceiling"), [({}, 1), ({"minReplicas": 3}, 3), ({"maxReplicas": 8}, 8), ({"maxReplicas": 0}, 1)]
)
def test_an_unset_maximum_is_what_kserve_makes_of_it(bounds: dict[str, int], ceiling: int) -> None:
    assert part("chat-predictor", inference_service(predictor=bounds)).ceiling(None) == ceiling


def test_what_a_user_wrote_counts_where_the_actuator_has_written_since() -> None:
    one = part("chat-predictor", inference_service(predictor={"maxReplicas": 3}))
    fields = (ActuatedField(field="spec.predictor.maxReplicas", original=8, written=3),)
    assert one.ceiling(Actuation(autoscaler="hpa", uid="uid-chat", fields=fields)) == 8
    assert one.ceiling(Actuation(autoscaler="hpa", uid="another", fields=fields)) == 3
    changed = (msgspec.structs.replace(fields[0], written=4),)
    assert one.ceiling(Actuation(autoscaler="hpa", uid="uid-chat", fields=changed)) == 3


def test_an_annotation_goes_before_selectors_and_one_that_names_nothing_lifts_no_cap() -> None:
    both = [policy("a", selects={"policy": "x"}), policy("b", selects={"policy": "y"})]
    one = deployment("x", 1)
    assert [found.metadata.name for found in selecting(one, "b", both)] == ["b"]
    assert [found.metadata.name for found in selecting(one, "c", both)] == ["a"]
    assert [found.metadata.name for found in selecting(one, "", both)] == ["a"]


def test_a_policy_is_named_on_the_service_on_its_component_or_on_a_plain_workload() -> None:
    service = inference_service(annotations={POLICY: "a"}, transformer={"annotations": {POLICY: "b"}})
    kserve = KServeServices(FrozenView(service))
    assert kserve.policy(owned("chat-predictor", service)) == "a"
    assert kserve.policy(owned("chat-transformer", service)) == "b"
    plain = deployment("plain", 1)
    meta = msgspec.structs.replace(plain.metadata, annotations={POLICY: "c"})
    assert kserve.policy(msgspec.structs.replace(plain, metadata=meta)) == "c"


def test_what_kserve_has_copied_to_a_workload_does_not_count() -> None:
    service = inference_service()
    one = owned("chat-predictor", service)
    meta = msgspec.structs.replace(one.metadata, annotations={POLICY: "left-over"})
    assert KServeServices(FrozenView(service)).policy(msgspec.structs.replace(one, metadata=meta)) == ""


def test_an_llm_inference_service_s_annotation_counts_though_kserve_copies_it_nowhere() -> None:
    service = msgspec.structs.replace(
        llm(), metadata=KServeMeta(name="chat", namespace="llm", uid="uid-chat", annotations={POLICY: "a"})
    )
    assert KServeServices(FrozenView(service)).policy(owned("chat-kserve", service)) == "a"


def test_who_wrote_a_field_is_read_from_managed_fields() -> None:
    raw: dict[str, Any] = {
        "metadata": {
            "name": "chat",
            "managedFields": [
                {"manager": "argocd", "fieldsV1": {"f:spec": {"f:predictor": {"f:maxReplicas": {}}}}},
                {"manager": "kserve", "subresource": "status", "fieldsV1": {"f:status": {}}},
                {"manager": "kustomize", "fieldsV1": {"f:spec": {}}},
                {"manager": "kubelet", "fieldsV1": {"f:metadata": {}}},
                {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:predictor": {"f:minReplicas": {}}}}},
            ],
        }
    }
    found = msgspec.convert(raw, InferenceService)
    assert list(writers_of(found, "spec.predictor.maxReplicas")) == ["argocd", "kustomize"]


def collected(service: KServeService, name: str, *extra: Watched, replicas: int = 3) -> Any:
    selected = policy("p", selects={"policy": name}, ceiling=20)
    workload = owned(name, service, replicas=replicas)
    view = FrozenView(node("n"), namespace(), budget("row", 1e6), selected, service, workload, *extra)
    return ReadingsCollector(view).collect(measured(0.0), 0.0).services


def lowered(field: str, *, original: int, written: int) -> PowerRecommendation:
    change = ActuatedField(field=field, original=original, written=written)
    actuation = Actuation(autoscaler="none", uid="uid-chat", fields=(change,))
    return PowerRecommendation(
        metadata=ObjectMeta(name="deployment-chat-predictor", namespace="llm"),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name="chat-predictor")),
        status=PowerRecommendationStatus(mode="Scale", actuation=actuation),
    )


def test_all_that_kserve_s_own_autoscaler_may_use_is_reserved_and_no_more() -> None:
    rows = collected(inference_service(predictor={"maxReplicas": 6}), "chat-predictor")
    assert rows.cap_only.tolist() == [True]
    assert rows.ceiling.tolist() == [6]


def test_a_service_that_nobody_scales_asks_for_what_its_owner_says() -> None:
    service = inference_service(annotations={CLASS: "none"}, predictor={"minReplicas": 2})
    rows = collected(service, "chat-predictor", lowered("spec.predictor.minReplicas", original=5, written=2))
    assert rows.demand.tolist() == [5.0]
    assert rows.ceiling.tolist() == [5]
    assert rows.cap_only.tolist() == [False]


def test_a_service_that_asks_us_is_bound_by_its_policy_alone() -> None:
    rows = collected(inference_service(annotations={CLASS: "external"}, predictor={"maxReplicas": 2}), "chat-predictor")
    assert rows.cap_only.tolist() == [False]
    assert rows.ceiling.tolist() == [20]
