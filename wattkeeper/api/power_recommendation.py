"""PowerRecommendation: what one service gets, written by the leader (namespaced, named `<kind>-<name>`).

The actuator writes what it does about it into the same status: `actuation`, and conditions of its own.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta
from msgspec.structs import replace

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


ACTUATOR_CONDITIONS: Final = (
    "Actuated",
    "Reverted",
    "PolicyUnknown",
    "Braked",
    "LaterCutsHeld",
    "KillBlocked",
    "ReplaceBlocked",
    "MigrationRefused",
)
"""Conditions that the actuator writes; all others are the leader's."""


class Amount(Wire, frozen=True, kw_only=True):
    """A number of replicas, and what they may draw at their upper bound in watts (rounded)."""

    replicas: Annotated[int, Meta(description="Replicas.")]
    watts: Annotated[float, Meta(description="What they may draw at their upper bound.")] = 0.0


class WaitingPod(Wire, frozen=True, kw_only=True):
    """A pod that waits at the power gate."""

    name: Annotated[str, Meta(description="The pod's name.")]
    since: Annotated[str, Meta(description="When it was created.")]
    budget: Annotated[str, Meta(description="The budget that binds; absent for pods beyond the demand.")] = ""
    missing_watts: Annotated[float, Meta(description="What that budget lacks, in watts.")] = 0.0


ViolationType = Literal["Budget", "Replicas", "Slipped", "Performance"]


class ViolatingPod(Wire, frozen=True, kw_only=True):
    """A pod that has to go."""

    name: Annotated[str, Meta(description="The pod's name.")]
    uid: Annotated[str, Meta(description="The pod's UID: a namesake is another pod.")]
    watts: Annotated[float, Meta(description="What it may draw, at its upper bound (rounded).")] = 0.0


class Violation(Wire, frozen=True, kw_only=True):
    """What is not as it should be, and the pods that have to go for it."""

    type: Annotated[
        ViolationType,
        Meta(
            description="Budget: a budget is over its limit. Replicas: more run than are granted. Slipped: pods run "
            "that nobody granted watts. Performance: tokens per joule are below the policy's target."
        ),
    ]
    since: Annotated[str, Meta(description="Since when.")]
    budget: Annotated[str, Meta(description="The budget that is over its limit, with type Budget.")] = ""
    watts: Annotated[float, Meta(description="By how much, in watts (rounded).")] = 0.0
    pods: Annotated[
        tuple[ViolatingPod, ...],
        Meta(description="The pods that have to go, the first one first; at most ten, and no more than suffice."),
    ] = ()


class MovablePod(Wire, frozen=True, kw_only=True):
    """A pod that could move to nodes with headroom, because a budget that it draws from is nearly used up."""

    name: Annotated[str, Meta(description="The pod's name.")]
    uid: Annotated[str, Meta(description="The pod's UID: a namesake is another pod.")]
    budget: Annotated[str, Meta(description="The budget that is nearly used up.")]
    watts: Annotated[float, Meta(description="What the pod may draw, at its upper bound (rounded).")] = 0.0


class ActuatedField(Wire, frozen=True, kw_only=True):
    """A field of a KServe object that the actuator holds at a value of its own."""

    field: Annotated[str, Meta(description="The field, such as spec.predictor.maxReplicas.")]
    original: (
        Annotated[int, Meta(description="What it was, and becomes again. Absent where the field was not set.")] | None
    ) = None
    written: Annotated[int, Meta(description="What the actuator writes.")]
    earlier: Annotated[
        tuple[int, ...],
        Meta(
            description="What it wrote before that, and what may be there for as long as the change is not seen: each "
            "is noted here before it is made."
        ),
    ] = ()

    def is_ours(self, value: int | None) -> bool:
        """Says whether a value of the field is one that the actuator has written, or may have."""
        return value is not None and (value == self.written or value in self.earlier)

    def rewritten(self, value: int, seen: int | None) -> ActuatedField:
        """Returns the note of another value, from what the field is seen to be now.

        What was to be written before stays noted unless it is in place: a view may be late, and a request that nobody
        answered may still have been heard.
        """
        if value == self.written:
            return self
        known = () if seen == self.written else self.earlier
        return replace(self, written=value, earlier=tuple(dict.fromkeys((*known, self.written))))


BrakeReason = Literal["ScalerUnreachable", "Overshoot"]
"""Why the brake is on: KEDA cannot ask the scaler; a budget is over by more than the policy lets KEDA wait for."""
BRAKE_REASONS: Final[tuple[BrakeReason, ...]] = get_args(BrakeReason)


class Brake(Wire, frozen=True, kw_only=True):
    """What the actuator holds down by itself: nobody else can, or not soon enough."""

    kind: Annotated[str, Meta(description="HorizontalPodAutoscaler or ScaledObject.")]
    name: Annotated[str, Meta(description="The name of the object that is changed.")]
    uid: Annotated[str, Meta(description="The UID of the object that is changed.")]
    fields: Annotated[tuple[ActuatedField, ...], Meta(description="What is changed in it.")]
    since: Annotated[str, Meta(description="Since when the brake is on.")]
    reason: Annotated[
        BrakeReason,
        Meta(
            description="ScalerUnreachable: KEDA cannot ask the scaler. Overshoot: a budget is over its limit by more "
            "than the policy's actuation.brakeAboveRatio."
        ),
    ] = "ScalerUnreachable"
    budget: Annotated[str, Meta(description="The budget that is over its limit, with reason Overshoot.")] = ""


