"""Rule 8: what leaves the power gate."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.raises import fitting_raises


def open_gates(snapshot: Snapshot, grants: Ints, room_watts: Floats, landing: Bools, stale: Bools) -> Ints:
    """Returns how many replicas of each gated service may leave the gate: int64[S].

    A grant was reserved, but its watts may still be drawn by a predecessor that drains: then it waits. Replicas within
    a grant may start again while readings are stale, as everywhere; a surge is something new and may not.

    Args:
        snapshot: gives what is out of the gate, surges, unit_watts and the order.
        grants: int64[S].
        room_watts: float64[D], limit less what may draw now.
        landing: bool[S, D], where a further replica may land.
        stale: bool[S], the service touches a frozen domain.
    """
    if not snapshot.gated.any():
        return np.zeros(len(grants), dtype=np.int64)
    allowed = grants + np.where(stale, 0, snapshot.surge)
    asked = np.where(snapshot.gated, np.maximum(allowed - snapshot.active, 0), 0)
    return fitting_raises(snapshot, asked, room_watts, landing)
