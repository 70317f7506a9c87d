"""PowerMigration: one pod's move to nodes with headroom (namespaced).

The actuator makes it and moves it from phase to phase; the leader of the scaler says whether the watts of old and new
pod together are reserved. Whatever is needed to finish or to roll back stands in the object, but for the bounds of
KServe's services: what the surge raises is noted with all else that is held, in the recommendation.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from wattkeeper.api.meta import Condition, ObjectMeta, ScaleTargetRef, Wire

Phase = Literal[
    "Pending",  # Waits until the watts of one replica more are reserved.
    "Surging",  # They are: the owner is asked for one replica more, and the new pod is awaited.
    "Waiting",  # The new pod is there: until it is ready and gets traffic.
    "Shrinking",  # It does: the old pod is marked to go, and the owner is asked for one replica less.
    "Verifying",  # The old pod is gone: until the watts of its budget fell.
    "RollingBack",  # Something failed: whatever was changed is put back.
    "Succeeded",
    "Failed",
]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
RESERVING: Final[tuple[Phase, ...]] = ("Pending", "Surging", "Waiting")
"""Phases in which watts for one replica more are asked for, or held."""
FINISHED: Final[tuple[Phase, ...]] = ("Succeeded", "Failed")


class PodReference(Wire, frozen=True, kw_only=True):
    """A very pod."""

    name: Annotated[str, Meta(min_length=1, max_length=253, description="The pod's name, in this namespace.")]
    uid: Annotated[str, Meta(min_length=1, max_length=128, description="The pod's UID: a namesake is another pod.")]
    node: Annotated[str, Meta(max_length=253, description="The node that it runs on.")] = ""


class PowerMigrationSpec(Wire, frozen=True, kw_only=True):
    """Which pod has to move, and away from which budget's nodes."""

    scale_target_ref: ScaleTargetRef
    pod: Annotated[PodReference, Meta(description="The pod that moves.")]
    budget: Annotated[
        str, Meta(min_length=1, max_length=253, description="The budget whose nodes the new pod must not land on.")
    ]
    deadline_seconds: Annotated[
        int, Meta(ge=60, le=86_400, description="After so many seconds whatever is not done is rolled back.")
    ] = 1800


class Reservation(Wire, frozen=True, kw_only=True):
    """What the leader of the scaler says about the watts of one replica more."""

    state: Annotated[
        Literal["Reserved", "Refused"],
        Meta(description="Reserved: the recommendation includes the replica. Refused: it does not fit, or not now."),
    ]
    replicas: Annotated[int, Meta(description="The service's replicas while both pods are there.")] = 0
    message: Annotated[str, Meta(description="Why, for people.")] = ""
    budget: Annotated[str, Meta(description="The budget that stands in the way, if one does.")] = ""
    missing_watts: Annotated[float, Meta(description="What that budget lacks, in watts.")] = 0.0


class PowerMigrationStatus(Wire, frozen=True, kw_only=True):
    """How far it is. `reservation` is the leader's; all else is the actuator's.

    So no field may have a default that says something: the leader would write it over what the actuator says.
    """

    phase: Annotated[str, Meta(description="How far it is.")] = ""
    since: Annotated[str, Meta(description="When the phase began.")] = ""
    message: Annotated[str, Meta(description="What is awaited, or why it failed, for people.")] = ""
    reservation: Annotated[Reservation, Meta(description="Whether the watts are reserved.")] | None = None
    new_pod: Annotated[PodReference, Meta(description="The pod that takes over.")] | None = None
    replicas: (
        Annotated[
            int,
            Meta(description="The service's pods before the move, all of them ready: there are never fewer than that."),
        ]
        | None
    ) = None
    deletion_cost: (
        Annotated[int, Meta(description="The pod's own deletion cost, which it gets back where it stays.")] | None
    ) = None
    guarded_watts: (
        Annotated[
            float, Meta(description="The budget's guarded sum before the old pod was made to go; it has to fall.")
        ]
        | None
    ) = None
    conditions: tuple[Condition, ...] = ()


class PowerMigration(Wire, frozen=True, kw_only=True):
    """One pod's move to nodes with headroom."""

    metadata: ObjectMeta
    spec: PowerMigrationSpec
    status: PowerMigrationStatus = PowerMigrationStatus()


def migration_name(workload: str, pod_uid: str, *, attempt: int = 1) -> str:
    """Returns the name of a pod's migration: one at a time, whoever begins it.

    >>> migration_name("chat-predictor", "0b5f7a52-6f0e-4f0c-9a56-d1f0b1a3c111")
    'chat-predictor-0b5f7a52'
    >>> migration_name("chat-predictor", "0b5f7a52-6f0e-4f0c-9a56-d1f0b1a3c111", attempt=2)
    'chat-predictor-0b5f7a52-2'
    """
    name = f"{workload[:200]}-{pod_uid[:8]}"
    return name if attempt == 1 else f"{name}-{attempt}"
