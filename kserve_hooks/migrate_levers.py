"""How a service gets one pod more for a migration, and one less afterwards: through whoever owns its replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kserve_hooks.capped import Capped
from kserve_hooks.scaled_objects import TriggerOptions, asks_us
from wattkeeper.api.power_recommendation import ActuatedField
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.recommender.kserve import Part

_CAP_ALONE: Final = "cap"
"""Metric of a trigger that is told the cap: how many replicas there are is decided by others then."""

Reason = Literal["GroupsStay", "NoLever", "RaisingForbidden", "MaximumReached"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoLever:
    """Why nothing gives a service one pod more, with what to do about it."""

    reason: Reason
    message: str


def missing_lever(capped: Capped, replicas: int, trigger: TriggerOptions) -> NoLever | None:
    """Returns why a service cannot be given one pod more than `replicas`, None where it can.

    Args:
        capped: the service.
        replicas: how many pods it has.
        trigger: how triggers of ours look.
    """
    name = capped.recommendation.spec.scale_target_ref.name
    if capped.recommendation.spec.scale_target_ref.kind != "Deployment":
        message = f"{name} is a LeaderWorkerSet, whose groups go by their number: none can be chosen to move."
        return NoLever(reason="GroupsStay", message=message)
    part = capped.part
    if part is None or asks_for_number(capped):
        if any(asks_us(one, trigger) and not _bounds_only(one) for one in capped.scaled_objects):
            return None
        message = (
            f"Nothing that scales {name} asks Wattkeeper for the number of replicas: give it a ScaledObject that does."
        )
        return NoLever(reason="NoLever", message=message)
    service = f"{type(part.service).__name__} {part.service.metadata.name}"
    if part.obstacle:
        return NoLever(reason="NoLever", message=f"{service} is not scaled by the actuator: see condition Actuated.")
    if not may_raise(capped):
        message = (
            f"A move would need {part.minimum} of {service} to be raised for its while: let the actuator do so with "
            f"actuation.raiseMinReplicas of PowerCappingPolicy {capped.recommendation.spec.policy}."
        )
        return NoLever(reason="RaisingForbidden", message=message)
    most = part.ceiling(capped.actuation)
    if part.maximum and replicas >= most:
        message = f"{service} has {part.maximum} {most}, and a move needs one replica more for its while: raise it."
        return NoLever(reason="MaximumReached", message=message)
    return None


def asks_for_number(capped: Capped) -> bool:
    """Says whether a service gets its pod more by asking Wattkeeper's scaler, not by a bound that is raised."""
    return capped.part is None or not capped.part.minimum


def may_raise(capped: Capped) -> bool:
    """Says whether the policy lets the actuator raise a lower bound while a pod moves."""
    rules = None if capped.policy is None else capped.policy.spec.actuation
    return rules is not None and rules.raise_min_replicas


def with_surge(part: Part, fields: Mapping[str, int], replicas: int, *, floor: int, most: int) -> dict[str, int]:
    """Returns the bounds of a service while it has one pod more.

    Args:
        part: the service's.
        fields: its bounds otherwise.
        replicas: how many it shall have: a bound that is no lower already stays.
        floor: its lower bound, as the user wrote it.
        most: its ceiling, in force already. While that is too low, nothing is raised: KServe would refuse it.
    """
    least = fields.get(part.minimum, floor)
    if replicas <= least or (part.maximum and replicas > most):
        return dict(fields)
    return {**fields, part.minimum: replicas}


def is_raised(capped: Capped | None) -> bool:
    """Says whether a lower bound is held above what a user wrote: a surge that is not taken back yet."""
    if capped is None or capped.part is None or not capped.part.minimum:
        return False
    note = capped.recorded().get(capped.part.minimum)
    return note is not None and _raises(note)


def _raises(note: ActuatedField) -> bool:
    return note.written > (1 if note.original is None else note.original)


def _bounds_only(scaled: ScaledObject) -> bool:
    return any(one.metadata.get("metric") == _CAP_ALONE for one in scaled.spec.triggers)
