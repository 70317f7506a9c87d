"""What a ScaledObject asks of its HPA for scaling down: tolerance and stabilisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, cast

from wattkeeper.api.quantity import parse_quantity
from wattkeeper.cluster.objects import ScaledObject

# From 1.35 the gate HPAConfigurableTolerance is on by default; before, the API server drops the field.
TOLERANCE_SINCE_MINOR: Final = 35
DEFAULT_STABILIZATION_SECONDS: Final = 300


def asked_tolerance(scaled_object: ScaledObject) -> float | None:
    """Returns the scale-down tolerance that the ScaledObject sets, None where it sets none that can be read."""
    value = _scale_down(scaled_object).get("tolerance")
    if not isinstance(value, str | int | float):
        return None
    try:
        tolerance = value if isinstance(value, float) else parse_quantity(value)
    except ValueError:
        return None
    return tolerance if math.isfinite(tolerance) and tolerance >= 0 else None


def tolerance_in_force(scaled_object: ScaledObject, *, server_minor: int, cluster_tolerance: float) -> float:
    """Returns the scale-down tolerance that the HPA applies.

    Where an older API server may or may not keep the field, it is the wider of both: a value told for too wide a
    tolerance ends lower than need be, one told for too narrow a tolerance is ignored.

    Args:
        scaled_object: what the HPA is made from.
        server_minor: the API server's minor version.
        cluster_tolerance: what the controller manager applies where the HPA says nothing.
    """
    asked = asked_tolerance(scaled_object)
    if asked is None:
        return cluster_tolerance
    return asked if server_minor >= TOLERANCE_SINCE_MINOR else max(asked, cluster_tolerance)


def stabilization_seconds(scaled_object: ScaledObject) -> int:
    """Returns for how long the HPA delays a cut."""
    value = _scale_down(scaled_object).get("stabilizationWindowSeconds")
    return value if isinstance(value, int) and not isinstance(value, bool) else DEFAULT_STABILIZATION_SECONDS


def has_formula(scaled_object: ScaledObject) -> bool:
    """Says whether a formula joins the triggers into one value."""
    return bool(_map(scaled_object.spec.advanced, "scalingModifiers").get("formula"))


def _scale_down(scaled_object: ScaledObject) -> Mapping[str, Any]:
    config = _map(scaled_object.spec.advanced, "horizontalPodAutoscalerConfig")
    return _map(_map(config, "behavior"), "scaleDown")


def _map(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
