"""Conditions of statuses: whether they differ, and since when they are as they are."""

from __future__ import annotations

from dataclasses import dataclass

from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition, ObjectMeta


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a condition shall say.

    Attributes:
        type: such as Ready.
        holds: the condition's status.
        reason: CamelCase, for machines.
        message: for people. Without figures that move by themselves, because a changed message is written.
    """

    type: str
    holds: bool
    reason: str
    message: str = ""


def with_transitions(
    findings: tuple[Finding, ...], before: tuple[Condition, ...], meta: ObjectMeta, now: float
) -> tuple[Condition, ...]:
    """Returns conditions. One whose status is what it was keeps the time of its last transition.

    Args:
        findings: what shall be said, each type once.
        before: what is said now.
        meta: of the object; its generation is what was observed.
        now: Unix seconds.
    """
    known = {condition.type: condition for condition in before}
    return tuple(_condition(finding, known.get(finding.type), meta, now) for finding in findings)


def _condition(finding: Finding, before: Condition | None, meta: ObjectMeta, now: float) -> Condition:
    status = "True" if finding.holds else "False"
    kept = before is not None and before.status == status
    return Condition(
        type=finding.type,
        status=status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=before.last_transition_time if before is not None and kept else format_instant(now),
        # An object that is about to be created has no generation yet, and will have 1.
        observed_generation=max(meta.generation, 1),
    )


def holds(conditions: tuple[Condition, ...], type_: str) -> bool:
    """Says whether a condition is True."""
    return any(condition.type == type_ and condition.status == "True" for condition in conditions)


def message_of(conditions: tuple[Condition, ...], type_: str) -> str:
    """Returns a condition's message, "" where there is none."""
    return next((condition.message for condition in conditions if condition.type == type_), "")


def message_unless(conditions: tuple[Condition, ...], type_: str) -> str:
    """Returns the message of a condition that is False, "" where it is not, or not there."""
    return next((one.message for one in conditions if one.type == type_ and one.status == "False"), "")
