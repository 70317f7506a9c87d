"""Rule 6: raises are granted in order of priority, each only as far as every domain it may land in has room."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.standing import ROUNDING_WATTS


def fitting_raises(snapshot: Snapshot, asked: Ints, room_watts: Floats, landing: Bools) -> Ints:
    """Returns how many of the replicas that each service asks for on top may start: int64[S].

    Args:
        snapshot: gives unit_watts and the order: higher priority first, then the snapshot's own.
        asked: int64[S], at least 0.
        room_watts: float64[D], limit less the guarded sum as it stands; negative or NaN takes nothing.
        landing: bool[S, D], where a further replica may land.
    """
    granted = asked.copy()
    rows = np.flatnonzero(asked > 0)
    if not len(rows):
        return granted
    # A domain in which everything fits refuses nobody, in whatever order they come: only the others need the order.
    total = asked[rows].astype(np.float64) @ snapshot.unit_watts[rows]
    tight = np.flatnonzero(~(total <= room_watts) & landing[rows].any(axis=0))
    blocked = landing[np.ix_(rows, tight)]
    contended = blocked.any(axis=1)
    rows, blocked = rows[contended], blocked[contended]
    units = snapshot.unit_watts[np.ix_(rows, tight)]
    room = np.nan_to_num(room_watts[tight], nan=-np.inf, posinf=np.inf) + ROUNDING_WATTS
    for place in np.argsort(-snapshot.priority[rows], kind="stable"):
        row, columns = rows[place], np.flatnonzero(blocked[place])
        unit = units[place, columns]
        fits = float(np.min(room[columns] / unit))
        count = int(asked[row]) if fits >= asked[row] else int(fits) if fits >= 1.0 else 0
        granted[row] = count
        if count:
            room[columns] -= count * unit
    return granted
