"""PowerCappingPolicy: which services are capped, and how (namespaced)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, Wire

Mode = Literal["Off", "Initial", "Scale", "Migrate", "Kill"]
"""A ladder: each mode does what those before it do, and more."""
PASSIVE: Final[tuple[Mode, ...]] = ("Off", "Initial")
"""Modes in which nothing is held back: what would be is said to people."""
ENFORCING: Final[tuple[Mode, ...]] = ("Scale", "Migrate", "Kill")
"""Modes in which new pods wait for watts, and replicas are capped."""

DemandMetric = Literal["Requests", "TokensPerSecond", "PromQL"]


class Demand(Wire, frozen=True, kw_only=True):
    """How many replicas a service's traffic asks for: what is measured over what one replica should carry."""

    metric: Annotated[
        DemandMetric,
        Meta(
            description="Requests: running and waiting as vLLM counts them. TokensPerSecond: generated tokens. "
            "PromQL: the value of query."
        ),
    ] = "Requests"
    target_per_replica: Annotated[
        float, Meta(gt=0, le=1e12, description="How much of the metric one replica should carry.")
    ]
    query: Annotated[
        str, Meta(max_length=4096, description="PromQL that yields one sample; only with metric PromQL.")
    ] = ""
    stabilization_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=3600,
            description="Demand falls only after it was lower for this long (the HPA's scale-down stabilisation, "
            "applied here so that a cap need not wait for it).",
        ),
    ] = 300


ControlledResource = Literal["cpu", "memory"]
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"


class ResourceBound(Wire, frozen=True, kw_only=True):
    """Quantities of CPU and memory; an absent one is no bound."""

    cpu: Annotated[str, Meta(max_length=32, pattern=_QUANTITY, description="CPU, such as 500m or 2.")] | None = None
    memory: Annotated[str, Meta(max_length=32, pattern=_QUANTITY, description="Memory, such as 4Gi.")] | None = None


class ContainerRequests(Wire, frozen=True, kw_only=True):
    """Bounds on what may be set on one container."""

    name: Annotated[
        str, Meta(min_length=1, max_length=63, description="A container, or * for every container not named.")
    ]
    mode: Annotated[
        Literal["Auto", "Off"], Meta(description="Auto: requests follow usage. Off: the container is left alone.")
    ] = "Auto"
    min_allowed: Annotated[ResourceBound, Meta(description="Never less than this.")] = ResourceBound()
    max_allowed: Annotated[ResourceBound, Meta(description="Never more than this.")] = ResourceBound()


class Requests(Wire, frozen=True, kw_only=True):
    """What the admission plugin may set on new pods (every mode but Off)."""

    controlled_resources: Annotated[
        tuple[ControlledResource, ...], Meta(max_length=2, description="Resources that are set; others are left alone.")
    ] = ("cpu", "memory")
    limits: Annotated[
        Literal["Keep", "Scale"],
        Meta(description="Keep: limits stay as they are. Scale: a limit keeps its proportion to the request."),
    ] = "Keep"
    containers: Annotated[tuple[ContainerRequests, ...], Meta(max_length=32, description="Bounds per container.")] = ()


class Gate(Wire, frozen=True, kw_only=True):
    """How new pods wait for watts (enforcing modes)."""

    deadline_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="A pod that waits for longer raises an alert. It goes on waiting.")
    ] = 600


class ActuationRules(Wire, frozen=True, kw_only=True):
    """What the actuator may change of KServe's objects besides their maxReplicas (enforcing modes)."""

    lower_min_replicas: Annotated[
        bool,
        Meta(
            description="A ceiling may lower minReplicas too (and replicas, where KServe scales nothing). Without "
            "it, a ceiling below minReplicas is not kept."
        ),
    ] = False
    raise_min_replicas: Annotated[
        bool,
        Meta(
            description="While a pod moves, minReplicas may be raised to one replica more (and replicas, where KServe "
            "scales nothing), modes Migrate and Kill. Without it, only pods of services that ask Wattkeeper for the "
            "number move."
        ),
    ] = False
    brake_above_ratio: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="While a budget is over its limit by more than this share of it, the actuator pauses "
                "ScaledObjects that ask Wattkeeper at their cap, instead of waiting for KEDA's HPA and its scale-down "
                "stabilisation. Absent: never.",
            ),
        ]
        | None
    ) = None


