"""A view that holds what a test puts into it, and small objects to put there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar, cast

import msgspec
import numpy as np

from wattkeeper.api.admission import (
    ADMISSION_ANNOTATION,
    ADMISSION_ENABLED,
    ADMISSION_LABEL,
    CAPPED_LABEL,
    POWER_GATE,
)
from wattkeeper.api.meta import LabelSelector, ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import NamespacePriority, PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import Demand, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.readings import Column, Measurements, PodKey, ServiceKey
from wattkeeper.cluster.interface import ChangeHandler, Watched
from wattkeeper.cluster.objects import (
    Container,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    Namespace,
    Node,
    NodeStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplate,
    Resources,
    RollingUpdate,
    RolloutStrategy,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    SchedulingGate,
    Trigger,
)

T = TypeVar("T", bound=Watched)
T2 = TypeVar("T2")


class FrozenView:
    """Implements wattkeeper.cluster.interface.View over dicts."""

    def __init__(self, *objects: Watched) -> None:
        self._stores: dict[type[Watched], dict[str, Watched]] = defaultdict(dict)
        self._handlers: dict[type[Watched], list[ChangeHandler[Watched]]] = defaultdict(list)
        self.is_synced = True
        for one in objects:
            self.put(one)

    def put(self, new: Watched) -> None:
        store = self._stores[type(new)]
        uid = new.metadata.uid or f"{new.metadata.namespace}/{new.metadata.name}"
        if not new.metadata.uid:
            new = msgspec.structs.replace(new, metadata=msgspec.structs.replace(new.metadata, uid=uid))
        old = store.get(uid)
        store[uid] = new
        for handler in self._handlers[type(new)]:
            handler(old, new)

    def drop(self, kind: type[Watched], namespace: str, name: str) -> None:
        gone = self.get(kind, namespace, name)
        assert gone is not None
        del self._stores[kind][gone.metadata.uid]
        for handler in self._handlers[kind]:
            handler(gone, None)

    def all(self, kind: type[T]) -> Mapping[str, T]:
        return cast("Mapping[str, T]", self._stores[kind])

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        for one in self.all(kind).values():
            if (one.metadata.namespace, one.metadata.name) == (namespace, name):
                return one
        return None

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        self._handlers[kind].append(cast("ChangeHandler[Watched]", handler))
        for one in list(self.all(kind).values()):
            handler(None, one)

    def synced(self) -> bool:
        return self.is_synced

    def staleness_seconds(self, now: float) -> float:
        return 0.0


def node(name: str, *, gpus: int = 8, **labels: str) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", **labels}),
        status=NodeStatus(capacity={"nvidia.com/gpu": str(gpus), "cpu": "96"}),
    )


def budget(
    name: str, watts: float, *, labels: dict[str, str] | None = None, max_priority: dict[str, int] | None = None
) -> PowerBudget:
    limits = tuple(NamespacePriority(namespace=space, max_priority=top) for space, top in (max_priority or {}).items())
    spec = PowerBudgetSpec(
        limit_watts=watts, node_selector=LabelSelector(match_labels=labels or {}), namespace_priorities=limits
    )
    return PowerBudget(metadata=ObjectMeta(name=name), spec=spec)


def policy(
    name: str,
    *,
    mode: str = "Scale",
    priority: int = 0,
    floor: int = 0,
    ceiling: int = 100,
    per_replica: float = 10.0,
    stabilization_seconds: int = 0,
    query: str = "",
    selects: dict[str, str] | None = None,
) -> PowerCappingPolicy:
    demand = Demand(
        metric="PromQL" if query else "Requests",
        target_per_replica=per_replica,
        query=query,
        stabilization_seconds=stabilization_seconds,
    )
    spec = PowerCappingPolicySpec(
        selector=LabelSelector(match_labels=selects if selects is not None else {"policy": name}),
        mode=mode,  # pyright: ignore[reportArgumentType] - tests name modes as users do.
        priority=priority,
        min_replicas=floor,
        max_replicas=ceiling,
        demand=demand,
    )
    return PowerCappingPolicy(metadata=ObjectMeta(name=name, namespace="llm"), spec=spec)


def namespace(name: str = "llm", *, enabled: bool = True) -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name, labels={ADMISSION_LABEL: ADMISSION_ENABLED} if enabled else {}))


def deployment(
    name: str,
    replicas: int,
    *,
    gpus: int = 1,
    selector: dict[str, str] | None = None,
    capped: bool = False,
    strategy: DeploymentStrategy | None = None,
) -> Deployment:
    containers = (Container(name="server", resources=Resources(limits={"nvidia.com/gpu": str(gpus)})),)
    template = PodTemplate(
        metadata=ObjectMeta(labels={CAPPED_LABEL: "true"} if capped else {}),
        spec=PodSpec(node_selector=selector or {}, containers=containers),
    )
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="llm", labels={"policy": name}),
        spec=DeploymentSpec(replicas=replicas, template=template, strategy=strategy or DeploymentStrategy()),
    )


def lws(name: str, replicas: int, *, size: int = 2, max_unavailable: int | str | None = None) -> LeaderWorkerSet:
    containers = (Container(name="server", resources=Resources(limits={"nvidia.com/gpu": "1"})),)
    template = PodTemplate(metadata=ObjectMeta(labels={CAPPED_LABEL: "true"}), spec=PodSpec(containers=containers))
    rolling = RolloutStrategy(rolling_update_configuration=RollingUpdate(max_unavailable=max_unavailable))
    return LeaderWorkerSet(
        metadata=ObjectMeta(name=name, namespace="llm", labels={"policy": name}),
        spec=LeaderWorkerSetSpec(
            replicas=replicas,
            rollout_strategy=rolling,
            leader_worker_template=LeaderWorkerTemplate(size=size, worker_template=template),
        ),
    )


def pod(
    service: str,
    number: int,
    *,
    on: str = "",
    ready: bool = True,
    deleted: str = "",
    gpus: int = 1,
    phase: str = "Running",
    template: str = "abc",
    gated: bool = False,
    admitted: bool = False,
    selector: dict[str, str] | None = None,
) -> Pod:
    name = f"{service}-{template}-{number}"
    owners = (OwnerReference(kind="ReplicaSet", name=f"{service}-{template}", uid="rs"),)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="llm",
            uid=name,
            labels={"pod-template-hash": template},
            annotations={ADMISSION_ANNOTATION: "gated"} if gated or admitted else {},
            owner_references=owners,
            deletion_timestamp=deleted,
        ),
        spec=PodSpec(
            node_name=on,
            node_selector=selector or {},
            scheduling_gates=(SchedulingGate(name=POWER_GATE),) if gated else (),
            containers=(Container(name="server", resources=Resources(limits={"nvidia.com/gpu": str(gpus)})),),
        ),
        status=PodStatus(
            phase=phase,
            conditions=(
                PodCondition(
                    type="Ready", status="True" if ready else "False", last_transition_time="2026-01-01T00:00:00Z"
                ),
            ),
        ),
    )


def scaled_object(name: str, target: str, **metadata: str) -> ScaledObject:
    trigger = Trigger(type="external", metadata={"scalerAddress": "wattkeeper:9090", **metadata})
    spec = ScaledObjectSpec(scale_target_ref=ScaledObjectTarget(name=target), triggers=(trigger,))
    return ScaledObject(metadata=ObjectMeta(name=name, namespace="llm"), spec=spec)


def column(values: dict[T2, float], at: float) -> Column[T2]:
    return Column(
        keys=tuple(values),
        values=np.array(list(values.values()), dtype=np.float64),
        timestamps=np.full(len(values), at),
    )


def measured(
    at: float,
    *,
    node_cpu: dict[str, float] | None = None,
    node_gpu: dict[str, float] | None = None,
    pod_cpu: dict[PodKey, float] | None = None,
    pod_gpu: dict[PodKey, float] | None = None,
    requests: dict[PodKey, float] | None = None,
    queried: dict[ServiceKey, float] | None = None,
    interval_seconds: float = 5.0,
) -> Measurements:
    return Measurements(
        node_cpu_watts=column(node_cpu or {}, at),
        node_cpu_idle_watts=column({}, at),
        node_gpu_watts=column(node_gpu or {}, at),
        node_gpu_idle_watts=column({}, at),
        node_gpu_limit_watts=column({}, at),
        node_platform_watts=column({}, at),
        pod_cpu_watts=column(pod_cpu or {}, at),
        pod_gpu_watts=column(pod_gpu or {}, at),
        pod_requests=column(requests or {}, at),
        pod_tokens_per_second=column({}, at),
        service_demand=column(queried or {}, at),
        meter_watts=column({}, at),
        interval_seconds=interval_seconds,
        demand_interval_seconds=interval_seconds,
    )
