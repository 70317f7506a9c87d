"""Watts being shared out: fair shares first, then whole replicas."""

from __future__ import annotations

import numpy as np

from wattkeeper.algorithms.draw import ROUNDING_WATTS, Draw
from wattkeeper.algorithms.filling import fill
from wattkeeper.api.readings import Bools, Floats, Ints
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
        draw, before, most = self._draw.only(rows), self.grants[rows], target[rows]
        asked = draw.total_gains(before, most)
        if (asked <= np.maximum(self.room_watts, 0.0)).all():
            self.grants[rows] = most
            self.room_watts -= asked
            return
        shares = fill(draw, before, most, self.room_watts)
        whole = np.maximum(np.floor(shares + ROUNDING_WATTS).astype(np.int64), before)
        self.room_watts -= draw.total_gains(before, whole)
        raised = self._one_by_one(rows, draw, whole, most, shares)
        self.room_watts -= draw.total_gains(whole, raised)
        self.grants[rows] = raised

    def _one_by_one(self, rows: Ints, draw: Draw, grants: Ints, most: Ints, shares: Floats) -> Ints:
        """Returns the grants of `rows` after more single replicas, up to `most`, round by round while any fits."""
        room = self.room_watts + ROUNDING_WATTS
        if (draw.total_gains(grants, most) <= room).all():
            return most
        grants = grants.copy()
        places = np.arange(len(rows))
        while len(places):
            places = places[grants[places] < most[places]]
            watts = draw.next_replica(places, grants[places])
            fits = np.flatnonzero(np.logical_and.reduce(watts <= np.maximum(room, 0.0), axis=1))
            places, watts = places[fits], watts[fits]
            total = watts.sum(axis=0)
            if len(places) and (total <= np.maximum(room, 0.0)).all():
                more = _rounds(total, room, most[places] - grants[places], draw.active[places] - grants[places])
                grants[places] += more
                room -= more * total
                continue
            remainder = np.round(shares[places] - grants[places], 9)
            had = self._previous[rows[places]] > grants[places]
            taken = _taken(watts, room, np.lexsort((self._name_rank[rows[places]], -remainder, ~had)))
            grants[places[taken]] += 1
            room -= watts[taken].sum(axis=0)
            places = places[taken]
        return grants


def _rounds(total: Floats, room: Floats, asked: Ints, running: Floats) -> int:
    """Returns for how many rounds in a row everyone's replicas fit together, so that nobody has to be put in order.

    Args:
        total: float64[D], what all of them draw in a round.
        room: float64[D], at least that.
        asked: int64[n], at least 1, the most that each may get.
        running: float64[n], how many of each one's draw like the next; where that is 0 or less, all do.
    """
    drawing = total > 0.0
    alike = running[running > 0.0]
    return int(min((room[drawing] / total[drawing]).min(initial=np.inf), asked.min(), alike.min(initial=np.inf)))


def _taken(watts: Floats, room: Floats, order: Ints) -> Bools:
    """Returns who gets the replica that fits for each alone: bool[n].

    Args:
        watts: float64[n, D], what it draws.
        room: float64[D].
        order: int64[n], who comes first.
    """
    # Where all of them fit together the order does not matter, so only the others are gone through one by one.
    tight = np.flatnonzero(watts.sum(axis=0) > room)
    needs, left = watts.take(tight, axis=1), np.maximum(room[tight], 0.0)
    taken = ~np.logical_or.reduce(needs > 0.0, axis=1)
    for place in order[~taken[order]]:
        need = needs[place]
        if (need <= left).all():
            left -= need
            taken[place] = True
    return taken
