"""Clamps readings to what hardware can draw."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from wattkeeper.power.readers.samples import Reading

K = TypeVar("K", bound=Hashable)


def clamp(
    readings: Mapping[K, Reading], limits: Mapping[K, float], otherwise: float
) -> tuple[dict[K, Reading], tuple[K, ...]]:
    """Clamps watts to [0, limit].

    Args:
        readings: by key.
        limits: W, by key.
        otherwise: the limit of keys that have none of their own; inf: not clamped.

    Returns:
        The readings, and the keys of those that were clamped.
    """
    result: dict[K, Reading] = {}
    clamped: list[K] = []
    for key, one in readings.items():
        inside = min(max(one.value, 0.0), limits.get(key, otherwise))
        if inside != one.value:
            clamped.append(key)
            one = Reading(inside, one.timestamp)  # noqa: PLW2901 - the clamped one takes its place.
        result[key] = one
    return result, tuple(clamped)
