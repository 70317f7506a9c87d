"""The webhook for replicas that people raise: what the budget makes of it, where a policy does not enforce.

Pods are made by controllers, which show nobody what they are told; replicas are written by people with kubectl.
Whatever is asked for is allowed: the answer is a warning or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from admission.advice import advice
from admission.review import Answer, Review
from admission.view import AdmissionView
from wattkeeper.api.power_capping_policy import PASSIVE
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.clock import Clock

_KINDS: Final[Mapping[str, str]] = {"deployments": "Deployment", "leaderworkersets": "LeaderWorkerSet"}


class _Spec(msgspec.Struct, frozen=True):
    replicas: int = 0  # A Scale leaves a zero out.


class _Scaled(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class ScaleAdvisor:
    """Answers reviews of scale targets that are changed, and of their scale subresources, from memory."""

    def __init__(self, view: AdmissionView, clock: Clock) -> None:
        self._view = view
        self._clock = clock

    def __call__(self, review: Review) -> Answer:
        """Answers one review."""
        kind = _KINDS.get(review.resource)
        if kind is None or review.operation != "UPDATE" or review.sub_resource not in ("", "scale"):
            return Answer(result="not_asked_for")
        if self._view.opted_out(review.namespace):
            return Answer(result="unconcerned")
        try:
            replicas, before = _replicas(review.object), _replicas(review.old_object)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return Answer(result="unreadable")
        recommendation = self._view.recommendation(ServiceKey(review.namespace, kind, review.name))
        if recommendation is None or replicas <= before:
            return Answer()
        warnings = self._warnings(recommendation, replicas)
        return Answer(warnings=warnings, result="warned" if warnings else "allowed")

    def _warnings(self, recommendation: PowerRecommendation, replicas: int) -> tuple[str, ...]:
        policies = self._view.policies(recommendation.metadata.namespace)
        policy = next((one for one in policies if one.metadata.name == recommendation.spec.policy), None)
        if policy is None or policy.spec.mode not in PASSIVE:
            return ()
        budget = self._view.budget(recommendation.status.binding_budget)
        what = "these replicas start"
        name, mode, now = policy.metadata.name, policy.spec.mode, self._clock.now()
        return tuple(advice(recommendation, budget, name, mode, replicas, now, what=what))


def _replicas(raw: bytes) -> int:
    return msgspec.json.decode(raw, type=_Scaled).spec.replicas
