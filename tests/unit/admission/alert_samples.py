"""What is wrong in a small cluster, said as the leader says it."""

from __future__ import annotations

from typing import Any

from admission.alert import About, Alert, Fact, Severity
from tests.unit.admission.samples import NAMESPACE, NOW
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import Alerts, Gate, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    WaitingPod,
)
from wattkeeper.cluster.objects import Deployment, WorkloadStatus


def condition(
    type_: str, since: float = NOW, *, holds: bool = True, reason: str = "Why", message: str = ""
) -> Condition:
    return Condition(
        type=type_,
        status="True" if holds else "False",
        reason=reason,
        message=message,
        last_transition_time=format_instant(since),
    )


def row(*conditions: Condition, name: str = "row-a", over: float = 0.0, evaluated: float = NOW) -> PowerBudget:
    """A budget of 10 kW that sheds within 300 s."""
    return PowerBudget(
        metadata=ObjectMeta(name=name, creation_timestamp=format_instant(NOW - 86_400.0)),
        spec=PowerBudgetSpec(limit_watts=10_000.0),
        status=PowerBudgetStatus(
            limit_watts=10_000.0,
            guarded_watts=10_000.0 + over,
            over_watts=over,
            readings="Frozen",
            last_evaluated=format_instant(evaluated) if evaluated else "",
            conditions=conditions,
        ),
    )


def service(
    *conditions: Condition,
    name: str = "llm",
    mode: str = "Off",
    target: int = 3,
    waiting: tuple[WaitingPod, ...] = (),
    slipped: int = 0,
    policy: str = "capped",
) -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(name=f"deployment-{name}", namespace=NAMESPACE),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name=name), policy=policy),
        status=PowerRecommendationStatus(
            mode=mode,
            target=Amount(replicas=target),
            binding_budget="row-a",
            waiting_pods=waiting,
            slipped_pods=slipped,
            conditions=conditions,
        ),
    )


def telling(*sinks: str, name: str = "capped", deadline: int | None = None) -> PowerCappingPolicy:
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=PowerCappingPolicySpec(
            selector=LabelSelector(),
            alerts=Alerts(sinks=sinks) if sinks else None,
            gate=None if deadline is None else Gate(deadline_seconds=deadline),
        ),
    )


def running(replicas: int, name: str = "llm") -> Deployment:
    return Deployment(metadata=ObjectMeta(name=name, namespace=NAMESPACE), status=WorkloadStatus(replicas=replicas))


def alert(budget: str = "row-a", *, severity: Severity = "critical", **more: Any) -> Alert:
    return Alert(
        name="WattkeeperBudgetOver",
        severity=severity,
        about=About(kind="PowerBudget", name=budget),
        identity={"budget": budget},
        summary=f"PowerBudget {budget} is over by 300 W",
        description="Shed something.",
        **more,
    )


def fact(budget: str = "row-a", *, since: float = NOW, hold: float = 60.0, **more: Any) -> Fact:
    return Fact(alert=alert(budget, **more), since=since, hold_seconds=hold)
