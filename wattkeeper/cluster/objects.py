"""Watched objects, slim: only the fields that are read, so that 10,000 pods fit in 100 MB.

Field names are Kubernetes', KEDA's and LeaderWorkerSet's own (msgspec ignores every other field of a payload).
"""

from __future__ import annotations

from typing import Any

import msgspec

from wattkeeper.api.meta import LabelSelector, ObjectMeta, Wire


class Slim(Wire, frozen=True, kw_only=True, gc=False):
    """A struct that the garbage collector need not look at: a decoded object is a tree and never part of a cycle.

    That halves the cost of a watch event and takes 16 bytes off every struct.
    """


class NodeStatus(Slim, frozen=True, kw_only=True):
    """capacity and allocatable, as Kubernetes quantities."""

    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}


class Namespace(Slim, frozen=True, kw_only=True):
    """A namespace: its labels say whether an admin let the pods in it be changed and gated."""

    metadata: ObjectMeta


class Node(Slim, frozen=True, kw_only=True):
    """A node."""

    metadata: ObjectMeta
    status: NodeStatus = NodeStatus()


class Resources(Slim, frozen=True, kw_only=True):
    """Requests and limits of a container."""

    requests: dict[str, str | int] = {}
    limits: dict[str, str | int] = {}


class Container(Slim, frozen=True, kw_only=True):
    """A container of a pod or pod template."""

    name: str = ""
    resources: Resources = Resources()


class NodeSelectorRequirement(Slim, frozen=True, kw_only=True):
    """One requirement of a node affinity term (operators In, NotIn, Exists, DoesNotExist, Gt, Lt)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Slim, frozen=True, kw_only=True):
    """Requirements that must all hold; the terms of a selector are alternatives."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class RequiredNodeAffinity(Slim, frozen=True, kw_only=True):
    """requiredDuringSchedulingIgnoredDuringExecution."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(Slim, frozen=True, kw_only=True):
    """Only what is required: preferences keep no watts away."""

    required_during_scheduling_ignored_during_execution: RequiredNodeAffinity | None = None


class Affinity(Slim, frozen=True, kw_only=True):
    """A pod's affinity."""

    node_affinity: NodeAffinity | None = None


class SchedulingGate(Slim, frozen=True, kw_only=True):
    """What keeps the scheduler from looking at a pod."""

    name: str


class PodSpec(Slim, frozen=True, kw_only=True):
    """What decides where a pod lands, when, and what it may draw."""

    node_name: str = ""
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    containers: tuple[Container, ...] = ()


class PodCondition(Slim, frozen=True, kw_only=True):
    """A pod's condition."""

    type: str
    status: str
    last_transition_time: str | None = None


class PodStatus(Slim, frozen=True, kw_only=True):
    """Phase and conditions."""

    phase: str = "Pending"
    start_time: str | None = None
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Slim, frozen=True, kw_only=True):
    """A pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplate(Slim, frozen=True, kw_only=True):
    """A pod template."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class RollingUpdate(Slim, frozen=True, kw_only=True):
    """How many replicas a rollout may take away before new ones are ready: a number or a percentage, None unsaid."""

    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class DeploymentStrategy(Slim, frozen=True, kw_only=True):
    """RollingUpdate or Recreate."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Slim, frozen=True, kw_only=True):
    """A Deployment's spec. Kubernetes reads absent replicas as 1."""

    replicas: int = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class WorkloadStatus(Slim, frozen=True, kw_only=True):
    """Replicas as the workload's controller counts them; `replicas` is what the HPA divides by.

    The controller has seen `observed_generation` of the spec, 0 where it does not say.
    """

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0


class Deployment(Slim, frozen=True, kw_only=True):
    """A Deployment."""

    metadata: ObjectMeta
    spec: DeploymentSpec = DeploymentSpec()
    status: WorkloadStatus = WorkloadStatus()


class LeaderWorkerTemplate(Slim, frozen=True, kw_only=True):
    """A group: a leader and size - 1 workers."""

    size: int = 1
    leader_template: PodTemplate | None = None
    worker_template: PodTemplate = PodTemplate()


class RolloutStrategy(Slim, frozen=True, kw_only=True):
    """How a LeaderWorkerSet rolls: by groups."""

    rolling_update_configuration: RollingUpdate | None = None


class LeaderWorkerSetSpec(Slim, frozen=True, kw_only=True):
    """A LeaderWorkerSet's spec."""

    replicas: int = 1
    rollout_strategy: RolloutStrategy = RolloutStrategy()
    leader_worker_template: LeaderWorkerTemplate = LeaderWorkerTemplate()


class LeaderWorkerSet(Slim, frozen=True, kw_only=True):
    """A LeaderWorkerSet: one replica is a group of pods (label leaderworkerset.sigs.k8s.io/name)."""

    metadata: ObjectMeta
    spec: LeaderWorkerSetSpec = LeaderWorkerSetSpec()
    status: WorkloadStatus = WorkloadStatus()


class ScaledObjectTarget(Slim, frozen=True, kw_only=True):
    """What a ScaledObject scales; KEDA reads an absent kind as Deployment."""

    name: str = ""
    kind: str = "Deployment"
    api_version: str = ""


