"""The cluster that faults befall: three racks of three servers, and a service of each kind and mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL
from wattkeeper.api.meta import LabelSelector, ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import (
    ENFORCING,
    Demand,
    Disruption,
    Mode,
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
from wattkeeper.simulation.models import LLAMA_8B, LLAMA_70B, QWEN_32B, ModelProfile
from wattkeeper.simulation.scheduler import ZONE
from wattkeeper.simulation.serving import ServiceLevel
from wattkeeper.simulation.traffic import Traffic
from wattkeeper.simulation.twin import TwinService

NAMESPACE: Final = "llm"
SYSTEM: Final = "wattkeeper-system"
BEGINS: Final = 1_772_434_800.0
RACKS: Final = ("rack-a", "rack-b", "rack-c")
NODES_PER_RACK: Final = 3
GPUS_PER_NODE: Final = 8
RACK_WATTS: Final = 16_500.0
ROW: Final = "row"
ROW_WATTS: Final = 56_000.0
SHED_SECONDS: Final = 150
DISRUPTIONS_PER_HOUR: Final = 120
SCALER_ADDRESS: Final = "wattkeeper.wattkeeper-system.svc:9090"
_POLLING_SECONDS: Final = 15
_AT_ONCE: Final = [{"type": "Pods", "value": 100, "periodSeconds": 15}]


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneService:
    """One service.

    Attributes:
        scaled: by whom: a ScaledObject of its user's, the actuator's own (an InferenceService of class external), or
            nobody.
        rack: the only one whose nodes it may run on; "" for any.
        requests_per_second: of an ordinary second.
        min_available: of its PodDisruptionBudget; None for no such thing.
        replaces: its rollouts go one pod down before one up where watts are short.
    """

    name: str
    model: ModelProfile
    mode: Mode
    priority: int
    floor: int
    ceiling: int
    first_replicas: int
    target_per_replica: float
    requests_per_second: float
    scaled: str = "user"
    rack: str = ""
    min_available: int | None = None
    replaces: bool = False
    grace_seconds: float = 20.0

    @property
    def enforced(self) -> bool:
        """Says whether its mode is one that caps."""
        return self.mode in ENFORCING


# Loads take seconds here, so that a run of minutes sees many of them.
SERVICES: Final = (
    SceneService(
        name="chat",
        model=replace(LLAMA_70B, load_seconds=30.0),
        mode="Scale",
        priority=100,
        floor=1,
        ceiling=6,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=30,
        replaces=True,
    ),
    SceneService(
        name="code",
        model=replace(QWEN_32B, load_seconds=20.0),
        mode="Kill",
        priority=50,
        floor=1,
        ceiling=6,
        first_replicas=2,
        target_per_replica=64,
        requests_per_second=40,
        rack="rack-b",
        min_available=1,
    ),
    SceneService(
        name="summaries",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Migrate",
        priority=10,
        floor=1,
        ceiling=10,
        first_replicas=3,
        target_per_replica=96,
        requests_per_second=70,
        min_available=2,
    ),
    SceneService(
        name="search-predictor",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Kill",
        priority=30,
        floor=1,
        ceiling=8,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=50,
        scaled="actuator",
        rack="rack-c",
    ),
    SceneService(
        name="notes",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Off",
        priority=0,
        floor=0,
        ceiling=8,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=20,
        scaled="nobody",
        rack="rack-a",
    ),
)
BY_NAME: Final = {one.name: one for one in SERVICES}


def steady_traffic(service: SceneService, seconds: int, spikes: list[tuple[int, int, float]]) -> Traffic:
    """Returns requests at one rate, but for spikes: (first second, last second, times as many)."""
    requests = np.full(seconds, service.requests_per_second, dtype=np.float64)
    for first, last, times in spikes:
        requests[first:last] *= times
    return Traffic(requests=requests, generated_tokens=requests * 200.0, prompt_tokens=requests * 900.0)


def twin_services(traffic: dict[str, Traffic]) -> tuple[TwinService, ...]:
    """Returns what the twin has to know of the services."""
    return tuple(
        TwinService(
            namespace=NAMESPACE,
            name=one.name,
            model=one.model,
            traffic=traffic[one.name],
            level=ServiceLevel(wait_seconds=5.0, patience_seconds=20.0),
            grace_seconds=one.grace_seconds,
        )
        for one in SERVICES
    )


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
        objects.append(_policy(one))
        objects.extend(_workload(one))
        if one.min_available is not None:
            objects.append(
                PodDisruptionBudget(
                    metadata=ObjectMeta(name=one.name, namespace=NAMESPACE),
                    spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": one.name})),
                )
            )
    return objects


def scaled_objects() -> list[ScaledObject]:
    """Returns the ScaledObjects of users, which ask Wattkeeper's scaler."""
    rules = {"stabilizationWindowSeconds": 0, "tolerance": "0", "policies": _AT_ONCE}
    return [
        ScaledObject(
            metadata=ObjectMeta(name=one.name, namespace=NAMESPACE),
            spec=ScaledObjectSpec(
                scale_target_ref=ScaledObjectTarget(name=one.name),
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
                advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": rules, "scaleDown": rules}}},
            ),
        )
        for one in SERVICES
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
    resources = {"nvidia.com/gpu": str(GPUS_PER_NODE), "cpu": "192"}
    name = f"{rack}-{number}"
    labels = {"rack": rack, "row": "1", ZONE: rack, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    return Node(
        metadata=ObjectMeta(name=name, labels={**labels, "kubernetes.io/hostname": name}),
        status=NodeStatus(capacity=resources, allocatable=resources),
    )


def _policy(one: SceneService) -> PowerCappingPolicy:
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=one.name, namespace=NAMESPACE),
        spec=PowerCappingPolicySpec(
            selector=LabelSelector(match_labels={"app": one.name}),
            mode=one.mode,
            priority=one.priority,
            min_replicas=one.floor,
            max_replicas=one.ceiling,
            demand=Demand(metric="Requests", target_per_replica=one.target_per_replica, stabilization_seconds=60),
            watts_per_replica=round(one.model.saturated_watts() - 75.0 * one.model.gpus),
            rollout="Replace" if one.replaces else "Surge",
            violation=ViolationRules(duration_seconds=20),
            disruption=Disruption(max_per_hour=DISRUPTIONS_PER_HOUR),
        ),
    )


