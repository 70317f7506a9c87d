"""Snapshot's two-segment formula, prepared for many evaluations."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import Snapshot

ROUNDING_WATTS = 1e-6
"""Sums of the same watts in another order differ by less than this."""


class Draw:
    """What replicas draw in each domain.

    Attributes:
        active: float64[S], replicas up to which `each` counts.
        each: float64[S, D], watts of one replica among the active ones.
        unit: float64[S, D], watts of one replica above them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.active = snapshot.active.astype(np.float64)
        inverse = np.divide(1.0, self.active, out=np.zeros(len(self.active)), where=self.active > 0)
        self.each = snapshot.active_watts * inverse[:, None]
        self.unit = snapshot.unit_watts

    def change(self, rows: Ints, before: Ints, after: Ints) -> Floats:
        """Returns float64[D], what all domains draw more when `rows` go from `before` to `after` replicas."""
        active = self.active[rows]
        kept = np.minimum(after, active) - np.minimum(before, active)
        added = np.maximum(after - active, 0.0) - np.maximum(before - active, 0.0)
        return kept @ self.each[rows] + added @ self.unit[rows]

    def gains(self, rows: Ints, before: Ints, after: Ints) -> Floats:
        """Returns float64[len(rows), D], as `change`, service by service."""
        active = self.active[rows]
        kept = np.minimum(after, active) - np.minimum(before, active)
        added = np.maximum(after - active, 0.0) - np.maximum(before - active, 0.0)
        return kept[:, None] * self.each[rows] + added[:, None] * self.unit[rows]

    def next_replica(self, rows: Ints, replicas: Ints) -> Floats:
        """Returns float64[len(rows), D], what the replica after `replicas` draws."""
        return np.where((replicas < self.active[rows])[:, None], self.each[rows], self.unit[rows])
