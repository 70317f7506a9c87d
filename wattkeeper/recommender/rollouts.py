"""Rollouts of gated services: the one replica more that a surge needs.

In order of priority, for each service that rolls and takes no old replica away before a new one is ready:

1. its planned sum with one more replica fits: it is planned;
2. else, with a grant of two or more and above its floor: its ceiling is one less than what it would get, and the surge
   is planned: the service makes room for itself. Where the actuator makes an old pod go first it is blocked instead,
   which is what the actuator waits for: that needs nobody who lowers replicas, and keeps to PodDisruptionBudgets;
3. else, lower priorities can free the watts, above their floors: the surge is planned, and the algorithm takes from the
   lowest;
4. else the rollout is blocked.

A surge that is out already is planned whatever comes of this: it draws. Stale readings start none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot, planned_watts

ROUNDING_WATTS = 1e-6
"""Sums of the same watts in another order differ by less than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollouts:
    """What is planned for rollouts. S services.

    Attributes:
        surge: int64[S], replicas beyond the grant.
        ceiling: int64[S], the snapshot's, but lower for those that make room for themselves.
        blocked: bool[S].
        lacking: whether somebody has to make room, so that all grants have to be proposed again.
    """

    surge: Ints
    ceiling: Ints
    blocked: Bools
    lacking: bool


def plan_rollouts(snapshot: Snapshot, grants: Ints, rolling: Bools, replacing: Bools) -> Rollouts:
    """Plans surges beside grants that were decided without any.

    Args:
        snapshot: without surges.
        grants: int64[S].
        rolling: bool[S], gated services that need a surge to go on.
        replacing: bool[S], services of which an old pod is made to go first where there are no watts for a surge.
    """
    surge = np.zeros(len(grants), dtype=np.int64)
    ceiling, blocked, lacking = snapshot.ceiling.copy(), np.zeros(len(grants), dtype=np.bool_), False
    rows = np.flatnonzero(rolling & (grants > 0))
    if not len(rows):
        return Rollouts(surge=surge, ceiling=ceiling, blocked=blocked, lacking=lacking)
    planned = planned_watts(snapshot, grants)
    room = snapshot.limit_watts - planned
    touching = (snapshot.unit_watts > 0.0) | (snapshot.active_watts > 0.0) | (snapshot.draining_watts > 0.0)
    stale = np.logical_or.reduce(touching[:, snapshot.frozen], axis=1)
    out_already = (snapshot.active > snapshot.previous) & (snapshot.previous > 0)
    freeable: dict[int, Floats] = {}
    promised = np.zeros(len(room))
    for row in rows[np.argsort(-snapshot.priority[rows], kind="stable")].tolist():
        surge[row] = out_already[row]
        if stale[row]:
            blocked[row] = not surge[row]
            continue
        need = _next_replica(snapshot, row, int(grants[row]))
        lack = np.where(need > 0.0, need - np.maximum(room, 0.0), 0.0)
        if (lack <= ROUNDING_WATTS).all():
            surge[row] = 1
            room -= need
            continue
        priority = int(snapshot.priority[row])
        if grants[row] >= 2 and grants[row] > snapshot.floor[row]:
            if replacing[row]:
                blocked[row] = not surge[row]
                continue
            ceiling[row] = grants[row] - 1
            surge[row], lacking = 1, True
            continue
        if priority not in freeable:
            freeable[priority] = planned - _without_lower(snapshot, grants, priority)
        if (lack <= freeable[priority] - promised + ROUNDING_WATTS).all():
            promised += np.maximum(lack, 0.0)
            room -= np.minimum(np.maximum(room, 0.0), need)
            surge[row], lacking = 1, True
        else:
            blocked[row] = not surge[row]
    return Rollouts(surge=surge, ceiling=ceiling, blocked=blocked, lacking=lacking)


def with_rollouts(snapshot: Snapshot, rollouts: Rollouts, granted: Ints) -> Snapshot:
    """Returns the snapshot with surges planned.

    Args:
        snapshot: without surges.
        rollouts: what is planned.
        granted: int64[S], the highest grant that may still be acted on, -1 for none.
    """
    surges = rollouts.surge > 0
    # A surge that is out counts as a surge, not as one more of those that are committed.
    reserved = np.maximum(snapshot.active - rollouts.surge, granted)
    return replace(
        snapshot,
        surge=rollouts.surge,
        ceiling=rollouts.ceiling,
        committed=np.where(surges, reserved, snapshot.committed),
        started=np.where(surges, reserved, snapshot.started),
    )


def _next_replica(snapshot: Snapshot, row: int, grant: int) -> Floats:
    """Returns float64[D], what the replica after `grant` draws."""
    active = int(snapshot.active[row])
    return snapshot.active_watts[row] / active if grant < active else snapshot.unit_watts[row]


def _without_lower(snapshot: Snapshot, grants: Ints, priority: int) -> Floats:
    """Returns float64[D], the planned sum with all services of lower priority at their floors."""
    floors = np.minimum(grants, snapshot.floor)
    return planned_watts(snapshot, np.where(snapshot.priority < priority, floors, grants))
