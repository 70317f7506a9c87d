"""What was granted, and for how long an autoscaler may still act on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Published, ServiceKey
from wattkeeper.recommender.timeline import Timeline

# A window holds a dozen ticks; this many bound the memory whatever the tick.
MAX_ENTRIES = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Outstanding:
    """What an autoscaler may still do with earlier grants. S services.

    Attributes:
        highest: int64[S], the highest grant that it may still act on; -1 for a service that had none.
        rebound: int64[S], replicas that may yet drain while their successors start: an autoscaler that acts on a
            lower grant first and on a higher, later one next lets both draw at once.
    """

    highest: Ints
    rebound: Ints


class GrantLog:
    """Grants of the last actuation window, by service.

    An autoscaler may act late, but not backwards: once a target's spec has become what some grant said, or has risen to
    what only some grant allows, what was granted before that is spent. A rise may stop short of the grant, because the
    HPA steps or a formula holds demand against it.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._times = Timeline(MAX_ENTRIES)
        self._grants = Timeline(MAX_ENTRIES)
        self._keys: tuple[ServiceKey, ...] = ()
        self._last: dict[ServiceKey, int] = {}
        self._spec: dict[ServiceKey, int] = {}
        self._spent_before: dict[ServiceKey, float] = {}
        self._looked = -np.inf

    def take_over(self, published: Mapping[ServiceKey, Published], now: float) -> None:
        """Starts from what a previous leader published: an autoscaler may be acting on it right now.

        Later calls change nothing: what was decided here counts.
        """
        if published and not len(self._times.values):
            grants = np.array([one.grant for one in published.values()], dtype=np.int64)
            self.record(tuple(published), grants, now)

    def record(self, keys: tuple[ServiceKey, ...], grants: Ints, now: float) -> None:
        """Notes one tick's grants."""
        self._keys = keys
        self._times.append(("time",), np.array([now]))
        self._grants.append(keys, grants.astype(np.float64))
        self._last = dict(zip(keys, grants.tolist(), strict=True))

    def previous(self, keys: tuple[ServiceKey, ...]) -> Ints:
        """Returns int64[S], the last grants; -1 for a service that had none."""
        return np.array([self._last.get(key, -1) for key in keys], dtype=np.int64)

    def outstanding(
        self, keys: tuple[ServiceKey, ...], *, running: Ints, spec_replicas: Ints, now: float
    ) -> Outstanding:
        """Returns what may still come of earlier grants.

        Args:
            keys: S services.
            running: int64[S], replicas that exist and are not terminating.
            spec_replicas: int64[S], what the scale targets' specs ask for.
            now: Unix seconds.
        """
        if not len(self._times.values):
            nothing = np.zeros(len(keys), dtype=np.int64)
            return Outstanding(highest=nothing - 1, rebound=nothing)
        times = self._times.values[:, 0]
        grants = self._aligned(keys)
        # An autoscaler that has acted since the last look could act on what counted then, and on nothing older.
        self._spend(keys, grants, times, spec_replicas, self._first_in_force(self._looked))
        self._looked = now
        in_force = self._first_in_force(now)
        spent = np.array([self._spent_before.get(key, -np.inf) for key in keys])
        live = (np.arange(len(times)) >= in_force)[:, np.newaxis] & (times[:, np.newaxis] >= spent)
        reachable = np.where(live & ~np.isnan(grants), grants, -1.0)
        return Outstanding(
            highest=reachable.max(axis=0).astype(np.int64),
            rebound=_rebound(reachable, np.maximum(running, spec_replicas)),
        )

    def _first_in_force(self, now: float) -> int:
        """Returns the entry that was in force when the window began: the youngest from before it."""
        return int(np.searchsorted(self._times.values[:, 0], now - self._window_seconds, side="right")) - 1

    def _aligned(self, keys: tuple[ServiceKey, ...]) -> Floats:
        """Returns float64[entries, S], NaN where a service had no grant."""
        logged = self._grants.values
        if keys == self._keys:
            return logged
        place = {key: column for column, key in enumerate(self._keys)}
        columns = np.array([place.get(key, -1) for key in keys], dtype=np.int64)
        aligned = np.full((len(logged), len(keys)), np.nan)
        known: Bools = columns >= 0
        aligned[:, known] = logged[:, columns[known]]
        return aligned

    def _spend(
        self, keys: tuple[ServiceKey, ...], grants: Floats, times: Floats, spec_replicas: Ints, first: int
    ) -> None:
        """Notes whose spec has become what some grant said, from the entry `first` on."""
        reachable = times >= times[max(first, 0)]
        for column, (key, spec) in enumerate(zip(keys, spec_replicas.tolist(), strict=True)):
            before = self._spec.get(key)
            if before is not None and before != spec:
                earliest = self._spent_before.get(key, -np.inf)
                live = reachable & (times >= earliest)
                acted = np.flatnonzero((grants[:, column] == spec) & live)
                if not len(acted) and spec > before:
                    acted = np.flatnonzero((grants[:, column] > spec) & live)
                if len(acted):
                    self._spent_before[key] = float(times[acted[0]])
        self._spec = dict(zip(keys, spec_replicas.tolist(), strict=True))
        if len(self._spent_before) > 2 * len(keys) + MAX_ENTRIES:
            self._spent_before = {key: when for key, when in self._spent_before.items() if key in self._spec}


def told(keys: tuple[ServiceKey, ...], published: Mapping[ServiceKey, Published]) -> Ints:
    """Returns int64[S], the grants that autoscalers are told right now, -1 for none.

    Usually the last ones of the log. Where the write of a lower one keeps failing, the higher one is still told,
    however long ago it was decided.
    """
    return np.array([published[key].grant if key in published else -1 for key in keys], dtype=np.int64)


def _rebound(reachable: Floats, running: Ints) -> Ints:
    """Returns int64[S] of float64[entries, S], oldest first, -1 where an entry no longer counts."""
    if len(reachable) < 2:
        return np.zeros(len(running), dtype=np.int64)
    highest = np.maximum(np.maximum.accumulate(reachable, axis=0), running)[:-1]
    later = np.maximum.accumulate(reachable[::-1], axis=0)[::-1][1:]
    dip = np.where(reachable[:-1] >= 0, np.minimum(later, highest) - reachable[:-1], 0.0)
    return np.maximum(dip.max(axis=0), 0.0).astype(np.int64)
