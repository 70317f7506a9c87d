"""PowerBudget: watts for a domain of nodes (cluster-scoped)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, Wire

Meter = Literal["wall", "node", "gpu"]
METERS: tuple[Meter, ...] = ("wall", "node", "gpu")


class NamespacePriority(Wire, frozen=True, kw_only=True):
    """The highest priority that policies of a namespace may use under this budget."""

    namespace: Annotated[
        str, Meta(min_length=1, max_length=63, description="A namespace, or * for every namespace not named.")
    ]
    max_priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000, description="Policies that ask for more get this.")]


class ParentRef(Wire, frozen=True, kw_only=True):
    """The budget that people see this one under. Grouping only: each budget is a constraint of its own."""

    name: Annotated[str, Meta(min_length=1, max_length=253, description="The other budget's name.")]


class PowerBudgetSpec(Wire, frozen=True, kw_only=True):
    """What a domain may draw, and which nodes it is."""

    limit_watts: Annotated[float, Meta(ge=0, le=1e10, description="Watts that the domain may draw.")]
    node_selector: Annotated[LabelSelector, Meta(description="Nodes of the domain. Empty selects every node.")] = (
        LabelSelector()
    )
    meter: Annotated[
        Meter,
        Meta(
            description="Where the watts are counted: wall (with supply losses and fans), node (CPU and GPU as Kepler "
            "sees them) or gpu (GPUs alone)."
        ),
    ] = "node"
    meter_query: Annotated[
        str,
        Meta(
            max_length=4096,
            description="PromQL that yields one sample, the domain's measured watts. Without it the readings of the "
            "domain's nodes are summed.",
        ),
    ] = ""
    reserved_watts: Annotated[
        float, Meta(ge=0, le=1e10, description="Watts kept free for what Wattkeeper cannot see.")
    ] = 0.0
    shed_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Seconds within which the guarded sum must be inside after a cut, else CapUnachievable.",
        ),
    ] = 300
    parent_ref: ParentRef | None = None
    oversubscribed: Annotated[
        bool, Meta(description="Budgets that name this one as their parent may add up to more than it has.")
    ] = False
    namespace_priorities: Annotated[
        tuple[NamespacePriority, ...],
        Meta(
            max_length=256, description="The highest priority per namespace. A namespace that no entry names is free."
        ),
    ] = ()


class ViolatingPod(Wire, frozen=True, kw_only=True):
    """A pod that has to go, or draws more than it was granted, while its domain is over budget."""

    namespace: Annotated[str, Meta(description="The pod's namespace.")]
    name: Annotated[str, Meta(description="The pod's name.")]
    watts: Annotated[float, Meta(description="What it may draw, at its upper bound.")]


class PowerBudgetStatus(Wire, frozen=True, kw_only=True):
    """What the leader last computed for the domain. Watts are rounded to whole watts."""

    limit_watts: Annotated[float, Meta(description="The limit that these figures were computed for.")] = 0.0
    guarded_watts: Annotated[
        float, Meta(description="The guarded sum: everything in the domain at its upper bound.")
    ] = 0.0
    expected_watts: Annotated[float, Meta(description="The same at expected watts; for display.")] = 0.0
    meter_watts: (
        Annotated[float, Meta(description="What the meter says. Absent while it says nothing fresh.")] | None
    ) = None
    residual_watts: Annotated[float, Meta(description="What the meter shows beyond the model, learned slowly.")] = 0.0
    headroom_watts: Annotated[float, Meta(description="The limit less the guarded sum; 0 when over.")] = 0.0
    over_watts: Annotated[float, Meta(description="The guarded sum less the limit; 0 when inside.")] = 0.0
    nodes: Annotated[int, Meta(description="How many nodes the selector finds.")] = 0
    readings: Annotated[str, Meta(description="How fresh the readings are: Fresh, Frozen, Tightened or Absent.")] = ""
    last_evaluated: Annotated[
        str, Meta(description="When the leader last computed this. An old one counts as stale readings.")
    ] = ""
    violating_pods: Annotated[
        tuple[ViolatingPod, ...], Meta(description="Pods to look at first while the domain is over budget.")
    ] = ()
    conditions: tuple[Condition, ...] = ()


class PowerBudget(Wire, frozen=True, kw_only=True):
    """Watts for a domain of nodes."""

    metadata: ObjectMeta
    spec: PowerBudgetSpec
    status: PowerBudgetStatus = PowerBudgetStatus()
