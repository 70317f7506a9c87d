"""What was granted, and for how long an autoscaler may still act on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from wattkeeper.api.readings import Ints, Published, ServiceKey


class GrantLog:
    """Grants of the last actuation window, by service."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._log: deque[tuple[float, tuple[ServiceKey, ...], Ints]] = deque()
        self._last: dict[ServiceKey, int] = {}

    def take_over(self, published: Mapping[ServiceKey, Published], now: float) -> None:
        """Starts from what a previous leader published: an autoscaler may be acting on it right now."""
        if not self._log and published:
            grants = np.array([one.grant for one in published.values()], dtype=np.int64)
            self.record(tuple(published), grants, now)

    def record(self, keys: tuple[ServiceKey, ...], grants: Ints, now: float) -> None:
        """Notes one tick's grants."""
        self._log.append((now, keys, grants))
        self._last = dict(zip(keys, grants.tolist(), strict=True))
        # The youngest entry from before the window was in force when the window began: it stays.
        while len(self._log) > 1 and now - self._log[1][0] >= self._window_seconds:
            self._log.popleft()

    def previous(self, keys: tuple[ServiceKey, ...]) -> Ints:
        """Returns int64[S], the last grants; -1 for a service that had none."""
        return np.array([self._last.get(key, -1) for key in keys], dtype=np.int64)

    def highest(self, keys: tuple[ServiceKey, ...]) -> Ints:
        """Returns int64[S], the highest grant of the window; -1 for a service that had none."""
        highest = np.full(len(keys), -1, dtype=np.int64)
        aligned: tuple[ServiceKey, ...] | None = None
        rows: Ints = np.empty(0, dtype=np.int64)
        for _, logged, grants in self._log:
            if logged is keys:
                np.maximum(highest, grants, out=highest)
                continue
            if logged is not aligned:
                place = {key: row for row, key in enumerate(keys)}
                rows = np.array([place.get(key, -1) for key in logged], dtype=np.int64)
                aligned = logged
            known = rows >= 0
            highest[rows[known]] = np.maximum(highest[rows[known]], grants[known])
        return highest
