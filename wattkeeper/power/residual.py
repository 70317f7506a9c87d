"""What a domain's meter shows beyond what the model expects: learned slowly, added to the guarded sum, never below 0.

    r += (1 - exp(-dt / tau)) (meter - expected - r),   0 <= r <= share * limit

It stands still while the meter or the domain's readings are not fresh: feedback only trims the model, and a meter
that fails must not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import BudgetRows, Floats, Ints, Rung
from wattkeeper.power import cleaning
from wattkeeper.power.checkpoint import TableState
from wattkeeper.power.ladder import DOMAIN_SHARE
from wattkeeper.power.memory import ColumnKind, Memory
from wattkeeper.power.settings import ModelSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Domains:
    """Which nodes lie in which of D domains: one entry per pair of them.

    Attributes:
        node, domain: int64[n].
        count: D.
    """

    node: Ints
    domain: Ints
    count: int

    @classmethod
    def of(cls, domains: Ints, count: int) -> Domains:
        """Reads int64[N, J], padded with -1."""
        inside = (domains >= 0).ravel()
        node = np.repeat(np.arange(len(domains)), domains.shape[1])[inside]
        return cls(node=node, domain=domains.ravel()[inside], count=count)

    def sums(self, per_node: Floats, meter: Ints) -> Floats:
        """Sums float64[3, N] in each domain's own meter (int64[D]): float64[D]."""
        values = per_node[meter[self.domain], self.node]
        return np.bincount(self.domain, weights=values, minlength=self.count).astype(np.float64, copy=False)


def meter_watts(
    budgets: BudgetRows, domains: Domains, node_watts: Floats, expected_watts: Floats, stale: float
) -> Floats:
    """Returns what each domain draws in its own meter: float64[D].

    The budget's own meter where it is young, else the sum over its nodes, where an unknown node counts as expected,
    and NaN once more than a fifth of the nodes are unknown.

    Args:
        budgets: D rows.
        domains: of the nodes.
        node_watts: float64[3, N], measured, NaN unknown.
        expected_watts: float64[3, N], of the node and all on it.
        stale: seconds beyond which the budget's own meter does not count.
    """
    unknown = np.isnan(node_watts)
    nodes = np.bincount(domains.domain, minlength=domains.count)
    lost = domains.sums(unknown.astype(np.float64), budgets.meter)
    total = domains.sums(np.where(unknown, expected_watts, node_watts), budgets.meter)
    summed = np.where((nodes > 0) & (lost <= DOMAIN_SHARE * nodes), total, np.nan)
    own = cleaning.watts(budgets.meter_watts)
    young = cleaning.ages(budgets.meter_age_seconds) <= stale
    return np.where(np.isfinite(own) & young, own, summed)


class ResidualModel:
    """Residuals by name of the budget."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._memory: Memory[str] = Memory({"residual": ColumnKind(0.0), "time": ColumnKind(np.nan)})

    def _most(self, budgets: BudgetRows) -> Floats:
        return cleaning.watts(budgets.limit_watts) * self._settings.residual_share

    def learn(self, budgets: BudgetRows, meter: Floats, expected: Floats, rung: Ints, now: float) -> None:
        """Takes a tick in: metered and expected watts (float64[D], NaN unknown) and rungs (int64[D])."""
        slots = self._memory.slots(budgets.names, now)
        residual, time = self._memory["residual"][slots], self._memory["time"][slots]
        error = meter - expected - residual
        usable = np.isfinite(error) & (rung == Rung.FRESH)
        passed = np.where(np.isfinite(time), np.clip(now - time, 0.0, self._settings.residual_seconds), 0.0)
        step = -np.expm1(-passed / self._settings.residual_seconds)
        moved = residual + step * np.where(usable, error, 0.0)
        most = np.nan_to_num(self._most(budgets))
        self._memory["residual"][slots] = np.where(usable, np.clip(moved, 0.0, most), residual)
        self._memory["time"][slots] = now

    def watts(self, budgets: BudgetRows, now: float) -> Floats:
        """Returns residuals: float64[D], in [0, share of the limit]."""
        slots = self._memory.slots(budgets.names, now)
        return np.minimum(self._memory["residual"][slots], np.nan_to_num(self._most(budgets)))

    def forget(self, now: float) -> None:
        """Forgets budgets that have been gone for long."""
        self._memory.forget(now - self._settings.service_memory_seconds)

    def dump(self) -> TableState:
        """Packs the memory."""
        return self._memory.dump(lambda name: (name,))

    def restore(self, state: TableState) -> None:
        """Takes in what `dump` packed; raises ModelStateError."""
        self._memory.restore(state, lambda parts: parts[0])
