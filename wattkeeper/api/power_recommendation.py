"""PowerRecommendation: what one service gets, written by the leader (namespaced, named `<kind>-<name>`)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wattkeeper.api.meta import Condition, ObjectMeta, ScaleTargetRef, Wire

Reason = Literal[
    "DemandMet",  # The budget carries what the traffic asks for.
    "BudgetBinds",  # A budget holds the service below its demand; the message names it.
    "FloorHeld",  # The budget asks for less than the policy's floor.
    "ReadingsStale",  # Held, because readings are too old to raise it.
    "DemandUnknown",  # Held, because nothing says what the traffic asks for.
    "WarmingUp",  # Held, because caches or history are not warm yet.
    "Uncapped",  # No budget covers a node that the service can run on.
]


class Amount(Wire, frozen=True, kw_only=True):
    """A number of replicas, and what they may draw at their upper bound in watts (rounded)."""

    replicas: Annotated[int, Meta(description="Replicas.")]
    watts: Annotated[float, Meta(description="What they may draw at their upper bound.")] = 0.0


class WaitingPod(Wire, frozen=True, kw_only=True):
    """A pod that waits at the power gate."""

    name: Annotated[str, Meta(description="The pod's name.")]
    since: Annotated[str, Meta(description="When it was created.")]
    budget: Annotated[str, Meta(description="The budget that binds; absent while the grant itself is lower.")] = ""
    missing_watts: Annotated[float, Meta(description="What that budget lacks, in watts.")] = 0.0


class PowerRecommendationSpec(Wire, frozen=True, kw_only=True):
    """Which service this is about."""

    scale_target_ref: ScaleTargetRef
    policy: Annotated[str, Meta(max_length=253, description="The policy that selects it.")] = ""


class PowerRecommendationStatus(Wire, frozen=True, kw_only=True):
    """The recommendation. In modes Off and Initial it is what would have been answered."""

    mode: Annotated[str, Meta(description="The policy's mode when this was written.")] = ""
    target: Annotated[Amount, Meta(description="What the service gets.")] = Amount(replicas=0)
    lower_bound: Annotated[Amount, Meta(description="The policy's floor.")] = Amount(replicas=0)
    upper_bound: Annotated[Amount, Meta(description="The policy's ceiling.")] = Amount(replicas=0)
    uncapped_target: (
        Annotated[Amount, Meta(description="What the traffic asks for. Absent while that is unknown.")] | None
    ) = None
    reason: Annotated[str, Meta(description="Why the target is what it is, in one word.")] = ""
    message: Annotated[str, Meta(description="Why, for people.")] = ""
    binding_budget: Annotated[str, Meta(description="The budget that holds the service below its demand.")] = ""
    replica_watts: Annotated[float, Meta(description="What one replica may draw, at its upper bound.")] = 0.0
    waiting_pods: Annotated[
        tuple[WaitingPod, ...], Meta(description="Pods at the power gate, the longest waiting first; at most ten.")
    ] = ()
    slipped_pods: Annotated[
        int, Meta(description="Pods that started without passing the admission plugin. Their watts are charged.")
    ] = 0
    conditions: tuple[Condition, ...] = ()


class PowerRecommendation(Wire, frozen=True, kw_only=True):
    """What one service gets."""

    metadata: ObjectMeta
    spec: PowerRecommendationSpec
    status: PowerRecommendationStatus = PowerRecommendationStatus()


def recommendation_name(kind: str, name: str) -> str:
    """Returns the name of the recommendation for a scale target.

    >>> recommendation_name("Deployment", "chat-predictor")
    'deployment-chat-predictor'
    """
    return f"{kind.lower()}-{name}"
