"""Keeps score of a run, on what is true each second: watts over budgets, and tokens that users got.

    violation = integral of max(0, wall watts - limit) / integral of the limit, per domain

A cut is a step that nobody can follow at once: seconds and joules until the domain is inside are told apart, and are no
violation where that took no longer than the budget's shedSeconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.readings import Floats
from wattkeeper.cluster.objects import Node
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.twin import STEP_SECONDS, Twin


@dataclass(frozen=True, kw_only=True, slots=True)
class Shed:
    """What followed a cut.

    Attributes:
        at_seconds: of the cut, from the run's beginning.
        seconds: until the domain was inside and stayed so; None if it did not before the limit changed again.
        over_joules: over the new limit until then.
    """

    budget: str
    at_seconds: float
    seconds: float | None
    over_joules: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainScore:
    """One budget.

    Attributes:
        over_joules: over the limit, everything that followed cuts included.
        violation_joules: of these, all but those until the end of cuts that were followed within shedSeconds.
        limit_joules: the limit, summed over the run.
    """

    budget: str
    over_joules: float
    violation_joules: float
    limit_joules: float

    @property
    def violation(self) -> float:
        """What was drawn beyond the limit, as a share of what the limit allowed; cuts apart."""
        return self.violation_joules / self.limit_joules if self.limit_joules else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceScore:
    """Generated tokens of one service, by what became of their requests."""

    name: str
    offered_tokens: float
    good_tokens: float
    late_tokens: float
    failed_tokens: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A run.

    Attributes:
        over_seconds: in which any domain was over its limit.
        worst_over_watts, worst_over_share: the worst second, and what share of the limit that was.
        energy_joules: of all nodes, at the wall.
    """

    seconds: float
    over_seconds: float
    worst_over_watts: float
    worst_over_share: float
    energy_joules: float
    domains: tuple[DomainScore, ...]
    sheds: tuple[Shed, ...]
    services: tuple[ServiceScore, ...]

    @property
    def over_joules(self) -> float:
        """Watt-seconds over limits, all domains together."""
        return sum(one.over_joules for one in self.domains)

    @property
    def offered_tokens(self) -> float:
        """Tokens that users asked for."""
        return sum(one.offered_tokens for one in self.services)

    @property
    def good_tokens(self) -> float:
        """Tokens of requests that finished as users expect."""
        return sum(one.good_tokens for one in self.services)

    @property
    def goodput(self) -> float:
        """Good tokens over offered ones."""
        return self.good_tokens / self.offered_tokens if self.offered_tokens else 0.0

    @property
    def joules_per_token(self) -> float:
        """Joules at the wall for each good token."""
        return self.energy_joules / self.good_tokens if self.good_tokens else float("inf")


class Ledger:
    """Watches a twin."""

    def __init__(self, twin: Twin) -> None:
        """Takes the budgets that are there.

        Raises:
            ImpossibleFixtureError: a budget covers no node.
        """
        self._twin = twin
        view = twin.cluster.view
        budgets = sorted(view.all(PowerBudget).values(), key=lambda budget: budget.metadata.name)
        self.budgets = tuple(budget.metadata.name for budget in budgets)
        labels = {node.metadata.name: dict(node.metadata.labels) for node in view.all(Node).values()}
        rows = [[budget.spec.node_selector.matches(labels[name]) for name in twin.nodes] for budget in budgets]
        self._shed_seconds = {budget.metadata.name: float(budget.spec.shed_seconds) for budget in budgets}
        self._members = np.array(rows, dtype=np.float64).reshape(len(budgets), len(twin.nodes))
        for name, covered in zip(self.budgets, self._members.sum(axis=1), strict=True):
            if not covered:
                raise ImpossibleFixtureError(f"budget {name} covers no node")
        self._watts: list[Floats] = []
        self._limits: list[Floats] = []
        self._energy = 0.0
        twin.watch(self._second)

    def domain_watts(self) -> Floats:
        """float64[D], true watts at the wall now."""
        return self._members @ self._twin.power.node_wall

    def limit_watts(self) -> Floats:
        """float64[D], limits now."""
        view = self._twin.cluster.view
        found = [view.get(PowerBudget, "", name) for name in self.budgets]
        return np.array([np.inf if one is None else one.spec.limit_watts for one in found], dtype=np.float64)

    def score(self) -> Score:
        """Returns the score so far."""
        count = len(self.budgets)
        watts = np.array(self._watts, dtype=np.float64).reshape(len(self._watts), count)
        limits = np.array(self._limits, dtype=np.float64).reshape(len(self._limits), count)
        over = np.maximum(watts - limits, 0.0)
        serving = self._twin.serving
        sheds = tuple(
            shed
            for domain, name in enumerate(self.budgets)
            for shed in _sheds(name, watts[:, domain], limits[:, domain])
        )
        return Score(
            seconds=len(watts) * STEP_SECONDS,
            over_seconds=float((over > 0).any(axis=1).sum()) * STEP_SECONDS,
            worst_over_watts=float(over.max(initial=0.0)),
            worst_over_share=float((over / limits).max(initial=0.0)),
            energy_joules=self._energy,
            domains=tuple(
                DomainScore(
                    budget=name,
                    over_joules=float(over[:, domain].sum()) * STEP_SECONDS,
                    violation_joules=self._violation_joules(name, over[:, domain], sheds),
                    limit_joules=float(limits[:, domain].sum()) * STEP_SECONDS,
                )
                for domain, name in enumerate(self.budgets)
            ),
            sheds=sheds,
            services=tuple(
                ServiceScore(
                    name=service.name,
                    offered_tokens=float(serving.offered_tokens[row]),
                    good_tokens=float(serving.good_tokens[row]),
                    late_tokens=float(serving.late_tokens[row]),
                    failed_tokens=float(serving.failed_tokens[row]),
                )
                for row, service in enumerate(self._twin.services)
            ),
        )

    def _violation_joules(self, budget: str, over: Floats, sheds: tuple[Shed, ...]) -> float:
        counted, most = over.copy(), self._shed_seconds[budget]
        for one in sheds:
            if one.budget == budget and one.seconds is not None and one.seconds <= most:
                begin = round(one.at_seconds / STEP_SECONDS)
                counted[begin : begin + round(one.seconds / STEP_SECONDS)] = 0.0
        return float(counted.sum()) * STEP_SECONDS

    def _second(self, now: float) -> None:
        del now
        self._watts.append(self.domain_watts())
        self._limits.append(self.limit_watts())
        self._energy += float(self._twin.power.node_wall.sum()) * STEP_SECONDS


def _sheds(name: str, watts: Floats, limits: Floats) -> list[Shed]:
    changes = np.flatnonzero(np.diff(limits) != 0) + 1
    ends = [*changes.tolist(), len(limits)][1:]
    sheds: list[Shed] = []
    for begin, end in zip(changes.tolist(), ends, strict=True):
        if limits[begin] >= limits[begin - 1]:
            continue
        over = np.maximum(watts[begin:end] - limits[begin:end], 0.0)
        last = int(np.flatnonzero(over > 0).max(initial=-1))
        inside = last + 1 if last + 1 < len(over) else None
        sheds.append(
            Shed(
                budget=name,
                at_seconds=begin * STEP_SECONDS,
                seconds=None if inside is None else inside * STEP_SECONDS,
                over_joules=float(over[:inside].sum()) * STEP_SECONDS,
            )
        )
    return sheds
