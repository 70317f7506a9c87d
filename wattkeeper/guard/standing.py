"""What stands before anything new is decided: replicas, watts, and what a service touches."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot

ROUNDING_WATTS = 1e-6
"""Sums of the same watts in another order differ by less than this; no device draws so little."""


def standing_grants(snapshot: Snapshot) -> Ints:
    """Returns the lower of what is committed and what was granted last: int64[S].

    Granting this again starts nothing. More than this may start something even where it is still committed: an
    autoscaler may be acting on the lower grant just now, so that replicas drain while their successors load.
    """
    granted = np.where(snapshot.previous >= 0, snapshot.previous, snapshot.committed)
    return np.minimum(snapshot.committed, granted)


def lands(snapshot: Snapshot) -> Bools:
    """Returns bool[S, D], where a further replica may land. Unknown (NaN) watts count as landing."""
    return ~(snapshot.unit_watts <= 0.0)


def touches(snapshot: Snapshot) -> Bools:
    """Returns bool[S, D], where a service may land, runs or drains."""
    nothing = snapshot.unit_watts <= 0.0
    nothing &= snapshot.active_watts <= 0.0
    nothing &= snapshot.draining_watts <= 0.0
    return ~nothing


def over_watts(limit_watts: Floats, watts: Floats) -> Floats:
    """Returns how far `watts` exceeds the limits, 0 inside: float64[D]. Differences by rounding are inside."""
    excess = watts - limit_watts
    return np.where(excess > ROUNDING_WATTS, excess, 0.0)


def any_domain(pairs: Bools) -> Bools:
    """Returns bool[S], whether any domain of bool[S, D] holds."""
    return np.asarray(pairs.any(axis=1), dtype=np.bool_)
