"""PowerRecommendation: what one service gets, written by the leader (namespaced, named `<kind>-<name>`)."""

from __future__ import annotations

from typing import Literal

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

    replicas: int
    watts: float = 0.0


class PowerRecommendationSpec(Wire, frozen=True, kw_only=True):
    """Which service this is about."""

    scale_target_ref: ScaleTargetRef
    policy: str = ""


class PowerRecommendationStatus(Wire, frozen=True, kw_only=True):
    """The recommendation. In modes Off and Initial it is what would have been answered."""

    mode: str = ""
    target: Amount = Amount(replicas=0)
    lower_bound: Amount = Amount(replicas=0)
    upper_bound: Amount = Amount(replicas=0)
    uncapped_target: Amount | None = None
    reason: str = ""
    message: str = ""
    binding_budget: str = ""
    conditions: tuple[Condition, ...] = ()


class PowerRecommendation(Wire, frozen=True, kw_only=True):
    """What one service gets."""

    metadata: ObjectMeta
    spec: PowerRecommendationSpec
    status: PowerRecommendationStatus = PowerRecommendationStatus()
