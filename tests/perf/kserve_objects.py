"""InferenceServices of every autoscaler class as a cluster has them, with what KServe makes of each: for benchmarks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from wattkeeper.api.meta import LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import ActuationRules, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    Reason,
    recommendation_name,
)
from wattkeeper.cluster.encoding import written

Object = dict[str, Any]
CLASSES: Final = ("hpa", "keda", "external", "none")
REPLICAS: Final = 8
"""What every service may have, and has while no budget binds."""
CUT: Final = 4
"""What a cut leaves it."""
_NAMESPACES: Final = 20
_REPLICA_WATTS: Final = 700.0
_TIME: Final = "2026-11-25T12:00:00Z"


def class_of(number: int) -> str:
    """Returns who scales a service."""
    return CLASSES[number % len(CLASSES)]


def everything(services: int) -> Iterator[tuple[str, Object]]:
    """Yields every object, after the plural of its kind."""
    hall = ObjectMeta(name="hall", uid="budget")
    yield "powerbudgets", written(PowerBudget(metadata=hall, spec=PowerBudgetSpec(limit_watts=1e9)))
    rules = ActuationRules(lower_min_replicas=True)
    selector = LabelSelector(match_labels={"component": "predictor"})
    for number in range(_NAMESPACES):
        meta = ObjectMeta(name="capped", namespace=_namespace(number), uid=f"policy-{number}")
        spec = PowerCappingPolicySpec(selector=selector, mode="Scale", actuation=rules)
        yield "powercappingpolicies", written(PowerCappingPolicy(metadata=meta, spec=spec))
    for number in range(services):
        yield from _of_service(number)


def status(replicas: int, reason: Reason) -> Object:
    """Returns what the leader says of every service."""
    said = PowerRecommendationStatus(
        mode="Scale",
        target=Amount(replicas=replicas, watts=replicas * _REPLICA_WATTS),
        lower_bound=Amount(replicas=1, watts=_REPLICA_WATTS),
        upper_bound=Amount(replicas=REPLICAS, watts=REPLICAS * _REPLICA_WATTS),
        uncapped_target=Amount(replicas=REPLICAS, watts=REPLICAS * _REPLICA_WATTS),
        reason=reason,
        message=f"{replicas} of {REPLICAS} replicas fit the budget hall.",
        binding_budget="hall" if reason == "BudgetBinds" else "",
        replica_watts=_REPLICA_WATTS,
    )
    return written(said)


def _of_service(number: int) -> Iterator[tuple[str, Object]]:
    name, namespace, autoscaler = f"llm-{number:04}", _namespace(number), class_of(number)
    target = f"{name}-predictor"
    fixed = autoscaler == "none"
    bounds = {"minReplicas": REPLICAS} if fixed else {"minReplicas": 1, "maxReplicas": REPLICAS}
    service = _made(number, name, "serving.kserve.io/v1beta1", "InferenceService", autoscaler)
    model = {"modelFormat": {"name": "huggingface"}, "storageUri": f"s3://models/{name}/v1"}
    service["spec"] = {"predictor": {**bounds, "model": {**model, **_container(number)}}}
    yield "inferenceservices", service
    owner = {"kind": "InferenceService", "name": name, "uid": service["metadata"]["uid"], "controller": True}
    owners = [{"apiVersion": "serving.kserve.io/v1beta1", **owner}]
    labels = {"app": f"isvc.{target}", "component": "predictor", "serving.kserve.io/inferenceservice": name}
    deployment = _made(number, target, "apps/v1", "Deployment", autoscaler)
    deployment["metadata"] |= {"ownerReferences": owners, "labels": labels}
    container = {"name": "kserve-container", "image": "registry.example/llm/vllm-openai:v0.11.2", **_container(number)}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment["spec"] = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    yield "deployments", deployment
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    if autoscaler == "keda":
        made = _made(number, target, "keda.sh/v1alpha1", "ScaledObject", autoscaler)
        query = {"serverAddress": "http://prometheus:9090", "query": f'sum(rate(tokens{{service="{name}"}}[1m]))'}
        made["metadata"]["ownerReferences"] = owners
        trigger = {"type": "prometheus", "metadata": {**query, "threshold": "100"}}
        counts = {"minReplicaCount": 1, "maxReplicaCount": REPLICAS}
        made["spec"] = {"scaleTargetRef": {"name": target}, **counts, "triggers": [trigger]}
        yield "scaledobjects", made
    if autoscaler in ("keda", "hpa"):
        of_keda = autoscaler == "keda"
        named = f"keda-hpa-{target}" if of_keda else target
        made = _made(number, named, "autoscaling/v2", "HorizontalPodAutoscaler", autoscaler)
        made["metadata"]["ownerReferences"] = owners if not of_keda else [{"kind": "ScaledObject", "name": target}]
        made["spec"] = {"scaleTargetRef": scaled, "minReplicas": 1, "maxReplicas": REPLICAS}
        yield "horizontalpodautoscalers", made
    meta = ObjectMeta(name=recommendation_name("Deployment", target), namespace=namespace, uid=f"said-{number}")
    reference = ScaleTargetRef(api_version="apps/v1", kind="Deployment", name=target)
    spec = PowerRecommendationSpec(scale_target_ref=reference, policy="capped")
    said = written(PowerRecommendation(metadata=meta, spec=spec))
    yield "powerrecommendations", {**said, "status": status(REPLICAS, "DemandMet")}


def _namespace(number: int) -> str:
    return f"team-{number % _NAMESPACES:02}"


def _made(number: int, name: str, version: str, kind: str, autoscaler: str) -> Object:
    fields: Object = {f"f:setting{place:02}": {".": {}, "f:name": {}, "f:value": {}} for place in range(30)}
    managed = {"manager": "argocd", "operation": "Apply", "time": _TIME, "fieldsType": "FieldsV1"}
    meta = {
        "name": name,
        "namespace": _namespace(number),
        "uid": f"{kind}-{number}",
        "creationTimestamp": _TIME,
        "annotations": {
            "serving.kserve.io/autoscalerClass": autoscaler,
            "serving.kserve.io/deploymentMode": "Standard",
        },
        "managedFields": [{**managed, "fieldsV1": {"f:spec": {"f:predictor": fields}}}],
    }
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def _container(number: int) -> Object:
    chance = random.Random(number)
    requests = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
    return {
        "env": [{"name": f"SETTING_{place}", "value": f"{chance.getrandbits(96):024x}"} for place in range(24)],
        "args": [f"--served-model-name=llm-{number:04}", "--max-model-len=8192", "--gpu-memory-utilization=0.9"],
        "resources": {"requests": requests, "limits": requests},
    }
