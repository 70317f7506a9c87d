"""What one tick knows once it has decided: whoever names pods looks at this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Readings, Rung
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.power.charges import Charges


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What one tick knows. S services, D domains.

    Attributes:
        readings, charges, plan: of the tick.
        rung: int64[D], how far a domain's readings are trusted.
        stale: bool[S], readings are too old for the service to rise.
        active: int64[S], replicas that exist and are not terminating.
        unit_watts: float64[S, D], see Snapshot.
        now: Unix seconds.
    """

    readings: Readings
    charges: Charges
    plan: GuardedPlan
    rung: Ints
    stale: Bools
    active: Ints
    unit_watts: Floats
    now: float

    @property
    def frozen(self) -> Bools:
        """bool[D], readings are too old to say anything new."""
        return np.asarray(self.rung >= Rung.FROZEN, dtype=np.bool_)
