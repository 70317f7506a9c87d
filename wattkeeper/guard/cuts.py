"""Rule 7: what still exceeds a limit is cut, lowest priority first, one replica at a time, down to floors."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot, planned_watts, running_grants, total_watts
from wattkeeper.guard.standing import ROUNDING_WATTS

_FEW_REPLICAS = 4096


def cut_to_limits(snapshot: Snapshot, grants: Ints, touching: Bools) -> Ints:
    """Returns grants whose planned sums are inside every limit, or at floors: int64[S], never above `grants`.

    Within a priority, services lose the same fraction of their replicas, the later one of the snapshot first.

    Args:
        snapshot: what is planned with.
        grants: int64[S].
        touching: bool[S, D], what may draw in a domain at all.
    """
    cut = grants.copy()
    lowest = np.minimum(snapshot.floor, grants)
    planned = planned_watts(snapshot, cut)
    over = np.flatnonzero(planned > snapshot.limit_watts + ROUNDING_WATTS)
    # Narrow domains first: what a rack has to lose helps its row as well, and seldom the other way round.
    for domain in over[np.argsort(touching[:, over].sum(axis=0), kind="stable")]:
        excess = float(planned[domain] - snapshot.limit_watts[domain])
        if not excess > ROUNDING_WATTS:
            continue
        rows = np.flatnonzero(touching[:, domain] & (cut > lowest))
        column = _Column(snapshot, rows, int(domain))
        before = cut[rows]
        after = _cut_domain(column, before, lowest[rows], snapshot.priority[rows], excess)
        changed = after < before
        rows, before, after = rows[changed], before[changed], after[changed]
        planned -= _draw_change(snapshot, rows, before, after)
        cut[rows] = after
    return cut


class _Column:
    """What replicas of some services draw in one domain, by Snapshot's formula."""

    def __init__(self, snapshot: Snapshot, rows: Ints, domain: int) -> None:
        active = snapshot.active[rows]
        watts = snapshot.active_watts[rows, domain]
        self._active = running_grants(snapshot)[rows]
        self._each = np.divide(watts, active, out=np.zeros(len(rows)), where=active > 0)
        self._unit = snapshot.unit_watts[rows, domain]

    def draw(self, replicas: Ints, among: Ints | slice = slice(None)) -> Floats:
        """Returns float64[...], the draw of `replicas` of the services `among` the rows."""
        active = self._active[among]
        kept = np.minimum(replicas, active)
        return kept * self._each[among] + (replicas - kept) * self._unit[among]


def _cut_domain(column: _Column, grants: Ints, lowest: Ints, priority: Ints, excess: float) -> Ints:
    """Cuts whole classes from the lowest priority on, the last one only as far as needed."""
    cut = grants.copy()
    savings = column.draw(grants) - column.draw(lowest)
    for value in np.unique(priority):
        members = np.flatnonzero((priority == value) & (savings > 0.0))
        available = float(savings[members].sum())
        if available > excess - ROUNDING_WATTS:
            cut[members] = _cut_class(column, members, grants[members], lowest[members], excess)
            break
        cut[members] = lowest[members]
        excess -= available
    return cut


def _cut_class(column: _Column, members: Ints, grants: Ints, lowest: Ints, excess: float) -> Ints:
    """Takes the same fraction from all members, then single replicas until `excess` watts are saved."""
    before = column.draw(grants, members)
    high, low = grants, lowest
    level_high, level_low = 1.0, 0.0
    # Bracket first, so that the list of single replicas stays short however many are granted.
    for _ in range(64):
        if int((high - low).sum()) <= max(_FEW_REPLICAS, 2 * len(members)):
            break
        level = (level_high + level_low) / 2
        middle = np.minimum(np.maximum(np.ceil(level * grants).astype(np.int64), low), high)
        if float((before - column.draw(middle, members)).sum()) > excess - ROUNDING_WATTS:
            low, level_low = middle, level
        else:
            high, level_high = middle, level
    spare = high - low
    owner = np.repeat(np.arange(len(members)), spare)
    number = np.repeat(high, spare) - (np.arange(len(owner)) - np.repeat(np.cumsum(spare) - spare, spare))
    order = np.lexsort((-owner, -(number / grants[owner])))
    owner, number = owner[order], number[order]
    saved = column.draw(number, members[owner]) - column.draw(number - 1, members[owner])
    already = float((before - column.draw(high, members)).sum())
    needed = int(np.searchsorted(already + np.cumsum(saved), excess - ROUNDING_WATTS)) + 1
    after = high - np.bincount(owner[:needed], minlength=len(members))
    # Replicas that would land elsewhere only are no use here unless those below them go as well.
    return np.where(before - column.draw(after, members) > 0.0, after, grants)


def _draw_change(snapshot: Snapshot, rows: Ints, before: Ints, after: Ints) -> Floats:
    """Returns float64[D], what all domains save when `rows` go from `before` to `after` replicas."""
    active, running = snapshot.active[rows], running_grants(snapshot)[rows]
    kept = (np.minimum(before, running) - np.minimum(after, running)).astype(np.float64)
    share = np.divide(kept, active, out=np.zeros(len(rows)), where=active > 0)
    added = (np.maximum(before - running, 0) - np.maximum(after - running, 0)).astype(np.float64)
    return total_watts(share, snapshot.active_watts[rows]) + total_watts(added, snapshot.unit_watts[rows])
