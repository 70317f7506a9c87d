"""Containers of single pods: what was last heard of each, so that no sample counts twice and each day has one peak.

The rules are those of vertical-pod-autoscaler/pkg/recommender/model/container.go: a sample that is not newer than the
last one is discarded (addCPUSample), and memory counts with one peak per aggregation interval, whose end stands for its
time (addMemorySample; model/aggregations_config.go: DefaultMemoryAggregationInterval is 24 h). Unlike there, this
survives a restart: else each one would count the current usage as one more peak of every pod.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np

from admission.usage_state import InstanceState
from wattkeeper.api.readings import Bools, Floats, Ints

WINDOW_SECONDS: Final = 86_400.0
DIGEST_BYTES: Final = 8
_QUIET_SECONDS: Final = 3_600.0


class Peaks(NamedTuple):
    """What becomes of memory peaks, n rows.

    Attributes:
        changed: bool[n], there is a new peak to count.
        replaces: int64[n], bucket of the peak that it replaces, -1 where it is the first of its window.
        times: float64[n], Unix seconds, the window's end: the time of the new peak and of the old one.
    """

    changed: Bools
    replaces: Ints
    times: Floats


class Instances:
    """Rows by (pod's UID, container)."""

    def __init__(self, most: int) -> None:
        """Begins empty.

        Args:
            most: rows that there may be at once.
        """
        self._most = most
        self._row_of: dict[tuple[str, str], int] = {}
        # Of a checkpoint: rows that nobody has asked for by name yet.
        self._restored: dict[bytes, int] = {}
        self._digests: list[bytes] = []
        self._free: list[int] = []
        # Series, then last sample, end of the memory window (Unix seconds, 0 none yet), bucket of the window's peak.
        self._series = np.zeros(0, dtype=np.int64)
        self._last = np.zeros(0)
        self._window_end = np.zeros(0)
        self._peak = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._digests) - len(self._free)

    @property
    def full(self) -> bool:
        """Says whether there is no room for another one."""
        return len(self) >= self._most

    def find(self, uid: str, container: str) -> int | None:
        """Returns the row of a container, None where it was not heard of before."""
        name = (uid, container)
        row = self._row_of.get(name)
        if row is None and self._restored:
            row = self._restored.pop(digest_of(uid, container), None)
            if row is not None:
                self._row_of[name] = row
        return row

    def new(self, uid: str, container: str, series: int) -> int:
        """Returns a row for a container that was not heard of before."""
        if self._free:
            row = self._free.pop()
            self._digests[row] = digest_of(uid, container)
        else:
            row = len(self._digests)
            self._digests.append(digest_of(uid, container))
            if row == len(self._series):
                self._grow(max(row + row // 2, 256))
        self._row_of[uid, container] = row
        self._series[row] = series
        self._last[row], self._window_end[row], self._peak[row] = -np.inf, 0.0, -1
        return row

    def series(self, rows: Ints) -> Ints:
        """Returns the series that each row belongs to."""
        return self._series[rows]

    def newer(self, rows: Ints, times: Floats) -> tuple[Bools, Bools]:
        """Says which samples are newer than the last one of their row, and which are that very one again."""
        return times > self._last[rows], times == self._last[rows]

    def heard(self, rows: Ints, times: Floats) -> None:
        """Notes samples, one a row at most."""
        self._last[rows] = times

    def peaks(self, rows: Ints, buckets: Ints, times: Floats) -> Peaks:
        """Notes memory samples, one a row at most, and says which are peaks of their windows so far."""
        # Whole seconds, which a checkpoint keeps.
        end = np.where(self._window_end[rows] > 0.0, self._window_end[rows], np.floor(times))
        over = times >= end
        end = np.where(over, end + (np.floor((times - end) / WINDOW_SECONDS) + 1.0) * WINDOW_SECONDS, end)
        old = np.where(over, -1, self._peak[rows])
        changed = buckets > old
        self._window_end[rows] = end
        self._peak[rows] = np.where(changed, buckets, old)
        return Peaks(changed, old, end)

    def forget(self, now: float, gone_series: Ints) -> None:
        """Forgets rows that have nothing left to say, and all of some series.

        Once its window is over, a container that is heard of again begins like a new one, so nothing is lost.

        Args:
            now: Unix seconds of the youngest sample of all.
            gone_series: series that are forgotten.
        """
        used = np.ones(len(self._digests), dtype=np.bool_)
        used[self._free] = False
        count = len(used)
        over = np.maximum(self._window_end[:count], self._last[:count] + _QUIET_SECONDS) < now
        gone = np.flatnonzero(used & (over | np.isin(self._series[:count], gone_series)))
        if not gone.size:
            return
        gone_rows = set(gone.tolist())
        self._row_of = {name: row for name, row in self._row_of.items() if row not in gone_rows}
        self._restored = {digest: row for digest, row in self._restored.items() if row not in gone_rows}
        self._free += gone.tolist()

    def state(self, number_of: Ints) -> InstanceState:
        """Returns what is known.

        Args:
            number_of: the number that each series has in the state.
        """
        free = set(self._free)
        rows = [row for row in range(len(self._digests)) if row not in free]
        return InstanceState(
            digests=b"".join(self._digests[row] for row in rows),
            series=number_of[self._series[rows]],
            # Rounded up: what was counted does not count again.
            last=np.ceil(self._last[rows]).astype(np.int64),
            window_end=self._window_end[rows].astype(np.int64),
            peak=self._peak[rows],
        )

    @classmethod
    def restored(cls, state: InstanceState, most: int) -> Instances:
        """Returns what a state tells of."""
        made = cls(most)
        digests = state.digests
        made._digests = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
        made._restored = {digest: row for row, digest in enumerate(made._digests)}
        made._series = state.series.copy()
        made._last = state.last.astype(np.float64)
        made._window_end = state.window_end.astype(np.float64)
        made._peak = state.peak.copy()
        return made

    def _grow(self, rows: int) -> None:
        more = rows - len(self._series)
        self._series = np.concatenate([self._series, np.zeros(more, dtype=np.int64)])
        self._last = np.concatenate([self._last, np.zeros(more)])
        self._window_end = np.concatenate([self._window_end, np.zeros(more)])
        self._peak = np.concatenate([self._peak, np.zeros(more, dtype=np.int64)])


def digest_of(uid: str, container: str) -> bytes:
    """Returns a short name of a container of a pod, for checkpoints."""
    return blake2b(f"{uid}/{container}".encode(), digest_size=DIGEST_BYTES).digest()
