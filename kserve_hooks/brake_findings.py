"""What the condition Braked says."""

from __future__ import annotations

from typing import Final

from kserve_hooks.brake_notes import PAUSED
from wattkeeper.api.conditions import Finding
from wattkeeper.api.power_recommendation import Brake
from wattkeeper.cluster.objects import ScaledObject

UNREACHABLE: Final = "KEDA cannot ask Wattkeeper's scaler"
_LOOK: Final = "Look at the scaler's pods, and at what is between them and KEDA."
_OVER: Final = "A budget is over its limit by more than the policy's actuation.brakeAboveRatio"


def held(note: Brake) -> Finding:
    """The brake is on."""
    at = min(one.written for one in note.fields)
    if note.reason == "ScalerUnreachable":
        message = f"{UNREACHABLE}, so {note.kind} {note.name} is held at {at} until it can. {_LOOK}"
    else:
        message = (
            f"PowerBudget {note.budget} was over its limit by more than the policy's actuation.brakeAboveRatio, so "
            f"{note.kind} {note.name} is paused at {at} until it has been inside for some seconds, or the cap rises."
        )
    return Finding(type="Braked", holds=True, reason=note.reason, message=message)


def paused_by_user(scaled: ScaledObject, cap: int) -> Finding:
    """A user's own pause keeps the service above its cap."""
    message = (
        f"ScaledObject {scaled.metadata.name} is paused above its cap of {cap}, not by Wattkeeper: the brake leaves it "
        f"alone. Take the annotation {PAUSED}* away, or pause it at {cap}."
    )
    return _refused("PausedByUser", message)


def no_lever(scaled: ScaledObject, cap: int) -> Finding:
    """KEDA cannot ask, and whatever could be written would not stay."""
    message = (
        f"{UNREACHABLE}, and nothing that holds lowers what ScaledObject {scaled.metadata.name} scales to its cap of "
        f"{cap}. {_LOOK}"
    )
    return _refused("NoLever", message)


def ceiling_alone(cap: int) -> Finding:
    """A budget is over, and KServe would revert a pause, or there is nothing to pause."""
    message = (
        f"{_OVER}, and there is no ScaledObject that could be paused at the cap of {cap}: KServe reverts that on its "
        "own. Only the ceiling is left: it acts as soon as the autoscaler does."
    )
    return _refused("NoLever", message)


def put_back(scaled: ScaledObject, *, answers: bool) -> Finding:
    """Somebody has put back what was written while KEDA cannot ask.

    Args:
        scaled: the ScaledObject that scales the service.
        answers: the scaler answers the actuator itself.
    """
    if answers:
        remedy = "KEDA says that it cannot ask the scaler, and the actuator can: look at the ScaledObject's conditions."
    else:
        remedy = (
            "If it was KEDA, it does reach the scaler, and the actuator does not: let the actuator's pods reach the "
            "scaler's port."
        )
    return _refused("BrakePutBack", f"{_somebody(scaled)} {remedy}")


def pause_put_back(scaled: ScaledObject) -> Finding:
    """Somebody has taken off the pause while a budget is over."""
    remedy = (
        "It is left alone until the budget is inside: have whoever it was leave the annotation alone (Argo CD: "
        "ignoreDifferences)."
    )
    return _refused("BrakePutBack", f"{_somebody(scaled)} {remedy}")


def _somebody(scaled: ScaledObject) -> str:
    return f"Somebody has put back what the brake wrote for ScaledObject {scaled.metadata.name}."


def _refused(reason: str, message: str) -> Finding:
    return Finding(type="Braked", holds=False, reason=reason, message=message)
