"""Progressive filling over several domains at once: max-min fairness with bottlenecks (Bertsekas and Gallager, 1992).

All services rise together, each at the same fraction of what it is due. When a domain is full, the services that
draw there stay where they are and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.algorithms.bottleneck import LEVEL_TOLERANCE, STEPS, WATT_TOLERANCE, at_level, first_stop
from wattkeeper.algorithms.draw import Draw
from wattkeeper.api.readings import Bools, Floats, Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """The E pairs of a service and a domain that is too small for all: a service rises from `lower` to `upper`.

    Attributes:
        row, column: int64[E].
        lower, upper, active: float64[E], replicas of the pair's service.
        each, further: float64[E], watts per replica up to `active` and above.
        total: float64[E], watts from lower to upper.
    """

    row: Ints
    column: Ints
    lower: Floats
    upper: Floats
    active: Floats
    each: Floats
    further: Floats
    total: Floats

    def only(self, keep: Bools) -> _Pairs:
        """Returns the pairs where bool[E] holds."""
        kept = np.flatnonzero(keep)
        return _Pairs(
            row=self.row.take(kept),
            column=self.column.take(kept),
            lower=self.lower.take(kept),
            upper=self.upper.take(kept),
            active=self.active.take(kept),
            each=self.each.take(kept),
            further=self.further.take(kept),
            total=self.total.take(kept),
        )

    def draw(self, level: Floats) -> tuple[Floats, Floats]:
        """Returns what each pair draws above its lower bound at its level, and by how much per level: float64[E]."""
        share = level * self.upper
        replicas = np.maximum(share, self.lower)
        kept = np.minimum(replicas, self.active)
        watts = (kept - np.minimum(self.lower, self.active)) * self.each
        watts += (replicas - kept - np.maximum(self.lower - self.active, 0.0)) * self.further
        slope = np.where(share > self.active, self.further, self.each) * self.upper
        return watts, np.where(share > self.lower, slope, 0.0)


def fill(draw: Draw, lower: Ints, upper: Ints, room_watts: Floats) -> Floats:
    """Returns the max-min fair share of each service: float64[R], replicas between `lower` and `upper`.

    A service's share is its fraction of `upper`, or `lower` if that is more.

    Args:
        draw: of the R services that share; R may be 0.
        lower: int64[R], at least 0.
        upper: int64[R], at least lower.
        room_watts: float64[D], what the domains have left while everyone is at `lower`; may be negative.
    """
    count = len(lower)
    levels = np.ones(count)
    room = room_watts.copy()
    left, draw_left = _stop_first(draw, lower, upper, room, levels)
    pairs = _pairs(draw_left, lower[left], upper[left], room, left)
    while len(pairs.row):
        full_at = _levels(pairs, room)
        lowest = np.ones(count)
        np.minimum.at(lowest, pairs.row, full_at[pairs.column])
        # A domain is settled once none of its services is stopped earlier elsewhere. Of all domains that one with the
        # lowest level always is, so every round settles something, and far apart ones settle at once.
        waits = lowest[pairs.row] < full_at[pairs.column] - LEVEL_TOLERANCE
        settled = np.bincount(pairs.column[waits], minlength=len(room)) == 0
        stopped = np.zeros(count, dtype=np.bool_)
        stopped[pairs.row[settled[pairs.column]]] = True
        levels[stopped] = lowest[stopped]
        done = stopped[pairs.row]
        gone = pairs.only(done)
        watts, _ = gone.draw(levels[gone.row])
        room -= np.bincount(gone.column, weights=watts, minlength=len(room))
        pairs = pairs.only(~done)
        short = np.bincount(pairs.column, weights=pairs.total, minlength=len(room)) > room
        pairs = pairs.only(short[pairs.column])
    return np.clip(levels * upper, lower, upper)


def _stop_first(draw: Draw, lower: Ints, upper: Ints, room: Floats, levels: Floats) -> tuple[Ints, Draw]:
    """Stops services in domains without any room, then those of the first bottleneck; takes off what they draw.

    The rounds over pairs of a service and a domain would find the same. But most pairs belong to the services that may
    run anywhere, and those stop at the first bottleneck already: that leaves few pairs to the rounds.

    Writes to `room` (float64[D]) and, for those that it stops, to `levels` (float64[R]). Returns the places of services
    that may still be stopped elsewhere, and their draw.
    """
    left = np.arange(len(lower))
    level = 0.0
    while level == 0.0 and len(left):
        stop = first_stop(draw, lower, upper, room)
        if stop is None:
            return left[:0], draw.only(left[:0])
        level, stops = stop
        levels[left[stops]] = level
        room -= draw.total_gains(lower, np.where(stops, at_level(level, lower, upper), lower))
        stay = np.flatnonzero(~stops)
        draw, lower, upper, left = draw.only(stay), lower[stay], upper[stay], left[stay]
    return left, draw


def _pairs(draw: Draw, lower: Ints, upper: Ints, room: Floats, left: Ints) -> _Pairs:
    """Returns the pairs of services, which are at the places `left`, and domains that are too small for all of them."""
    short = np.flatnonzero(draw.total_gains(lower, upper) > room)
    draw = draw.within(short)
    gains = draw.gains(lower, upper)
    place, at = np.nonzero(gains > 0.0)
    return _Pairs(
        row=left[place],
        column=short[at],
        lower=lower[place].astype(np.float64),
        upper=upper[place].astype(np.float64),
        active=draw.active[place],
        each=draw.each[place, at],
        further=draw.further[place, at],
        total=gains[place, at],
    )


def _levels(pairs: _Pairs, room: Floats) -> Floats:
    """Returns the highest level, up to 1, at which each domain's pairs fit: float64[D].

    Newton's method from above, which is exact after as many steps as the sum has bends while a further replica draws
    at least what a running one does; bisection takes over where that does not hold.
    """
    count = len(room)
    low, high = np.zeros(count), np.ones(count)
    open_ = np.zeros(count, dtype=np.bool_)
    open_[pairs.column] = True
    open_ &= room > 0.0
    guess = high
    some = pairs
    for _ in range(STEPS):
        matter = open_[some.column]
        if 2 * np.count_nonzero(matter) < len(matter):
            some = some.only(matter)
        watts, slopes = some.draw(guess[some.column])
        excess = np.bincount(some.column, weights=watts, minlength=count) - room
        slope = np.bincount(some.column, weights=slopes, minlength=count)
        low = np.where(open_ & (excess <= WATT_TOLERANCE), guess, low)
        high = np.where(open_ & (excess > WATT_TOLERANCE), guess, high)
        open_ &= (np.abs(excess) > WATT_TOLERANCE) & (high - low > LEVEL_TOLERANCE / 16)
        if not open_.any():
            break
        newton = guess - np.divide(excess, slope, out=np.zeros(count), where=slope > 0.0)
        inside = (newton > low) & (newton < high)
        guess = np.where(open_, np.where(inside, newton, (low + high) / 2), guess)
    return low
