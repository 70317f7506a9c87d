"""From the cached objects to the facts that people are alerted to. No clock and no memory but the objects' own times.

The leader writes conditions with the time of their last transition, so every replica, and every restart, comes to the
same facts with the same times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from admission.alert import About, Alert, Fact, Severity
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PASSIVE, Gate, PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet

_ALERTING: Final = ("AboveAdvice", "RolloutBlocked", "CapUnachievable", "PodsSlipped")
SILENT_SECONDS: Final = 180.0
"""The leader evaluates budgets every few seconds; three minutes are longer than any change of leaders takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleOptions:
    """How patient rules are.

    Attributes:
        hold_seconds: how long most facts must hold; budgets and gates have spans of their own.
    """

    hold_seconds: float = 60.0


def find_facts(view: View, now: float, options: RuleOptions) -> Iterator[tuple[Fact, ...]]:
    """Yields what is wrong with one object after the other, each thing once: callers may pause between them.

    Args:
        view: the caches, complete.
        now: Unix seconds.
        options: how patient to be.
    """
    budgets = sorted(view.all(PowerBudget).values(), key=lambda one: one.metadata.name)
    yield tuple(_nobody_decides(budgets, now))
    for budget in budgets:
        yield tuple(_of_budget(budget, now, options))
    recommendations = view.all(PowerRecommendation).values()
    for one in sorted(recommendations, key=lambda one: (one.metadata.namespace, one.metadata.name)):
        yield tuple(_OfService(view, one, now, options).facts()) if _worth_a_look(one) else ()


def _worth_a_look(one: PowerRecommendation) -> bool:
    status = one.status
    return bool(status.waiting_pods) or any(_true(status.conditions, type_) for type_ in _ALERTING)


def _nobody_decides(budgets: list[PowerBudget], now: float) -> Iterator[Fact]:
    """One leader evaluates all budgets at once, so the newest evaluation counts."""
    evaluated = [_time(budget.status.last_evaluated) for budget in budgets]
    # Where nobody has ever decided, waiting began with the first budget.
    since = max(evaluated, default=0.0) or min(
        (_time(budget.metadata.creation_timestamp) for budget in budgets), default=0.0
    )
    if since and now - since >= SILENT_SECONDS:
        alert = Alert(
            name="WattkeeperNobodyDecides",
            severity="critical",
            about=About(kind="PowerBudget", name=budgets[0].metadata.name),
            identity={},
            summary="No leader evaluates power budgets",
            description="The last evaluation of any PowerBudget is older than three minutes. Caps stay as they are, "
            "nothing is raised, and pods at the power gate wait. Look at the scaler's pods and their logs.",
        )
        yield Fact(alert=alert, since=since, hold_seconds=SILENT_SECONDS)


def _of_budget(budget: PowerBudget, now: float, options: RuleOptions) -> Iterator[Fact]:
    name, status = budget.metadata.name, budget.status
    about = About(kind="PowerBudget", name=name)

    def fact(
        alertname: str,
        severity: Severity,
        condition: Condition,
        *,
        hold: float,
        summary: str,
        description: str,
        **figures: str,
    ) -> Fact:
        alert = Alert(
            name=alertname,
            severity=severity,
            about=about,
            identity={"budget": name},
            summary=summary,
            description=description,
            figures={"since": condition.last_transition_time, **figures},
        )
        return Fact(alert=alert, since=_since(condition, now, hold), hold_seconds=hold)

    if over := _true(status.conditions, "OverBudget"):
        yield fact(
            "WattkeeperBudgetOver",
            "critical",
            over,
            hold=float(budget.spec.shed_seconds),
            summary=f"PowerBudget {name} is over by {status.over_watts:.0f} W",
            description=f"Its nodes may draw {status.guarded_watts:.0f} W with a limit of {status.limit_watts:.0f} W, "
            f"for longer than its shedSeconds ({budget.spec.shed_seconds} s).",
            limit_watts=_figure(status.limit_watts),
            guarded_watts=_figure(status.guarded_watts),
            over_watts=_figure(status.over_watts),
        )
    if unachievable := _true(status.conditions, "CapUnachievable"):
        yield fact(
            "WattkeeperCapUnachievable",
            "critical",
            unachievable,
            hold=options.hold_seconds,
            summary=f"PowerBudget {name} cannot be kept",
            description=unachievable.message,
            over_watts=_figure(status.over_watts),
        )
    if stale := _true(status.conditions, "TelemetryStale"):
        yield fact(
            "WattkeeperTelemetryStale",
            "warning",
            stale,
            hold=options.hold_seconds,
            summary=f"Power readings of PowerBudget {name} are {status.readings.lower()}",
            description=stale.message,
            readings=status.readings,
        )


