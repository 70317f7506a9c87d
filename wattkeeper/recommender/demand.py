"""Demand in whole replicas, stabilised as the HPA stabilises its own recommendations."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, ServiceKey
from wattkeeper.recommender.timeline import Timeline

# The longest stabilisation window that a policy may ask for (its schema's maximum), at the shortest tick that is kept.
MAX_WINDOW_SECONDS = 3600.0
KEPT_EVERY_SECONDS = 5.0
# ceil() of a demand that is a whole number but for rounding must not yield one replica more.
ROUNDING = 1e-9


class DemandWindow:
    """Remembers demand, and answers with the highest of each service's own window.

    The HPA's documented rule for scaling down: the highest recommendation of stabilizationWindowSeconds counts.
    """

    def __init__(self) -> None:
        capacity = int(MAX_WINDOW_SECONDS / KEPT_EVERY_SECONDS) + 2
        self._times = Timeline(capacity)
        self._demand = Timeline(capacity)

    def stabilised(self, keys: tuple[ServiceKey, ...], raw: Floats, window_seconds: Floats, now: float) -> Floats:
        """Adds this tick's demand and returns the stabilised one.

        Args:
            keys: S services.
            raw: float64[S] replicas, not rounded; NaN unknown.
            window_seconds: float64[S].
            now: Unix seconds.

        Returns:
            float64[S] whole numbers; NaN where demand is unknown now.
        """
        whole = np.ceil(raw - ROUNDING)
        starts = self._starts()
        if len(starts) and now - starts[-1] < KEPT_EVERY_SECONDS:
            # Ticks closer together than the ring's grain share a row, which keeps the highest of them.
            self._demand.append(keys, whole)
            latest = self._demand.values[-2:]
            self._demand.drop_newest()
            self._demand.amend(np.fmax.reduce(latest, axis=0))
        else:
            self._demand.append(keys, whole)
            self._times.append(("time",), np.array([now]))
        ages = now - self._starts()
        inside = ages[:, np.newaxis] < window_seconds[np.newaxis, :]
        highest = np.fmax.reduce(np.where(inside, self._demand.values, np.nan), axis=0)
        return np.where(np.isnan(raw), np.nan, np.fmax(highest, whole))

    def _starts(self) -> Floats:
        return self._times.values[:, 0] if len(self._times.values) else np.empty(0)

    def seed(self, keys: tuple[ServiceKey, ...], demand: Floats, now: float) -> None:
        """Takes over what a previous leader knew, so that a change of leader does not look like a fall of demand."""
        self._demand.append(keys, demand)
        self._times.append(("time",), np.array([now]))

    def assume(self, demand: Floats) -> None:
        """Remembers an assumed demand (float64[S]) with this tick, where nothing was measured."""
        newest = self._demand.values[-1]
        self._demand.amend(np.where(np.isnan(newest), demand, newest))

    def last_known(self) -> Floats:
        """Returns float64[S], for the services of the last call: the youngest demand that was known, NaN if never."""
        values = self._demand.values
        if not len(values):
            return np.empty(0)
        known = ~np.isnan(values)
        youngest = len(values) - 1 - np.argmax(known[::-1], axis=0)
        return values[youngest, np.arange(values.shape[1])]


def whole_demand(
    stabilised: Floats, last_known: Floats, *, active: Ints, committed: Ints, floor: Ints, ceiling: Ints
) -> tuple[Ints, Bools]:
    """Returns int64[S] demand inside [floor, ceiling], and bool[S] whether it is known.

    A service without active replicas has nothing to measure: its last known demand counts as known, else a cap that
    took it to zero would keep it there. Where demand is unknown, what is committed stands in.
    """
    idle = np.isnan(stabilised) & (active == 0) & ~np.isnan(last_known)
    value = np.where(idle, last_known, stabilised)
    known = ~np.isnan(value)
    whole = np.where(known, np.nan_to_num(value), committed).astype(np.int64)
    return np.clip(whole, floor, np.maximum(ceiling, floor)), known
