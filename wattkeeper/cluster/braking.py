"""What the brake may change: the bounds of KEDA's own HPAs, and pauses of ScaledObjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wattkeeper.cluster.errors import RefusedError
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, ScaledObject

PAUSED_REPLICAS: Final = "autoscaling.keda.sh/paused-replicas"
"""KEDA sets exactly so many replicas, and removes the HPA for as long as the annotation is there."""
PAUSE: Final = f"metadata.annotations[{PAUSED_REPLICAS}]"
MAXIMUM: Final = "spec.maxReplicas"
MINIMUM: Final = "spec.minReplicas"
_MOST_DIGITS: Final = 10
"""KEDA takes an int32."""

Brakeable = HorizontalPodAutoscaler | ScaledObject


def read_held(target: Brakeable, field: str) -> int | None:
    """Returns what one of the brake's fields is now, None where it is not set or no number."""
    if isinstance(target, HorizontalPodAutoscaler):
        return target.spec.max_replicas if field == MAXIMUM else target.spec.min_replicas
    said = target.metadata.annotations.get(PAUSED_REPLICAS, "")
    return int(said) if said.isdecimal() and len(said) <= _MOST_DIGITS else None


def is_of_keda(one: HorizontalPodAutoscaler) -> bool:
    """Says whether KEDA made an HPA."""
    return any(owner.kind == "ScaledObject" for owner in one.metadata.owner_references)


def check_brake(target: Brakeable, fields: Mapping[str, int | None]) -> None:
    """Raises RefusedError for what is not the brake's to change."""
    allowed = {MAXIMUM, MINIMUM} if isinstance(target, HorizontalPodAutoscaler) else {PAUSE}
    name = f"{type(target).__name__} {target.metadata.namespace}/{target.metadata.name}"
    if not fields.keys() <= allowed:
        raise RefusedError(f"{', '.join(sorted(fields.keys() - allowed))} of {name}: not the brake's to change.")
    if isinstance(target, HorizontalPodAutoscaler) and not is_of_keda(target):
        raise RefusedError(f"{name} belongs to no ScaledObject: it is not the brake's to change.")


def brake_patch(target: Brakeable, fields: Mapping[str, int | None]) -> dict[str, Any]:
    """Returns the merge patch for an object that is still as it was seen; None takes a field away."""
    body: dict[str, Any] = {"metadata": {"resourceVersion": target.metadata.resource_version}}
    for field, value in fields.items():
        if field == PAUSE:
            body["metadata"]["annotations"] = {PAUSED_REPLICAS: None if value is None else str(value)}
        else:
            body.setdefault("spec", {})[field.removeprefix("spec.")] = value
    return body
