"""Priority classes first, fair shares of demand within a class: the default.

What each service is due is decided by what its replicas are expected to draw:

1. Every service gets its floor.
2. Class by class, the highest priority first, services rise from their floors towards their demands by progressive
   filling: all at the same fraction of their demand, until a domain that they draw in is full.
3. What no demand needs goes to what is wanted beyond, class by class and in the same way.

What is proposed now is at most that, and fits by Snapshot's formula, where every further replica counts in full in
every domain it may land in:

4. What runs and is due stays. What is under way and due stays next, and raises come last, class by class.

The difference matters where a service may land in any of many racks. Planned at worst, one service's raise by ten
would push ten replicas out of each rack. Planned as expected, ten go, in all, and a raise takes several rounds: as
replicas land, they stop counting elsewhere. So that there is a next round even if all racks are full, each domain sets
aside as much as the largest replica that anybody is short of needs beyond what all raises hold there.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.algorithms.draw import Draw, expected, worst_case
from wattkeeper.algorithms.sharing import Sharing
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot, planned_watts, running_grants


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
        classes = [np.flatnonzero(snapshot.priority == value) for value in np.unique(snapshot.priority)[::-1]]
        standing = np.minimum(
            snapshot.committed, np.where(snapshot.previous >= 0, snapshot.previous, snapshot.committed)
        )
        draw = worst_case(snapshot)
        due = _due(snapshot, draw, classes, lowest, standing)

        running = np.maximum(lowest, np.minimum(np.minimum(due, standing), running_grants(snapshot)))
        room = snapshot.limit_watts - planned_watts(snapshot, running)
        sharing = Sharing(snapshot, draw, running, room)
        for target in (np.minimum(due, standing), due):
            for rows in classes:
                sharing.raise_to(rows, target)
        return Plan(grants=sharing.grants)


def _due(snapshot: Snapshot, draw: Draw, classes: list[Ints], lowest: Ints, standing: Ints) -> Ints:
    """Returns what each service is due by what replicas are expected to draw: int64[S]."""
    room = snapshot.limit_watts - planned_watts(snapshot, lowest)
    highest = np.where(_cannot_rise(snapshot, room), np.maximum(standing, lowest), snapshot.ceiling)
    demand = np.minimum(np.maximum(snapshot.demand, lowest), highest)
    wanted = np.minimum(np.maximum(snapshot.wanted, demand), highest)
    mean = expected(snapshot, draw)
    sharing = Sharing(snapshot, mean, lowest, room)
    aside = np.zeros(len(snapshot.domains))
    largest, held = aside, aside

    def next_raise(short: Ints) -> tuple[Floats, Floats, Floats]:
        """Returns the largest replica that anybody is short of, what all raises hold already, and what that lacks."""
        unit = np.maximum(largest, snapshot.unit_watts[short].max(axis=0, initial=0.0))
        raises = held + mean.only(short).total_gains(standing[short], sharing.grants[short])
        return unit, raises, np.maximum(unit - raises, 0.0)

    for rows in classes:
        before, room = sharing.grants[rows], sharing.room_watts.copy()
        sharing.raise_to(rows, demand)
        # Equals make room for each other only where somebody is short by more than rounding.
        short = rows[sharing.grants[rows] - standing[rows] >= np.where(standing[rows] > 0, 2, 1)]
        lack = np.maximum(next_raise(short)[2], aside) - aside
        if (sharing.room_watts < lack).any() and (sharing.grants[rows] < standing[rows]).any():
            sharing.grants[rows] = before
            sharing.room_watts = room - lack
            sharing.raise_to(rows, demand)
            aside = aside + lack
        # Lower classes make room for whoever is short of anything.
        largest, held, lack = next_raise(rows[sharing.grants[rows] > standing[rows]])
        sharing.room_watts -= lack - aside
        aside = lack
    for rows in classes:
        sharing.raise_to(rows, wanted)
    return sharing.grants


def _cannot_rise(snapshot: Snapshot, room_watts: Floats) -> Bools:
    """Returns bool[S]: readings are too old, or a domain has no room even with everyone at the floor.

    Nobody should make room for a raise that cannot happen.
    """
    frozen = np.flatnonzero(snapshot.frozen)
    stale = np.zeros(len(snapshot.services), dtype=np.bool_)
    for watts in (snapshot.unit_watts, snapshot.active_watts, snapshot.draining_watts):
        stale |= np.logical_or.reduce(watts.take(frozen, axis=1) > 0.0, axis=1)
    return stale | np.logical_or.reduce(snapshot.unit_watts > np.maximum(room_watts, 0.0), axis=1)


def _check(snapshot: Snapshot) -> None:
    """Refuses what no plan can be made with."""
    for name in ("unit_watts", "active_watts"):
        watts: Floats = getattr(snapshot, name)
        if not (watts >= 0.0).all():
            raise ValueError(f"{name} holds NaN or negative watts; give upper bounds")
    if np.isnan(snapshot.limit_watts).any() or np.isnan(snapshot.base_watts).any():
        raise ValueError("limit_watts or base_watts holds NaN; give upper bounds for what is unknown")