class AuthenticationReference(Slim, frozen=True, kw_only=True):
    """Where a trigger finds its credentials."""

    name: str
    kind: str = "TriggerAuthentication"


class Trigger(Slim, frozen=True, kw_only=True):
    """A trigger. Its metadata is a map of strings by KEDA's contract."""

    type: str = ""
    name: str = ""
    metadata: dict[str, str] = {}
    metric_type: str = ""
    authentication_ref: AuthenticationReference | None = None


class ScaledObjectSpec(Slim, frozen=True, kw_only=True):
    """What Wattkeeper checks of a ScaledObject, or writes; `advanced` and `fallback` are read by key."""

    scale_target_ref: ScaledObjectTarget = ScaledObjectTarget()
    polling_interval: int = 30
    cooldown_period: int = 300
    min_replica_count: int = 0
    max_replica_count: int = 100
    triggers: tuple[Trigger, ...] = ()
    advanced: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    fallback: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ScaledObjectCondition(Slim, frozen=True, kw_only=True):
    """What KEDA says about a ScaledObject, such as Ready and HPAActive."""

    type: str = ""
    status: str = ""
    reason: str = ""


class ScaledObjectStatus(Slim, frozen=True, kw_only=True):
    """KEDA's conditions."""

    conditions: tuple[ScaledObjectCondition, ...] = ()


class ScaledObject(Slim, frozen=True, kw_only=True):
    """KEDA's ScaledObject."""

    metadata: ObjectMeta
    spec: ScaledObjectSpec = ScaledObjectSpec()
    status: ScaledObjectStatus = ScaledObjectStatus()


class CrossVersionTarget(Slim, frozen=True, kw_only=True):
    """What an HPA scales."""

    kind: str
    name: str
    api_version: str = ""


class MetricTarget(Slim, frozen=True, kw_only=True):
    """How an HPA compares a metric: Utilization (a share of the request), Value or AverageValue."""

    type: str = ""


class ResourceMetric(Slim, frozen=True, kw_only=True):
    """A resource that an HPA scales on; `container` is empty where it adds up the whole pod."""

    name: str = ""
    container: str = ""
    target: MetricTarget = MetricTarget()


class Metric(Slim, frozen=True, kw_only=True):
    """One metric of an HPA. Only those of types Resource and ContainerResource have a resource."""

    type: str = ""
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None


class HorizontalPodAutoscalerSpec(Slim, frozen=True, kw_only=True):
    """What an HPA scales, within which bounds, and on what. Kubernetes reads absent minReplicas as 1."""

    scale_target_ref: CrossVersionTarget
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: tuple[Metric, ...] = ()


class HorizontalPodAutoscaler(Slim, frozen=True, kw_only=True):
    """An HPA (autoscaling/v2). Requests that it divides usage by must not be changed under it."""

    metadata: ObjectMeta
    spec: HorizontalPodAutoscalerSpec


class PodDisruptionBudgetSpec(Slim, frozen=True, kw_only=True):
    """Which pods it protects: none without a selector, all of the namespace with an empty one."""

    selector: LabelSelector | None = None


class PodDisruptionBudgetStatus(Slim, frozen=True, kw_only=True):
    """How many pods may be evicted now, as its controller says for the generation that it has seen."""

    disruptions_allowed: int = 0
    observed_generation: int = 0


class PodDisruptionBudget(Slim, frozen=True, kw_only=True):
    """How many pods its owner can do without. The Eviction API keeps to it, a ReplicaSet does not."""

    metadata: ObjectMeta
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class LimitRangeItem(Slim, frozen=True, kw_only=True):
    """Bounds and defaults for each object of a type: Container, Pod or PersistentVolumeClaim."""

    type: str = ""
    min: dict[str, str | int] = {}
    max: dict[str, str | int] = {}
    default: dict[str, str | int] = {}
    default_request: dict[str, str | int] = {}
    max_limit_request_ratio: dict[str, str | int] = {}


class LimitRangeSpec(Slim, frozen=True, kw_only=True):
    """A LimitRange's entries; all of them hold."""

    limits: tuple[LimitRangeItem, ...] = ()


class LimitRange(Slim, frozen=True, kw_only=True):
    """What single pods and containers of a namespace may request."""

    metadata: ObjectMeta
    spec: LimitRangeSpec = LimitRangeSpec()


class ScopeRequirement(Slim, frozen=True, kw_only=True):
    """Which pods a quota counts: scopes such as PriorityClass, operators as in node affinity."""

    scope_name: str
    operator: str
    values: tuple[str, ...] = ()


class ScopeSelector(Slim, frozen=True, kw_only=True):
    """Requirements that must all hold."""

    match_expressions: tuple[ScopeRequirement, ...] = ()


class ResourceQuotaSpec(Slim, frozen=True, kw_only=True):
    """What all objects of a namespace (or those in scope) may request together."""

    hard: dict[str, str | int] = {}
    scopes: tuple[str, ...] = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(Slim, frozen=True, kw_only=True):
    """What is enforced, and what of it is taken."""

    hard: dict[str, str | int] = {}
    used: dict[str, str | int] = {}


class ResourceQuota(Slim, frozen=True, kw_only=True):
    """What a namespace may request as a whole."""

    metadata: ObjectMeta
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()
