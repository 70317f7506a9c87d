"""The scene as objects of a cluster."""

from __future__ import annotations

from typing import Final

from tests.faults.scene import (
    BY_KSERVE,
    DISRUPTIONS_PER_HOUR,
    NAMESPACE,
    NODES_PER_RACK,
    PROTECTIONS,
    RACK_WATTS,
    RACKS,
    ROW,
    ROW_WATTS,
    SCALER_ADDRESS,
    SERVICES,
    SHED_SECONDS,
    SceneService,
    rack_labels,
)
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL
from wattkeeper.api.meta import LabelSelector, ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import (
    ActuationRules,
    Demand,
    Disruption,
    PowerCappingPolicy,
    PowerCappingPolicySpec,
    ViolationRules,
)
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.kserve import (
    AUTOSCALER_ANNOTATION,
    Component,
    InferenceService,
    InferenceServiceSpec,
    KServeMeta,
)
from wattkeeper.cluster.objects import (
    Container,
    Deployment,
    DeploymentSpec,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    Namespace,
    Node,
    NodeStatus,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodSpec,
    PodTemplate,
    Resources,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)

_GPUS_PER_NODE: Final = 8
_POLLING_SECONDS: Final = 15
_PROTECTION: Final = "protection"
_AT_ONCE: Final = [{"type": "Pods", "value": 100, "periodSeconds": 15}]


def cluster_objects() -> list[Watched]:
    """Returns what there is at the beginning, in the order in which it can be created."""
    objects: list[Watched] = [
        Namespace(metadata=ObjectMeta(name=NAMESPACE, labels={ADMISSION_LABEL: ADMISSION_ENABLED}))
    ]
    for rack in RACKS:
        objects.extend(_node(rack, number) for number in range(1, NODES_PER_RACK + 1))
        objects.append(_budget(rack, RACK_WATTS, {"rack": rack}))
    objects.append(_budget(ROW, ROW_WATTS, {"row": "1"}))
    for one in SERVICES:
        objects.append(policy(one))
        objects.extend(_workload(one))
    objects.extend(protection(name, name) for name in PROTECTIONS)
    return objects


def protection(name: str, pods: str) -> PodDisruptionBudget:
    """Returns a PodDisruptionBudget about the pods of a name in PROTECTIONS."""
    return PodDisruptionBudget(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={_PROTECTION: pods})),
    )


def scaled_objects() -> list[ScaledObject]:
    """Returns the ScaledObjects of users, which ask Wattkeeper's scaler."""
    rules = {"stabilizationWindowSeconds": 0, "tolerance": "0", "policies": _AT_ONCE}
    patient = [{**rules, "stabilizationWindowSeconds": one.patience_seconds} for one in SERVICES]
    return [
        ScaledObject(
            metadata=ObjectMeta(name=one.name, namespace=NAMESPACE),
            spec=ScaledObjectSpec(
                scale_target_ref=ScaledObjectTarget(name=one.name, kind=one.kind),
                polling_interval=_POLLING_SECONDS,
                min_replica_count=one.floor,
                max_replica_count=one.ceiling,
                triggers=(
                    Trigger(
                        type="external",
                        name="wattkeeper",
                        metadata={"scalerAddress": SCALER_ADDRESS},
                        metric_type="AverageValue",
                    ),
                ),
                advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": rules, "scaleDown": down}}},
            ),
        )
        for one, down in zip(SERVICES, patient, strict=True)
        if one.scaled == "user"
    ]


def _budget(name: str, watts: float, labels: dict[str, str]) -> PowerBudget:
    return PowerBudget(
        metadata=ObjectMeta(name=name),
        spec=PowerBudgetSpec(
            limit_watts=watts,
            node_selector=LabelSelector(match_labels=labels),
            meter="wall",
            shed_seconds=SHED_SECONDS,
        ),
    )


def _node(rack: str, number: int) -> Node:
    resources = {"nvidia.com/gpu": str(_GPUS_PER_NODE), "cpu": "192"}
    name = f"{rack}-{number}"
    labels = {**rack_labels(rack), "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    return Node(
        metadata=ObjectMeta(name=name, labels={**labels, "kubernetes.io/hostname": name}),
        status=NodeStatus(capacity=resources, allocatable=resources),
    )


def policy(one: SceneService) -> PowerCappingPolicy:
    """Returns the policy that caps a service."""
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=one.name, namespace=NAMESPACE),
        spec=PowerCappingPolicySpec(
            selector=LabelSelector(match_labels={"app": one.name}),
            mode=one.mode,
            priority=one.priority,
            min_replicas=one.floor,
            max_replicas=one.ceiling,
            demand=Demand(metric="Requests", target_per_replica=one.target_per_replica, stabilization_seconds=60),
            watts_per_replica=one.size * round(one.model.saturated_watts() - 75.0 * one.model.gpus),
            rollout="Replace" if one.replaces else "Surge",
            violation=ViolationRules(duration_seconds=20),
            disruption=Disruption(max_per_hour=DISRUPTIONS_PER_HOUR),
            actuation=ActuationRules(lower_min_replicas=one.consents, raise_min_replicas=one.consents),
        ),
    )


def _inference_service(one: SceneService) -> InferenceService:
    name, (least, most) = one.inference_service, one.bounds
    predictor = Component(min_replicas=least, max_replicas=most) if one.scaled in BY_KSERVE else Component()
    scaler = one.scaled if one.scaled in BY_KSERVE else "external"
    meta = KServeMeta(name=name, namespace=NAMESPACE, uid=f"0ca1-{name}", annotations={AUTOSCALER_ANNOTATION: scaler})
    return InferenceService(metadata=meta, spec=InferenceServiceSpec(predictor=predictor))


def _workload(one: SceneService) -> list[Watched]:
    labels = {"app": one.name}
    gpus: dict[str, str | int] = {"nvidia.com/gpu": one.model.gpus}
    owners: tuple[OwnerReference, ...] = ()
    protected = {_PROTECTION: one.protection} if one.protection else {}
    made: list[Watched] = []
    if one.inference_service:
        service = _inference_service(one)
        made.append(service)
        owners = (
            OwnerReference(
                kind="InferenceService",
                name=service.metadata.name,
                uid=service.metadata.uid,
                api_version="serving.kserve.io/v1beta1",
                controller=True,
            ),
        )
    meta = ObjectMeta(name=one.name, namespace=NAMESPACE, labels=labels, owner_references=owners)
    template = PodTemplate(
        metadata=ObjectMeta(labels={**labels, **protected, CAPPED_LABEL: "true"}),
        spec=PodSpec(
            node_selector=dict(one.nodes),
            containers=(Container(name="server", resources=Resources(requests=gpus, limits=gpus)),),
        ),
    )
    if one.size > 1:
        group = LeaderWorkerTemplate(size=one.size, worker_template=template)
        spec = LeaderWorkerSetSpec(replicas=one.first_replicas, leader_worker_template=group)
        return [LeaderWorkerSet(metadata=meta, spec=spec)]
    selector = LabelSelector(match_labels=labels)
    deployed = DeploymentSpec(replicas=one.first_replicas, selector=selector, template=template)
    return [*made, Deployment(metadata=meta, spec=deployed)]
