"""The first bottleneck of progressive filling: which domain is full before all others, and at which level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.algorithms.draw import Draw
from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import total_watts

LEVEL_TOLERANCE = 1e-9
WATT_TOLERANCE = 1e-7
STEPS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Rise:
    """R services that rise together from `lower` to `upper` replicas.

    Attributes:
        active, lower, upper: float64[R], replicas; up to `active` they draw `each`, `further` above.
        each, further: float64[R, D], watts of a replica.
    """

    active: Floats
    lower: Floats
    upper: Floats
    each: Floats
    further: Floats

    @classmethod
    def of(cls, draw: Draw, rows: Ints, lower: Ints, upper: Ints) -> Rise:
        """Takes the services in `rows` (int64[R]), with bounds int64[R]."""
        return cls(
            active=draw.active[rows],
            lower=lower.astype(np.float64),
            upper=upper.astype(np.float64),
            each=draw.each[rows],
            further=draw.further[rows],
        )

    def only(self, keep: Bools) -> Rise:
        """Returns the services where bool[R] holds."""
        return Rise(
            active=self.active[keep],
            lower=self.lower[keep],
            upper=self.upper[keep],
            each=self.each[keep],
            further=self.further[keep],
        )

    def draw(self, level: float) -> tuple[Floats, Floats]:
        """Returns what all draw above `lower` at a level, and by how much more per level: float64[D] each."""
        share = level * self.upper
        kept, added = self._above(np.maximum(share, self.lower))
        steps = np.where(share > self.lower, self.upper, 0.0)
        beyond = share > self.active
        return (
            total_watts(kept, self.each) + total_watts(added, self.further),
            total_watts(np.where(beyond, 0.0, steps), self.each)
            + total_watts(np.where(beyond, steps, 0.0), self.further),
        )

    def draws_in(self, domains: Ints) -> Bools:
        """Returns bool[R], the services that draw more at `upper` than at `lower` in any of `domains`."""
        kept, added = self._above(self.upper)
        gains = kept[:, None] * self.each[:, domains] + added[:, None] * self.further[:, domains]
        return np.asarray((gains > 0.0).any(axis=1), dtype=np.bool_)

    def _above(self, replicas: Floats) -> tuple[Floats, Floats]:
        kept = np.minimum(replicas, self.active) - np.minimum(self.lower, self.active)
        return kept, np.maximum(replicas - self.active, 0.0) - np.maximum(self.lower - self.active, 0.0)


def first_stop(rise: Rise, room_watts: Floats) -> tuple[float, Bools] | None:
    """Returns the level at which the first domains are full, and bool[R], the services that draw there.

    That is level 0 for domains without any room. None where everyone fits.
    """
    total, _ = rise.draw(1.0)
    short = (total > room_watts) & (total > 0.0)
    if not short.any():
        return None
    dry = short & (room_watts <= 0.0)
    level, full = (0.0, dry) if dry.any() else _first_full(rise, np.where(short, room_watts, np.inf))
    return level, rise.draws_in(np.flatnonzero(full))


def _first_full(rise: Rise, room: Floats) -> tuple[float, Bools]:
    """Returns the highest level at which nothing is over its room (> 0), and bool[D], what is full there.

    Newton's method for the lowest of all roots, from above; bisection where that leads nowhere.
    """
    low, high, level = 0.0, 1.0, 1.0
    full = np.zeros(len(room), dtype=np.bool_)
    for _ in range(STEPS):
        watts, slope = rise.draw(level)
        excess = watts - room
        over = excess > WATT_TOLERANCE
        if over.any():
            high, full = level, over
        else:
            low, reached = level, excess >= -WATT_TOLERANCE
            if reached.any():
                return level, reached
        if high - low <= LEVEL_TOLERANCE / 16:
            break
        steps = np.divide(excess, slope, out=np.full(len(room), -np.inf), where=slope > 0.0)
        newton = level - float(steps.max())
        level = newton if low < newton < high else (low + high) / 2
    return low, full
