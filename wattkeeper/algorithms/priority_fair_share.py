"""Priority classes first, fair shares of demand within a class: the default.

1. Every service gets its floor.
2. Class by class, the highest priority first, services rise from their floors towards their demands by progressive
   filling: all at the same fraction of their demand, until a domain that they draw in is full.
3. Whole replicas are made of the shares by largest remainder, with the watts that are left. A service that had the
   replica in the last plan goes first, so that noise in the demand does not move replicas to and fro.
4. What no demand needs goes to what is wanted beyond, class by class and in the same way.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.algorithms.draw import ROUNDING_WATTS, Draw
from wattkeeper.algorithms.filling import fill
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import Snapshot, planned_watts


class PriorityFairShare:
    """See the module. It keeps no state and takes no parameters.

    It plans for the time after all drains: a cut of low priorities and the raise that it makes room for are
    proposed together, and the guard grants the raise as the watts become free.
    """

    def decide(self, snapshot: Snapshot) -> Plan:
        """Proposes grants whose planned sums are inside every limit that the floors leave room in.

        Raises:
            ValueError: watts are NaN or negative.
        """
        _check(snapshot)
        lowest = np.minimum(snapshot.floor, snapshot.ceiling)
        demand = np.minimum(np.maximum(snapshot.demand, lowest), snapshot.ceiling)
        wanted = np.minimum(np.maximum(snapshot.wanted, demand), snapshot.ceiling)
        sharing = _Sharing(snapshot, lowest)
        classes = [np.flatnonzero(snapshot.priority == value) for value in np.unique(snapshot.priority)[::-1]]
        for target in (demand, wanted):
            for rows in classes:
                sharing.raise_to(rows[sharing.grants[rows] < target[rows]], target)
        return Plan(grants=sharing.grants)


class _Sharing:
    """Watts being shared out.

    Attributes:
        grants: int64[S], so far.
    """

    def __init__(self, snapshot: Snapshot, lowest: Ints) -> None:
        self.grants = lowest.astype(np.int64)
        self._draw = Draw(snapshot)
        self._room = snapshot.limit_watts - planned_watts(snapshot, self.grants)
        self._previous = snapshot.previous
        self._name_rank = np.empty(len(snapshot.services), dtype=np.int64)
        self._name_rank[np.argsort(np.array(snapshot.services, dtype=np.str_), kind="stable")] = np.arange(
            len(snapshot.services)
        )

    def raise_to(self, rows: Ints, target: Ints) -> None:
        """Raises the services in `rows` together towards `target`."""
        if not len(rows):
            return
        before = self.grants[rows]
        shares = fill(self._draw, rows, before, target[rows], self._room)
        whole = np.maximum(np.floor(shares + ROUNDING_WATTS).astype(np.int64), before)
        self._room -= self._draw.change(rows, before, whole)
        self.grants[rows] = whole
        while self._raise_by_one(rows, shares, target):
            pass

    def _raise_by_one(self, rows: Ints, shares: Floats, target: Ints) -> bool:
        """Gives one more replica to every service that still fits; returns whether there was one."""
        below = self.grants[rows] < target[rows]
        rows, shares = rows[below], shares[below]
        watts = self._draw.next_replica(rows, self.grants[rows])
        room = self._room + ROUNDING_WATTS
        fits = np.all((watts <= 0.0) | (watts <= room), axis=1)
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
        self._room -= watts[taken].sum(axis=0)
        return bool(taken.any())


def _check(snapshot: Snapshot) -> None:
    """Refuses what no plan can be made with."""
    for name in ("unit_watts", "active_watts"):
        watts: Floats = getattr(snapshot, name)
        if not (watts >= 0.0).all():
            raise ValueError(f"{name} holds NaN or negative watts; give upper bounds")
    if np.isnan(snapshot.limit_watts).any() or np.isnan(snapshot.base_watts).any():
        raise ValueError("limit_watts or base_watts holds NaN; give upper bounds for what is unknown")
