"""The most memory that containers took while their pods were loading: more than serving takes, for many a model.

Percentiles forget it, because a pod loads for minutes and serves for days. It is kept for two weeks of loads: peaks of
the last 14 days before a container's latest load. So a container that has not loaded for a month still remembers how
that went, and one whose model has become smaller forgets the old one a fortnight after.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wattkeeper.api.readings import Floats, Ints

DAYS: Final = 14
_DAY_SECONDS: Final = 86_400.0
_NEVER: Final = -(10**9)


class LoadPeaks:
    """Peaks per day for each row, in a ring of days."""

    def __init__(self) -> None:
        self.bytes: Floats = np.zeros((0, DAYS))
        self.days: npt.NDArray[np.int32] = np.zeros((0, DAYS), dtype=np.int32)

    def grow(self, rows: int) -> None:
        """Makes room for so many rows."""
        more = (rows - len(self.bytes), DAYS)
        self.bytes = np.concatenate([self.bytes, np.zeros(more)])
        self.days = np.concatenate([self.days, np.full(more, _NEVER, dtype=np.int32)])

    def clear(self, rows: Ints) -> None:
        """Forgets rows."""
        self.bytes[rows] = 0.0
        self.days[rows] = _NEVER

    def add(self, rows: Ints, memory_bytes: Floats, times: Floats) -> None:
        """Takes what loading containers use at these times (Unix seconds); a row may be named more than once."""
        days = np.floor(times / _DAY_SECONDS).astype(np.int32)
        slots = days % DAYS
        # A slot that holds an older day is begun anew; one that holds a younger day has nothing to learn from this one.
        newer = days > self.days[rows, slots]
        self.bytes[rows[newer], slots[newer]] = 0.0
        np.maximum.at(self.days, (rows, slots), days)
        counts = days == self.days[rows, slots]
        np.maximum.at(self.bytes, (rows[counts], slots[counts]), memory_bytes[counts])

    def most(self, row: int) -> float:
        """Returns a row's peak in bytes, 0 where it never loaded."""
        days = self.days[row]
        return float(self.bytes[row].max(where=days > days.max() - DAYS, initial=0.0))
