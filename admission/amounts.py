"""CPU in millicores and memory in bytes, as whole numbers: sums compare exactly, and what is written reads back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from wattkeeper.api.power_capping_policy import ControlledResource
from wattkeeper.api.quantity import format_bytes, format_millicores, parse_quantity

Quantity = str | int | float
Quantities = Mapping[str, Quantity]

_PER_UNIT: Final[Mapping[ControlledResource, int]] = {"cpu": 1000, "memory": 1}
STEP: Final[Mapping[ControlledResource, int]] = {"cpu": 1, "memory": 2**20}
"""What is set is a multiple of this, unless a bound lies between two: a millicore, a mebibyte."""

_LONGEST: Final = 64
"""Characters. The API server writes quantities in less; whoever sends more shall fill no memory with them."""

_MOST: Final = 2.0**53
"""Beyond it floats are no longer exact, and no machine has as much."""


def amount(resource: ControlledResource, of: Quantities | None) -> int | None:
    """Returns a resource's quantity as a whole number, rounded up; None where it is absent or no quantity.

    >>> amount("cpu", {"cpu": "1.5"}), amount("memory", {"memory": "1Ki"}), amount("cpu", {})
    (1500, 1024, None)
    """
    given = None if of is None else of.get(resource)
    return None if given is None else quantity(resource, given)


def quantity(resource: ControlledResource, given: Quantity) -> int | None:
    """Returns a quantity as a whole number, rounded up; None where it is none.

    >>> quantity("cpu", "0.5"), quantity("cpu", "half"), quantity("cpu", "0." + "5" * 1_000)
    (500, None, None)
    """
    return None if isinstance(given, str) and len(given) > _LONGEST else _parsed(resource, given)


@lru_cache(maxsize=4096)
def _parsed(resource: ControlledResource, given: Quantity) -> int | None:
    """Few different ones ever come."""
    try:
        value = parse_quantity(given if isinstance(given, str) else repr(given))
    except ValueError:
        return None
    return whole(resource, value)


def whole(resource: ControlledResource, value: float) -> int | None:
    """Returns cores or bytes as a whole number, rounded up; None for NaN, negative and absurd ones."""
    scaled = value * _PER_UNIT[resource]
    # 0.07 cores times 1,000 are 70.00000000000001 in floats.
    return math.ceil(round(scaled, 3)) if 0.0 <= scaled < _MOST else None


def text(resource: ControlledResource, value: int) -> str:
    """Returns a whole number as a quantity."""
    return format_millicores(value) if resource == "cpu" else format_bytes(value)


def ratio(resource: ControlledResource, of: Quantities) -> float:
    """Returns a LimitRange's maxLimitRequestRatio, 0 where it sets none."""
    try:
        return max(parse_quantity(str(of.get(resource, 0))), 0.0)
    except ValueError:
        return 0.0