def _workload(one: SceneService) -> list[Watched]:
    labels = {"app": one.name}
    gpus: dict[str, str | int] = {"nvidia.com/gpu": one.model.gpus}
    owners: tuple[OwnerReference, ...] = ()
    made: list[Watched] = []
    if one.scaled == "actuator":
        service = one.name.removesuffix("-predictor")
        meta = KServeMeta(
            name=service, namespace=NAMESPACE, uid="0ca1-search", annotations={AUTOSCALER_ANNOTATION: "external"}
        )
        made.append(InferenceService(metadata=meta, spec=InferenceServiceSpec(predictor=Component())))
        owners = (
            OwnerReference(
                kind="InferenceService",
                name=service,
                uid=meta.uid,
                api_version="serving.kserve.io/v1beta1",
                controller=True,
            ),
        )
    made.append(
        Deployment(
            metadata=ObjectMeta(name=one.name, namespace=NAMESPACE, labels=labels, owner_references=owners),
            spec=DeploymentSpec(
                replicas=one.first_replicas,
                selector=LabelSelector(match_labels=labels),
                template=PodTemplate(
                    metadata=ObjectMeta(labels={**labels, CAPPED_LABEL: "true"}),
                    spec=PodSpec(
                        node_selector={"rack": one.rack} if one.rack else {},
                        containers=(Container(name="server", resources=Resources(requests=gpus, limits=gpus)),),
                    ),
                ),
            ),
        )
    )
    return made
