"""What the actuator does to a cluster, as plain data: the plan makes actions, and one executor sends them.

Every action carries the objects as the view showed them when it was planned, so that a write can insist on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kserve_hooks.migrate_actions import (
    CreateMigration,
    DeleteMigration,
    HoldMigration,
    MigrationWrite,
    WriteMigration,
    describe_migration_write,
)
from kserve_hooks.pod_actions import Evict, PodWrite, SetDeletionCost, describe_pod_write
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_recommendation import Actuation, BrakeReason, PowerRecommendation
from wattkeeper.cluster.braking import Brakeable, read_held
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.kserve import KServeService, read_field
from wattkeeper.cluster.objects import ScaledObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Set or remove the finalizer of a recommendation."""

    regarding: PowerRecommendation
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish:
    """Say in a recommendation's status what is changed, and what stands in the way."""

    regarding: PowerRecommendation
    actuation: Actuation | None
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFields:
    """Change replica bounds of a KServe service.

    Attributes:
        fields: path and value, None to take a field away.
    """

    service: KServeService
    fields: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyScaledObject:
    """Make a ScaledObject of ours, or change it.

    Attributes:
        before: as the view shows it, None where it is not there yet.
    """

    wanted: ScaledObject
    before: ScaledObject | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteScaledObject:
    """Delete a ScaledObject of ours."""

    gone: ScaledObject


@dataclass(frozen=True, kw_only=True, slots=True)
class SetBrake:
    """Hold down what KEDA scales by, or let it go.

    Attributes:
        fields: field and value, None to take a field away.
        released: they are what there was before.
        why: what is held down for, as people are told; "" with what is released.
        if_ours: only if the actuator, by what the API server remembers, has written what is there.
    """

    target: Brakeable
    fields: tuple[tuple[str, int | None], ...]
    released: bool = False
    why: str = ""
    if_ours: bool = False


Write = Hold | Publish | SetFields | ApplyScaledObject | DeleteScaledObject | SetBrake | MigrationWrite | PodWrite


@dataclass(frozen=True, kw_only=True, slots=True)
class Announce:
    """Tell people.

    Attributes:
        after: the action that the event is about, which must have been done; None where it is about none.
    """

    event: EventRecord
    after: Write | None = None


Action = Write | Announce


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePlan:
    """What is to be done for one service, in order: what follows a failure is left to the next pass.

    Attributes:
        key: who it is about: the recommendation's UID, or that of an orphan.
        autoscaler: who scales the service, "" where that does not matter.
        hindered: something stands in the way of its ceiling.
        braked: what the brake is on for, "" while it is off.
        blocked: a pod has to go, and stays.
        broken: why nothing could be planned, "" where it could.
    """

    key: str
    actions: tuple[Action, ...]
    autoscaler: str = ""
    hindered: bool = False
    braked: BrakeReason | Literal[""] = ""
    blocked: bool = False
    broken: str = ""


def brake_key(key: str) -> str:
    """Returns under what a refusal of the brake is known: it has nothing to do with what else was refused."""
    return f"{key}/brake"


def pods_key(key: str) -> str:
    """Returns the key of what is done to a service's pods: no ceiling waits for it."""
    return f"{key}/pods"


def describe(action: Action) -> str:
    """Returns what an action does, as a sentence without its end."""
    match action:
        case Hold(regarding=one, held=held):
            verb = "keep" if held else "let go"
            return f"{verb} PowerRecommendation {_name(one)}"
        case Publish(regarding=one, conditions=conditions):
            said = "; ".join(f"{each.type} {each.status} ({each.reason})" for each in conditions) or "nothing any more"
            return f"say on PowerRecommendation {_name(one)}: {said}"
        case SetFields(service=service, fields=fields):
            changes = ", ".join(
                f"{path} from {_said(read_field(service, path))} to {_said(value)}" for path, value in fields
            )
            return f"set {changes} of {type(service).__name__} {_name(service)}"
        case ApplyScaledObject(wanted=wanted, before=before):
            verb = "make" if before is None else "change"
            return f"{verb} ScaledObject {_name(wanted)} with maxReplicaCount {wanted.spec.max_replica_count}"
        case DeleteScaledObject(gone=gone):
            return f"delete ScaledObject {_name(gone)}"
        case SetBrake(target=target, fields=fields, if_ours=if_ours):
            changes = ", ".join(
                f"{field} from {_said(read_held(target, field))} to {_said(value)}" for field, value in fields
            )
            condition = " if it is the actuator's own" if if_ours else ""
            return f"set {changes} of {type(target).__name__} {_name(target)}{condition}"
        case Announce(event=event):
            return f"record {event.reason}: {event.note}"
        case CreateMigration() | HoldMigration() | WriteMigration() | DeleteMigration():
            return describe_migration_write(action)
        case SetDeletionCost() | Evict():
            return describe_pod_write(action)


def _said(value: int | None) -> str:
    return "unset" if value is None else str(value)


def _name(one: PowerRecommendation | KServeService | Brakeable) -> str:
    return f"{one.metadata.namespace}/{one.metadata.name}"