class _OfService:
    """One recommendation's facts."""

    def __init__(self, view: View, recommendation: PowerRecommendation, now: float, options: RuleOptions) -> None:
        self._view = view
        self._one = recommendation
        self._now = now
        self._options = options
        meta, spec = recommendation.metadata, recommendation.spec
        self._policy = view.get(PowerCappingPolicy, meta.namespace, spec.policy)
        self._service = f"{spec.scale_target_ref.kind} {meta.namespace}/{spec.scale_target_ref.name}"

    def facts(self) -> Iterator[Fact]:
        yield from self._above_advice()
        yield from self._pods_waiting()
        conditions, hold = self._one.status.conditions, self._options.hold_seconds
        if blocked := _true(conditions, "RolloutBlocked"):
            alert = self._alert(
                "WattkeeperRolloutBlocked",
                "warning",
                summary=f"The rollout of {self._service} finds no watts",
                description=blocked.message,
                since=blocked.last_transition_time,
            )
            yield Fact(alert=alert, since=_since(blocked, self._now, hold), hold_seconds=hold)
        # What a budget cannot keep is the budget's own alert.
        unachievable = _true(conditions, "CapUnachievable")
        if unachievable and unachievable.reason != "BudgetUnachievable":
            alert = self._alert(
                "WattkeeperCapUnachievable",
                "warning",
                summary=f"The cap of {self._service} cannot be kept",
                description=unachievable.message,
                since=unachievable.last_transition_time,
            )
            yield Fact(alert=alert, since=_since(unachievable, self._now, hold), hold_seconds=hold)
        if slipped := _true(conditions, "PodsSlipped"):
            alert = self._alert(
                "WattkeeperPodsSlipped",
                "info",
                summary=f"Pods of {self._service} have slipped past the power gate",
                description=slipped.message,
                since=slipped.last_transition_time,
                pods=str(self._one.status.slipped_pods),
            )
            yield Fact(alert=alert, since=_since(slipped, self._now, hold), hold_seconds=hold)

    def _above_advice(self) -> Iterator[Fact]:
        """More replicas run than a budget carries, the budget is over, and the mode stops nobody."""
        status = self._one.status
        above = _true(status.conditions, "AboveAdvice")
        budget = self._view.get(PowerBudget, "", status.binding_budget)
        over = None if budget is None else _true(budget.status.conditions, "OverBudget")
        if above is None or budget is None or over is None or status.mode not in PASSIVE:
            return
        later = max(above, over, key=lambda condition: _time(condition.last_transition_time))
        current = self._current_replicas()
        alert = self._alert(
            "WattkeeperAboveAdvice",
            "warning",
            summary=f"PowerBudget {budget.metadata.name} is over, and {self._service} runs more replicas than it "
            "carries",
            description=f"{above.message} The budget is over by {budget.status.over_watts:.0f} W. Scale the service to "
            f"{status.target.replicas}, raise the limit, or let the policy enforce (mode Scale).",
            since=later.last_transition_time,
            budget=budget.metadata.name,
            over_watts=_figure(budget.status.over_watts),
            target_replicas=str(status.target.replicas),
            mode=status.mode,
            **({} if current is None else {"current_replicas": str(current)}),
        )
        hold = self._options.hold_seconds
        yield Fact(alert=alert, since=_since(later, self._now, hold), hold_seconds=hold)

    def _pods_waiting(self) -> Iterator[Fact]:
        pods = self._one.status.waiting_pods
        if not pods:
            return
        oldest = min(pods, key=lambda pod: _time(pod.since))
        gate = self._policy.spec.gate if self._policy is not None else None
        deadline = float((gate or Gate()).deadline_seconds)
        since = _time(oldest.since) or self._now - deadline
        if self._now - since < deadline:
            return
        waiting = _true(self._one.status.conditions, "PodsWaiting")
        alert = self._alert(
            "WattkeeperPodsWaiting",
            "warning",
            summary=f"A pod of {self._service} has waited for watts for more than {deadline:.0f} s",
            description=f"Pod {oldest.name} has waited at the power gate since {oldest.since}, and goes on waiting. "
            f"{'' if waiting is None else waiting.message}".rstrip(),
            since=oldest.since,
            pod=oldest.name,
            budget=oldest.budget,
            missing_watts=_figure(oldest.missing_watts),
        )
        yield Fact(alert=alert, since=since, hold_seconds=deadline)

    def _alert(self, name: str, severity: Severity, *, summary: str, description: str, **figures: str) -> Alert:
        meta, spec = self._one.metadata, self._one.spec
        alerts = self._policy.spec.alerts if self._policy is not None else None
        target = spec.scale_target_ref
        return Alert(
            name=name,
            severity=severity,
            about=About(kind="PowerRecommendation", namespace=meta.namespace, name=meta.name),
            identity={"namespace": meta.namespace, "service_kind": target.kind, "service": target.name},
            summary=summary,
            description=description,
            figures={**figures, "policy": spec.policy},
            sinks=() if alerts is None else alerts.sinks,
        )

    def _current_replicas(self) -> int | None:
        target = self._one.spec.scale_target_ref
        kind = Deployment if target.kind == "Deployment" else LeaderWorkerSet
        found = self._view.get(kind, self._one.metadata.namespace, target.name)
        return None if found is None else found.status.replicas


def _true(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    return next((one for one in conditions if one.type == type_ and one.status == "True"), None)


def _since(condition: Condition, now: float, hold_seconds: float) -> float:
    """Returns since when a condition holds; one that does not say has held for long enough."""
    return _time(condition.last_transition_time) or now - hold_seconds


def _time(text: str) -> float:
    """Returns Unix seconds, 0 for what is empty or unreadable."""
    return parse_instant(text) or 0.0


def _figure(watts: float) -> str:
    return f"{watts:.0f}"
