"""Columns over the last ticks for a set of names that changes: a bounded ring that follows its rows by name."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from wattkeeper.api.readings import Floats


class Timeline:
    """The last `capacity` rows of float64[n], one per tick, oldest first.

    When names come, go or change places, earlier rows follow their names; a name that is new has NaN before.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._names: tuple[Hashable, ...] = ()
        self._values = np.empty((0, 0))

    @property
    def values(self) -> Floats:
        """float64[h, n], h <= capacity."""
        return self._values

    def append(self, names: tuple[Hashable, ...], row: Floats) -> None:
        """Adds the newest row and forgets the oldest where the ring is full."""
        if names is not self._names and names != self._names:
            self._values = self._moved(names)
        self._names = names
        kept = self._values[max(len(self._values) + 1 - self._capacity, 0) :]
        self._values = np.concatenate([kept, row[np.newaxis, :]])

    def drop_newest(self) -> None:
        """Forgets the newest row."""
        self._values = self._values[:-1]

    def amend(self, row: Floats) -> None:
        """Replaces the newest row; its names stay."""
        self._values = np.concatenate([self._values[:-1], row[np.newaxis, :]])

    def _moved(self, names: tuple[Hashable, ...]) -> Floats:
        place = {name: column for column, name in enumerate(self._names)}
        moved = np.full((len(self._values), len(names)), np.nan)
        known = [(new, place[name]) for new, name in enumerate(names) if name in place]
        if known:
            new, old = np.array(known).T
            moved[:, new] = self._values[:, old]
        return moved
