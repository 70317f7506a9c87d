"""What the leader says of a service's violations: whose turn it is, how long each lasts, whether an eviction helped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from kserve_hooks.capped import Capped
from kserve_hooks.pods import ServicePods, ends
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_capping_policy import PerformancePower, ViolationRules
from wattkeeper.api.power_recommendation import Actuation, PodEviction, ViolatingPod, Violation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod

Effect = Literal["yes", "no", "unknown"]
ROLLOUT: Final = "Rollout"
"""Why a pod of an old template is evicted, where violations have their types."""
_ORDER: Final = ("Slipped", "Budget", "Replicas", "Performance")
_MOST_NAMED: Final = 10
"""A violation names no more pods than this, however many there are."""
_EFFECTIVE_SHARE: Final = 0.5
"""Of a pod's watts: an upper bound, of which other pods may take over some."""


def in_turn(one: Capped) -> list[Violation]:
    """Returns a service's violations: pods that slipped past the gate go first, those that generate too little last."""
    return sorted(one.recommendation.status.violations, key=lambda each: _ORDER.index(each.type))


def duration_seconds(one: Capped, violation: Violation) -> float:
    """Returns how long a violation has to last before a pod is evicted for it."""
    spec = None if one.policy is None else one.policy.spec
    if violation.type == "Performance":
        ratio = None if spec is None else spec.performance_power
        return (ratio or PerformancePower(tokens_per_joule=1.0)).duration_seconds
    rules = None if spec is None else spec.violation
    return (rules or ViolationRules()).duration_seconds


def is_due(one: Capped, violation: Violation, now: float) -> bool:
    """Says whether a violation has lasted for long enough; one that does not say since when has not.

    Type Performance says 0 W while nothing tells what its pod generates: it stands then, and nobody goes for it.
    """
    if violation.type == "Performance" and not violation.watts:
        return False
    since = parse_instant(violation.since)
    return since is not None and now - since >= duration_seconds(one, violation)


def nobody_decides(one: Capped, now: float) -> tuple[Finding, ...]:
    """Returns what is said of a violation that has lasted long enough while no budget tells whether anybody decides."""
    due = next((each for each in in_turn(one) if one.may("Kill") and is_due(one, each, now)), None)
    if due is None:
        return ()
    message = (
        f"A pod has to go ({in_words(due.type, due.budget)}), and stays: there is no PowerBudget, so nothing tells "
        "whether anybody decides any more. Create one, if only with a limit that is never reached."
    )
    return (Finding(type="KillBlocked", holds=True, reason="NobodyDecides", message=message),)


def named_pods(violation: Violation, service: ServiceKey, pods: ServicePods) -> Iterator[tuple[ViolatingPod, Pod]]:
    """Yields the very pods of the service that a violation names and that stay, in order. A namesake is another pod."""
    own = {pod.metadata.uid for pod in pods.of(service)}
    for one in violation.pods:
        pod = pods.by_uid(one.uid)
        if pod is not None and pod.metadata.uid in own and not ends(pod):
            yield one, pod


def amount_of(one: Capped, violation: Violation) -> float:
    """Returns how much a violation is: watts with type Budget, else pods. Type Performance is one for each pod."""
    status = one.recommendation.status
    match violation.type:
        case "Budget":
            return violation.watts
        case "Slipped":
            return float(status.slipped_pods or len(violation.pods))
        case type_:
            return float(sum(len(each.pods) for each in status.violations if each.type == type_))


def effect_of(one: Capped, last: PodEviction) -> Effect:
    """Says whether an eviction has lessened the violation that it was for."""
    found = next((each for each in in_turn(one) if is_for(each, last)), None)
    if found is None:
        return "yes"
    fell = last.amount - amount_of(one, found)
    if found.type == "Budget":
        return "yes" if fell > 0.0 and fell >= last.watts * _EFFECTIVE_SHARE else "no"
    if fell >= 1.0:
        return "yes"
    return "unknown" if len(found.pods) >= _MOST_NAMED and found.type == "Replicas" else "no"


def is_for(violation: Violation, eviction: PodEviction) -> bool:
    """Says whether an eviction was for this violation."""
    return violation.type == eviction.reason and violation.budget == eviction.budget


def why_evicted(actuation: Actuation | None) -> str:
    """Returns why the pod is evicted that is noted to be."""
    last = None if actuation is None or actuation.kill is None else actuation.kill.evicted
    return "nobody says why" if last is None else in_words(last.reason, last.budget)


def in_words(reason: str, budget: str) -> str:
    """Returns why a pod has to go, as the rest of a sentence."""
    match reason:
        case "Budget":
            return f"PowerBudget {budget} is over its limit"
        case "Replicas":
            return "more replicas run than are granted"
        case "Slipped":
            return "it slipped past the gate"
        case "Performance":
            return "it generates too little for what it draws"
        case _:
            return "a rollout lacks the watts of one replica more, and its template is an old one"
