"""PowerBudget: watts for a domain of nodes (cluster-scoped)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, Wire

Meter = Literal["wall", "node", "gpu"]
METERS: tuple[Meter, ...] = ("wall", "node", "gpu")


class NamespacePriority(Wire, frozen=True, kw_only=True):
    """The highest priority that policies of a namespace may use under this budget."""

    namespace: Annotated[str, Meta(min_length=1, description="A namespace, or * for every namespace not named.")]
    max_priority: Annotated[int, Meta(description="Policies that ask for more get this.")]


class ParentRef(Wire, frozen=True, kw_only=True):
    """The budget that people see this one under. Grouping only: each budget is a constraint of its own."""

    name: Annotated[str, Meta(min_length=1)]


class PowerBudgetSpec(Wire, frozen=True, kw_only=True):
    """What a domain may draw, and which nodes it is."""

    limit_watts: Annotated[float, Meta(ge=0, description="Watts that the domain may draw.")]
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
            description="PromQL that yields one sample, the domain's measured watts. Without it the readings of the "
            "domain's nodes are summed."
        ),
    ] = ""
    reserved_watts: Annotated[float, Meta(ge=0, description="Watts kept free for what Wattkeeper cannot see.")] = 0.0
    shed_seconds: Annotated[
        int,
        Meta(
            ge=1, description="Seconds within which the guarded sum must be inside after a cut, else CapUnachievable."
        ),
    ] = 300
    parent_ref: ParentRef | None = None
    namespace_priorities: tuple[NamespacePriority, ...] = ()


class ViolatingPod(Wire, frozen=True, kw_only=True):
    """A pod that has to go, or draws more than it was granted, while its domain is over budget."""

    namespace: str
    name: str
    watts: float


class PowerBudgetStatus(Wire, frozen=True, kw_only=True):
    """What the leader last computed for the domain. Watts are rounded to whole watts."""

    limit_watts: float = 0.0
    guarded_watts: float = 0.0
    expected_watts: float = 0.0
    meter_watts: float | None = None
    residual_watts: float = 0.0
    headroom_watts: float = 0.0
    over_watts: float = 0.0
    nodes: int = 0
    readings: str = ""
    last_evaluated: str = ""
    violating_pods: tuple[ViolatingPod, ...] = ()
    conditions: tuple[Condition, ...] = ()


class PowerBudget(Wire, frozen=True, kw_only=True):
    """Watts for a domain of nodes."""

    metadata: ObjectMeta
    spec: PowerBudgetSpec
    status: PowerBudgetStatus = PowerBudgetStatus()
