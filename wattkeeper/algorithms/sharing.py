"""Watts being shared out: fair shares first, then whole replicas."""

from __future__ import annotations

import numpy as np

from wattkeeper.algorithms.draw import ROUNDING_WATTS, Draw
from wattkeeper.algorithms.filling import fill
from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import Snapshot


class Sharing:
    """Services rise from `grants` while there is room.

    Attributes:
        grants: int64[S], so far.
        room_watts: float64[D], left; negative where what is granted exceeds the limit already.
    """

    def __init__(self, snapshot: Snapshot, draw: Draw, grants: Ints, room_watts: Floats) -> None:
        self.grants = grants.astype(np.int64)
        self.room_watts = room_watts.copy()
        self._draw = draw
        self._previous = snapshot.previous
        count = len(snapshot.services)
        self._name_rank = np.empty(count, dtype=np.int64)
        self._name_rank[np.argsort(np.array(snapshot.services, dtype=np.str_), kind="stable")] = np.arange(count)

    def raise_to(self, rows: Ints, target: Ints) -> None:
        """Raises the services in `rows` together towards `target` (int64[S]): the same fraction of it for all.

        Whole replicas are made of the fractions by largest remainder, but a service that had the replica in the
        last plan goes first; ties go by name.
        """
        rows = rows[self.grants[rows] < target[rows]]
        if not len(rows):
            return
        before = self.grants[rows]
        shares = fill(self._draw, rows, before, target[rows], self.room_watts)
        whole = np.maximum(np.floor(shares + ROUNDING_WATTS).astype(np.int64), before)
        self.room_watts -= self._draw.total_gains(rows, before, whole)
        self.grants[rows] = whole
        while len(rows):
            below = self.grants[rows] < target[rows]
            rows, shares = rows[below], shares[below]
            taken = self._raise_by_one(rows, shares)
            rows, shares = rows[taken], shares[taken]

    def _raise_by_one(self, rows: Ints, shares: Floats) -> Ints:
        """Gives one more replica to every service where it still fits; returns their places in `rows`."""
        watts = self._draw.next_replica(rows, self.grants[rows])
        room = self.room_watts + ROUNDING_WATTS
        fits = np.flatnonzero(np.all(watts <= np.maximum(room, 0.0), axis=1))
        rows, shares, watts = rows[fits], shares[fits], watts[fits]
        # Where all of them fit together the order does not matter, so only the others are gone through one by one.
        tight = np.flatnonzero(watts.sum(axis=0) > room)
        free = np.asarray(np.all(watts[:, tight] <= 0.0, axis=1), dtype=np.bool_)
        taken = free.copy()
        remainder = np.round(shares - self.grants[rows], 9)
        had = self._previous[rows] > self.grants[rows]
        left = room[tight]
        for place in np.lexsort((self._name_rank[rows], -remainder, ~had)):
            if not free[place]:
                need = watts[place, tight]
                if not ((need > 0.0) & (need > left)).any():
                    left = left - need
                    taken[place] = True
        self.grants[rows[taken]] += 1
        self.room_watts -= watts[taken].sum(axis=0)
        return fits[taken]