class PodCost(Wire, frozen=True, kw_only=True):
    """A deletion cost that the actuator has set, so that a pod goes before others when replicas fall."""

    name: Annotated[str, Meta(description="The pod's name.")]
    uid: Annotated[str, Meta(description="The pod's UID.")]
    original: (
        Annotated[int, Meta(description="What it was, and becomes again. Absent where the pod had none.")] | None
    ) = None
    written: Annotated[int, Meta(description="What the actuator writes.")]
    since: Annotated[str, Meta(description="Since when the pod shall go first.")]


class PodEviction(Wire, frozen=True, kw_only=True):
    """An eviction: noted before it is asked for."""

    name: Annotated[str, Meta(description="The pod's name.")]
    uid: Annotated[str, Meta(description="The pod's UID.")]
    reason: Annotated[str, Meta(description="The type of the violation that it goes for, or Rollout.")]
    budget: Annotated[str, Meta(description="The budget that it goes for, with type Budget.")] = ""
    amount: Annotated[
        float, Meta(description="How much the violation was before: watts with type Budget, else pods.")
    ] = 0.0
    watts: Annotated[float, Meta(description="What the pod might draw.")] = 0.0
    at: Annotated[str, Meta(description="When it was noted.")]


class Kill(Wire, frozen=True, kw_only=True):
    """Which pods the actuator makes go."""

    costs: Annotated[tuple[PodCost, ...], Meta(description="Pods that go first when replicas fall.")] = ()
    evicted: Annotated[PodEviction, Meta(description="The last eviction, until its effect is known.")] | None = None
    without_effect: Annotated[
        int, Meta(description="How many evictions in a row did not lessen the violation that they were for.")
    ] = 0
    outdated: Annotated[
        tuple[str, ...], Meta(description="Hashes of the templates whose pods go, in a rollout that replaces.")
    ] = ()
    reverts: Annotated[int, Meta(description="How often in a row somebody put deletion costs back.")] = 0
    reverted_at: Annotated[str, Meta(description="When that last happened.")] = ""


class Actuation(Wire, frozen=True, kw_only=True):
    """What the actuator has changed for this service, and what there was before. It is put back in the end."""

    autoscaler: Annotated[
        str,
        Meta(description='Who scales the service: external, keda, hpa or none, as KServe says, or "".'),
    ]
    kind: Annotated[str, Meta(description="The kind of the object that is changed.")] = ""
    name: Annotated[str, Meta(description="The name of the object that is changed.")] = ""
    uid: Annotated[str, Meta(description="The UID of the object that is changed.")] = ""
    fields: Annotated[tuple[ActuatedField, ...], Meta(description="What is changed in it.")] = ()
    scaled_object: Annotated[str, Meta(description="The ScaledObject that the actuator has made.")] = ""
    brake: Annotated[Brake, Meta(description="What is held down by the brake, and why.")] | None = None
    kill: Annotated[Kill, Meta(description="Which pods are made to go.")] | None = None
    since: Annotated[str, Meta(description="Since when the actuator acts on the service.")] = ""
    reverts: Annotated[int, Meta(description="How often in a row somebody put a field back.")] = 0
    reverted_at: Annotated[str, Meta(description="When that last happened.")] = ""
    reverted_by: Annotated[str, Meta(description="Who did it, by the names of field managers.")] = ""


class PowerRecommendationSpec(Wire, frozen=True, kw_only=True):
    """Which service this is about."""

    scale_target_ref: ScaleTargetRef
    policy: Annotated[str, Meta(max_length=253, description="The policy that selects it.")] = ""


class PowerRecommendationStatus(Wire, frozen=True, kw_only=True):
    """The recommendation. In modes Off and Initial it is what would have been answered."""

    mode: Annotated[str, Meta(description="The policy's mode when this was written.")] = ""
    target: Annotated[Amount, Meta(description="What the service gets.")] = Amount(replicas=0)
    migrating_replicas: (
        Annotated[
            int, Meta(description="How many of the target's replicas it has only while a pod moves. Absent for none.")
        ]
        | None
    ) = None
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
    violations: Annotated[
        tuple[Violation, ...], Meta(description="What is not as it should be, and which pods have to go for it.")
    ] = ()
    movable_pods: Annotated[
        tuple[MovablePod, ...],
        Meta(description="Pods that could move away from a budget that is nearly used up, the best first."),
    ] = ()
    actuation: Annotated[Actuation, Meta(description="Written by the actuator alone.")] | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def granted_replicas(self) -> int:
        """Says what the service gets but for pods that move."""
        return self.target.replicas - (self.migrating_replicas or 0)


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
