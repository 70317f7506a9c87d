"""What PowerCappingPolicy statuses shall say after a decision."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from wattkeeper.api.conditions import Finding, with_transitions
from wattkeeper.api.power_capping_policy import PowerCappingPolicy, PowerCappingPolicyStatus
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet
from wattkeeper.recommender.kserve import KServeServices
from wattkeeper.recommender.result import StepResult

_MOST_NAMES = 5


def wanted_policies(result: StepResult, view: View) -> Iterator[tuple[PowerCappingPolicy, PowerCappingPolicy]]:
    """Yields each policy as it is and as it shall be."""
    services = result.services
    counts = Counter(zip((key.namespace for key in services.keys), services.policies, strict=True))
    disputed: dict[str, list[tuple[str, ServiceKey]]] = defaultdict(list)
    for row in np.flatnonzero(services.claimed_twice).tolist():
        disputed[services.keys[row].namespace].append((services.policies[row], services.keys[row]))
    for before in list(view.all(PowerCappingPolicy).values()):
        namespace, name = before.metadata.namespace, before.metadata.name
        claims = [(own, key) for own, key in disputed.get(namespace, ()) if _claims(before, own, key, view)]
        count = counts[namespace, name] + sum(own != name for own, _ in claims)
        finding = _finding(before, count, [f"{key.kind} {key.name}" for _, key in claims])
        conditions = with_transitions((finding,), before.status.conditions, before.metadata, result.now)
        yield before, replace(before, status=PowerCappingPolicyStatus(services=count, conditions=conditions))


def _claims(policy: PowerCappingPolicy, counted_for: str, key: ServiceKey, view: View) -> bool:
    if counted_for == policy.metadata.name:
        return True
    target = view.get(Deployment if key.kind == "Deployment" else LeaderWorkerSet, key.namespace, key.name)
    if target is None or KServeServices(view).policy(target) == counted_for:
        return False
    return policy.spec.selector.matches(target.metadata.labels)


def _finding(policy: PowerCappingPolicy, count: int, disputed: list[str]) -> Finding:
    demand = policy.spec.demand
    if demand is not None and demand.metric == "PromQL" and not demand.query:
        message = "demand.metric is PromQL and demand.query is empty: write a query that yields one sample."
        return Finding(type="Ready", holds=False, reason="QueryMissing", message=message)
    if policy.spec.max_replicas < policy.spec.min_replicas:
        message = "maxReplicas is below minReplicas: minReplicas counts for both until one is corrected."
        return Finding(type="Ready", holds=False, reason="BoundsCrossed", message=message)
    if disputed:
        names = ", ".join(sorted(disputed)[:_MOST_NAMES])
        more = f" and {len(disputed) - _MOST_NAMES} more" if len(disputed) > _MOST_NAMES else ""
        message = f"Claimed more than once, by policies or ScaledObjects: {names}{more}. The stricter figures hold."
        return Finding(type="Ready", holds=False, reason="ClaimedTwice", message=message)
    if count == 0:
        message = (
            "selector matches no Deployment or LeaderWorkerSet of this namespace: correct it, or name the policy "
            "in an annotation."
        )
        return Finding(type="Ready", holds=False, reason="NoServices", message=message)
    return Finding(type="Ready", holds=True, reason="ServicesSelected")