class Disruption(Wire, frozen=True, kw_only=True):
    """How fast pods of a service may be made to go (modes Migrate and Kill, and rollout Replace)."""

    max_per_hour: Annotated[
        int,
        Meta(ge=0, le=3600, description="So many pods of a service may be evicted or moved in an hour; 0 means none."),
    ] = 12


class ViolationRules(Wire, frozen=True, kw_only=True):
    """When a pod has to go for a budget, for the replicas that are granted, or because it slipped past the gate."""

    tolerance: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="A budget that is over its limit by no more than this share of it is no violation of the "
            "policy's services.",
        ),
    ] = 0.0
    duration_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="For how long it has to last before a pod is ended (mode Kill).")
    ] = 60


class PerformancePower(Wire, frozen=True, kw_only=True):
    """What a pod has to generate with the energy that it draws. Unknown is no violation."""

    tokens_per_joule: Annotated[
        float,
        Meta(
            gt=0,
            le=1e6,
            description="Generated tokens per joule that a pod should reach, without its node's idle draw. Replicas "
            "of several pods are not judged.",
        ),
    ]
    tolerance: Annotated[float, Meta(ge=0, le=0.9, description="Up to this share less is no violation.")] = 0.1
    duration_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="For how long it has to last before the pod is ended (mode Kill).")
    ] = 300
    min_tokens_per_second: Annotated[
        float,
        Meta(ge=0, le=1e9, description="A pod that generates no more than this idles, which is no violation."),
    ] = 1.0


class Alerts(Wire, frozen=True, kw_only=True):
    """Who is told about the policy's services."""

    sinks: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=63)], ...],
        Meta(
            max_length=16,
            description="Names of sinks that the installation knows. Empty: those that it marks as default.",
        ),
    ] = ()


class PowerCappingPolicySpec(Wire, frozen=True, kw_only=True):
    """Which services of the namespace are capped, and how."""

    selector: Annotated[LabelSelector, Meta(description="Labels of the Deployments (or LeaderWorkerSets) to cap.")]
    mode: Annotated[
        Mode,
        Meta(
            description="Off: recommend only. Initial: requests on new pods only. Scale: replica targets are capped. "
            "Migrate: and pods move to nodes with headroom. Kill: and pods that violate are ended."
        ),
    ] = "Off"
    priority: Annotated[
        int, Meta(ge=-1_000_000, le=1_000_000, description="Higher is served first; equals share by demand.")
    ] = 0
    min_replicas: Annotated[int, Meta(ge=0, le=100_000, description="The floor: never capped below it.")] = 0
    max_replicas: Annotated[int, Meta(ge=1, le=100_000, description="The ceiling: never granted above it.")] = 100
    demand: Demand | None = None
    watts_per_replica: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1e7,
                description="What one replica may draw, in watts. Raises the prior until watts are measured.",
            ),
        ]
        | None
    ) = None
    rollout: Annotated[
        Literal["Surge", "Replace"],
        Meta(
            description="How a rollout goes on without watts for one replica more (enforcing modes). Surge: it waits "
            "for them. Replace: an old pod goes first, as far as its PodDisruptionBudget allows, and a new one takes "
            "over its watts."
        ),
    ] = "Surge"
    requests: Requests | None = None
    gate: Gate | None = None
    alerts: Alerts | None = None
    actuation: ActuationRules | None = None
    violation: ViolationRules | None = None
    performance_power: PerformancePower | None = None
    disruption: Disruption | None = None


class PowerCappingPolicyStatus(Wire, frozen=True, kw_only=True):
    """How many services the policy selects, and what is wrong with it."""

    services: Annotated[int, Meta(description="How many services the policy selects.")] = 0
    conditions: tuple[Condition, ...] = ()


class PowerCappingPolicy(Wire, frozen=True, kw_only=True):
    """Which services are capped, and how."""

    metadata: ObjectMeta
    spec: PowerCappingPolicySpec
    status: PowerCappingPolicyStatus = PowerCappingPolicyStatus()
