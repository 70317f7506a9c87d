"""Rule 6: what is to start is granted in order of priority, as far as every domain that it may land in has room."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot, total_watts
from wattkeeper.guard.standing import ROUNDING_WATTS


def still_fitting(snapshot: Snapshot, standing: Ints, guarded_watts: Floats, landing: Bools) -> Ints:
    """Returns what of the standing grants may stand: int64[S].

    A grant that no autoscaler has acted on yet starts replicas when one does. It fitted when it was made. It need not
    fit now: where somebody else scaled the target down, its replicas drain and successors would start beside them.

    Args:
        snapshot: gives unit_watts, what is started and the order.
        standing: int64[S].
        guarded_watts: float64[D], the guarded sum as it stands, with everything that is committed without a gate.
        landing: bool[S, D], where a further replica may land.
    """
    waiting = np.maximum(standing - snapshot.started, 0)
    if (guarded_watts <= snapshot.limit_watts).all() or not waiting.any():
        return standing
    promised = np.maximum(snapshot.committed - snapshot.started, 0).astype(np.float64)
    there = guarded_watts - total_watts(promised, snapshot.unit_watts)
    return standing - waiting + fitting_raises(snapshot, waiting, snapshot.limit_watts - there, landing)


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
    total = total_watts(asked[rows].astype(np.float64), snapshot.unit_watts[rows])
    tight = np.flatnonzero(~(total <= room_watts) & landing[rows].any(axis=0))
    blocked = landing[np.ix_(rows, tight)]
    contended = blocked.any(axis=1)
    rows, blocked = rows[contended], blocked[contended]
    # The pairs of a service and a tight domain that it may land in, service by service.
    of, column = np.nonzero(blocked)
    units = snapshot.unit_watts[rows[of], tight[column]]
    ends = np.cumsum(np.count_nonzero(blocked, axis=1)).tolist()
    room = np.nan_to_num(room_watts[tight], nan=-np.inf, posinf=np.inf) + ROUNDING_WATTS
    for place in np.argsort(-snapshot.priority[rows], kind="stable"):
        row, pairs = rows[place], slice(ends[place - 1] if place else 0, ends[place])
        columns, unit = column[pairs], units[pairs]
        fits = float((room[columns] / unit).min())
        count = int(asked[row]) if fits >= asked[row] else int(fits) if fits >= 1.0 else 0
        granted[row] = count
        if count:
            room[columns] -= count * unit
    return granted
