"""The first bottleneck of progressive filling: which domain is full before all others, and at which level."""

from __future__ import annotations

import numpy as np

from wattkeeper.algorithms.draw import Draw
from wattkeeper.api.readings import Bools, Floats, Ints

LEVEL_TOLERANCE = 1e-9
WATT_TOLERANCE = 1e-7
STEPS = 64


def at_level(level: float, lower: Ints, upper: Ints) -> Floats:
    """Returns the replicas of each service at a level: that share of `upper`, or `lower` if that is more."""
    return np.maximum(level * upper, lower)


def first_stop(draw: Draw, lower: Ints, upper: Ints, room_watts: Floats) -> tuple[float, Bools] | None:
    """Returns the level at which the first domains are full, and bool[R], the services that draw there.

    That is level 0 for domains without any room. None where everyone fits.

    Args:
        draw: of the R services that rise together.
        lower: int64[R], replicas that they rise from.
        upper: int64[R], replicas that they rise to.
        room_watts: float64[D], what is left while everyone is at `lower`.
    """
    total = draw.total_gains(lower, upper)
    short = (total > room_watts) & (total > 0.0)
    if not short.any():
        return None
    dry = short & (room_watts <= 0.0)
    if dry.any():
        level, full = 0.0, np.flatnonzero(dry)
    else:
        level, full = _first_full(draw, lower, upper, total, np.where(short, room_watts, np.inf))
    return level, np.logical_or.reduce(draw.within(full).gains(lower, upper) > 0.0, axis=1)


def _first_full(draw: Draw, lower: Ints, upper: Ints, total: Floats, room: Floats) -> tuple[float, Ints]:
    """Returns the highest level at which nothing is over its room (> 0), and the domains that are full there.

    At level 1, which is too high, domains draw `total` (float64[D]).

    Newton's method for the lowest of all roots, from above; bisection where that leads nowhere. What a domain draws
    only grows with the level: one that has room at a level is not full at any lower one, and is left out.
    """
    low, high, level = 0.0, 1.0, 1.0
    domains = np.arange(len(room))
    full = domains[:0]
    excess = total - room
    for _ in range(STEPS):
        over, near = excess > WATT_TOLERANCE, np.flatnonzero(excess >= -WATT_TOLERANCE)
        if over.any():
            high, full = level, domains[over]
            if 2 * len(near) < len(domains):
                draw, room, domains, excess = draw.within(near), room[near], domains[near], excess[near]
        else:
            low = level
            if len(near):
                return level, domains[near]
        if high - low <= LEVEL_TOLERANCE / 16:
            break
        slope = draw.total_slope(level, lower, upper)
        steps = np.divide(excess, slope, out=np.full(len(room), -np.inf), where=slope > 0.0)
        newton = level - float(steps.max())
        level = newton if low < newton < high else (low + high) / 2
        excess = draw.total_gains(lower, at_level(level, lower, upper)) - room
    return low, full
