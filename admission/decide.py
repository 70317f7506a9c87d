"""What happens to one new pod. Pure: everything it knows is handed in, and nothing is remembered.

1. Namespaces that nobody opted in and pods without the marks are left alone, whoever sends them.
2. A pod belongs to a service (its scale target), and the service's policies say how strictly it is treated: of several,
   the strictest mode counts.
3. Without a policy, or in mode Off, there is no patch at all.
4. Otherwise requests are set; in enforcing modes the gate is added; annotations say what was done.
5. Deciding again for the patched pod changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from admission.advice import advice
from admission.estimate import Estimates
from admission.gate import Gating, plan_gate
from admission.patch import Operation, pointer, set_members
from admission.pod import AdmittedPod
from admission.requests import RequestPlan, plan_requests
from admission.view import AdmissionView, Workload
from wattkeeper.api.admission import ADMISSION_ANNOTATION, PREDICTED_WATTS_ANNOTATION, concerned
from wattkeeper.api.power_capping_policy import PowerCappingPolicy, Requests
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import Mode, ServiceKey
from wattkeeper.cluster.objects import LeaderWorkerSet
from wattkeeper.recommender.kserve import selecting
from wattkeeper.recommender.services import MODES

Outcome = Literal["unconcerned", "no_policy", "off", "kept", "patched"]
_MOST_CHARACTERS: Final = 1_000
_UNOWNED: Final = "left alone: no Deployment or LeaderWorkerSet owns this pod, so nobody would grant its watts"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What happens to a pod.

    Attributes:
        outcome: in a word: the webhook should not have been asked, nothing selects the pod, mode Off, all is as it
            should be already, or patched.
        patch: what changes.
        warnings: for kubectl users.
        service: the scale target, None for pods of none.
        policy, mode: the policy that counts, "" without.
        gated: the gate is added.
        resized: its requests change.
        estimated, unknown: containers whose usage is known, and those of which nothing is known yet.
    """

    outcome: Outcome
    patch: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    service: ServiceKey | None = None
    policy: str = ""
    mode: str = ""
    gated: bool = False
    resized: bool = False
    estimated: int = 0
    unknown: int = 0


def decide(pod: AdmittedPod, namespace: str, view: AdmissionView, estimates: Estimates, now: float) -> Decision:
    """Decides about one pod that is being created.

    Args:
        pod: as it comes; it may have a generateName alone.
        namespace: the review's: a pod's own may be empty.
        view: the caches, however old.
        estimates: what containers have used.
        now: Unix seconds.
    """
    if not concerned(pod.labels) or view.opted_out(namespace):
        return Decision(outcome="unconcerned")
    service = pod.service(namespace)
    workload = None if service is None else view.workload(service)
    recommendation = None if service is None else view.recommendation(service)
    policies = _policies(pod, namespace, view, workload, recommendation)
    if not policies:
        return Decision(outcome="no_policy", service=service)
    strictest = max(policies, key=lambda policy: MODES[policy.spec.mode])  # The first by name among equals.
    name, mode = strictest.metadata.name, strictest.spec.mode
    if mode == "Off":
        warnings = _warnings(view, recommendation, workload, strictest, now)
        return Decision(outcome="off", warnings=warnings, service=service, policy=name, mode=mode)
    if service is None:
        patch = _annotated(pod, f"policy {name} (mode {mode}): {_UNOWNED}", {}, changes=False)
        return Decision(outcome="patched" if patch else "kept", patch=patch, policy=name, mode=mode)
    rules = next((policy.spec.requests for policy in policies if policy.spec.requests is not None), Requests())
    plan = plan_requests(pod, service, rules, estimates, view.surroundings(service))
    gating = plan_gate(pod) if MODES[mode] >= Mode.SCALE else None
    changes = (*plan.operations, *(gating.operations if gating is not None else ()))
    said = f"policy {name} (mode {mode}): {'; '.join(_said(plan, gating))}"
    patch = (*changes, *_annotated(pod, said, _predicted(service, recommendation, workload), changes=bool(changes)))
    return Decision(
        outcome="patched" if patch else "kept",
        patch=patch,
        warnings=() if gating is not None else _warnings(view, recommendation, workload, strictest, now),
        service=service,
        policy=name,
        mode=mode,
        gated=gating is not None and bool(gating.operations),
        resized=bool(plan.operations),
        estimated=plan.estimated,
        unknown=plan.unknown,
    )


def _policies(
    pod: AdmittedPod,
    namespace: str,
    view: AdmissionView,
    workload: Workload | None,
    recommendation: PowerRecommendation | None,
) -> Sequence[PowerCappingPolicy]:
    """Returns the policies that count, by the leader's own rule: an annotation, or selectors on the target's labels.

    The recommendation names one policy, and the mode that it had then; so the policies themselves are asked. Where the
    scale target is not in the cache yet, the recommendation is next best, and then the pod's own labels: KServe and
    most charts put the same on both.
    """
    candidates = view.policies(namespace)
    if workload is None and recommendation is not None:
        named = [policy for policy in candidates if policy.metadata.name == recommendation.spec.policy]
        if named:
            return named
    if workload is None:
        return [policy for policy in candidates if policy.spec.selector.matches(pod.labels)]
    return selecting(workload, view.annotated_policy(workload), candidates)


def _warnings(
    view: AdmissionView,
    recommendation: PowerRecommendation | None,
    workload: Workload | None,
    policy: PowerCappingPolicy,
    now: float,
) -> tuple[str, ...]:
    if recommendation is None:
        return ()
    budget = view.budget(recommendation.status.binding_budget)
    replicas = None if workload is None else workload.spec.replicas
    return tuple(advice(recommendation, budget, policy.metadata.name, policy.spec.mode, replicas, now))


def _said(plan: RequestPlan, gating: Gating | None) -> list[str]:
    said = [] if gating is None else [gating.note]
    return [*said, *plan.notes] or ["nothing to do"]


def _predicted(
    service: ServiceKey, recommendation: PowerRecommendation | None, workload: Workload | None
) -> Mapping[str, str]:
    """Returns the annotation that says what one pod may draw, in whole watts; none while that is unknown."""
    if recommendation is None or not recommendation.status.replica_watts > 0:
        return {}
    pods = 1
    if service.kind == "LeaderWorkerSet":
        if not isinstance(workload, LeaderWorkerSet):
            return {}
        pods = max(workload.spec.leader_worker_template.size, 1)
    return {PREDICTED_WATTS_ANNOTATION: str(math.ceil(recommendation.status.replica_watts / pods))}


def _annotated(pod: AdmittedPod, said: str, predicted: Mapping[str, str], *, changes: bool) -> tuple[Operation, ...]:
    """Returns what writes the annotations.

    What an earlier review of the same pod wrote stands as long as nothing else changes: it tells what was done then.
    """
    there = pod.metadata.annotations
    wanted: dict[str, object] = dict(predicted)
    if changes or ADMISSION_ANNOTATION not in (there or {}):
        wanted[ADMISSION_ANNOTATION] = said if len(said) <= _MOST_CHARACTERS else f"{said[: _MOST_CHARACTERS - 3]}..."
    return tuple(set_members(pointer("metadata", "annotations"), there, wanted))
