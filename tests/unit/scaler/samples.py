"""Objects of a small cluster, with what a test wants of them."""

from __future__ import annotations

from typing import Any

from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import Mode, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    recommendation_name,
)
from wattkeeper.cluster.objects import (
    Deployment,
    DeploymentSpec,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
    WorkloadStatus,
)

NOW = 1_800_000_000.0
NAMESPACE = "chat"
EXACT: dict[str, Any] = {
    "horizontalPodAutoscalerConfig": {
        "behavior": {"scaleDown": {"tolerance": "0", "stabilizationWindowSeconds": 0}},
    }
}


def deployment(name: str = "llm", *, replicas: int = 4, status_replicas: int | None = None) -> Deployment:
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels={"app": name}),
        spec=DeploymentSpec(replicas=replicas),
        status=WorkloadStatus(replicas=replicas if status_replicas is None else status_replicas),
    )


def scaled_object(
    name: str = "llm",
    *,
    target: str | None = None,
    kind: str = "Deployment",
    metric: str = "replicas",
    minimum: int = 0,
    cooldown: int = 0,
    triggers: tuple[Trigger, ...] = (),
    advanced: dict[str, Any] | None = None,
) -> ScaledObject:
    own = Trigger(type="external", metadata={"scalerAddress": "scaler:9443", "metric": metric})
    return ScaledObject(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=ScaledObjectSpec(
            scale_target_ref=ScaledObjectTarget(name=target or name, kind=kind),
            min_replica_count=minimum,
            cooldown_period=cooldown,
            triggers=(own, *triggers),
            advanced=EXACT if advanced is None else advanced,
        ),
    )


def policy(name: str = "capped", *, mode: Mode = "Scale", maximum: int = 40, minimum: int = 0) -> PowerCappingPolicy:
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=PowerCappingPolicySpec(selector=LabelSelector(), mode=mode, max_replicas=maximum, min_replicas=minimum),
    )


def recommendation(
    name: str = "llm",
    *,
    target: int = 3,
    uncapped: int | None = 6,
    mode: str = "Scale",
    maximum: int = 40,
    of_policy: str = "capped",
    migrating: int | None = None,
) -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(name=recommendation_name("Deployment", name), namespace=NAMESPACE),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name=name), policy=of_policy),
        status=PowerRecommendationStatus(
            mode=mode,
            target=Amount(replicas=target),
            migrating_replicas=migrating,
            upper_bound=Amount(replicas=maximum),
            uncapped_target=None if uncapped is None else Amount(replicas=uncapped),
        ),
    )


def budget(name: str = "hall", *, evaluated: float | None = NOW, watts: float = 10_000.0) -> PowerBudget:
    return PowerBudget(
        metadata=ObjectMeta(name=name),
        spec=PowerBudgetSpec(limit_watts=watts),
        status=PowerBudgetStatus(last_evaluated="" if evaluated is None else format_instant(evaluated)),
    )
