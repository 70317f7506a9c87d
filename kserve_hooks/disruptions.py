"""May this pod be made to go? Everything that could forbid it, in one place, for killing and migrating alike.

Neither evicts a pod, nor lowers replicas to be rid of one, without a claim from here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from kserve_hooks.capped import Capped
from kserve_hooks.pods import ServicePods, is_ready
from kserve_hooks.protection import Protection
from kserve_hooks.rates import RateOptions, Rates
from kserve_hooks.rolling import rolls
from wattkeeper.api.power_capping_policy import Disruption
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import is_stuck

PROTECTED_SECONDS: Final = 30.0
"""How long a pod is left alone that the API server has just kept: its PodDisruptionBudget was seen too late."""
OVERLOADED_SECONDS: Final = 10.0
"""How long nobody is evicted once the API server had too much to do, or was not there, and did not say for how long."""
LONGEST_ASKED_SECONDS: Final = 60.0
"""Nobody waits longer than this, whatever is asked for: a budget may be over its limit meanwhile."""
FAILED_SECONDS: Final = 30.0
"""How long a service's pods are left alone once the API server has failed to evict one of them."""
_REMEMBERED_SECONDS: Final = 3600.0
"""For how long it is told what the API server failed with: rates of services, by the hour, may put off the next try."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a pod stays.

    Attributes:
        message: for people. It does not change while nothing else does.
    """

    reason: Literal[
        "Protected", "FloorReached", "RateLimited", "RollingOut", "GroupsGoInOrder", "ApiServerBusy", "EvictionFailed"
    ]
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A disruption that may be done in this pass.

    Attributes:
        pod: as the view shows it.
        budget: the budget that it goes for, "" for none.
        per_hour: the limit of its service.
    """

    service: ServiceKey
    pod: Pod
    budget: str
    per_hour: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """What the API server failed with, when, and until when nothing is tried; Unix seconds."""

    words: str
    at: float
    until: float


@dataclass(kw_only=True, slots=True)
class _Pass:
    protection: Protection
    pods: ServicePods
    going: Counter[ServiceKey] = field(default_factory=Counter[ServiceKey])


class Disruptions:
    """Decides for one term of leadership. What it remembers only delays what is done."""

    def __init__(self, view: View, options: RateOptions) -> None:
        """Takes what decisions are made from. The term begins with the first pass."""
        self._view = view
        self._options = options
        self._rates: Rates | None = None
        self._kept: dict[str, tuple[float, str]] = {}
        self._failed: dict[ServiceKey, _Failure] = {}
        self._busy_until = 0.0
        self._pass = _Pass(protection=Protection(view), pods=ServicePods(view))

    @property
    def pods(self) -> ServicePods:
        """The pods of this pass."""
        return self._pass.pods

    def begin(self, now: float) -> None:
        """Begins a pass: everything is looked at anew, and what was claimed and not done is free again."""
        if self._rates is None:
            self._rates = Rates(self._options, now)
        self._rates.begin()
        self._kept = {uid: one for uid, one in self._kept.items() if now < one[0]}
        self._failed = {key: one for key, one in self._failed.items() if now - one.at < _REMEMBERED_SECONDS}
        self._pass = _Pass(protection=Protection(self._view), pods=ServicePods(self._view))

    def claim(self, one: Capped, pod: Pod, *, budget: str, now: float, rolling: bool = False) -> Claim | Refusal:
        """Returns a claim on a pod, or why it stays.

        Args:
            one: its service.
            pod: as the view shows it.
            budget: the budget that it goes for, "" for none.
            now: Unix seconds.
            rolling: it goes for its service's rollout, which forbids it otherwise.
        """
        refusal = self.forbids(one, pod, budget=budget, now=now, rolling=rolling)
        if refusal is not None or self._rates is None:
            return refusal or _rate_limited("nothing was begun")
        service, per_hour = key_of(one.recommendation), _per_hour(one)
        self._rates.claim(service, per_hour, budget)
        self._pass.protection.take(pod)
        self._pass.going[service] += is_ready(pod)
        return Claim(service=service, pod=pod, budget=budget, per_hour=per_hour)

    def forbids(self, one: Capped, pod: Pod, *, budget: str, now: float, rolling: bool = False) -> Refusal | None:
        """Returns why a pod stays, None where it may be claimed. Who only asks takes nothing away from others."""
        service = key_of(one.recommendation)
        refusal = self._refusal(one, service, pod, now, rolling=rolling)
        if refusal is not None:
            return refusal
        if now < self._busy_until:
            message = "The API server has too much to do: nobody is evicted until it has had time."
            return Refusal(reason="ApiServerBusy", message=message)
        failure = self._failed.get(service)
        if failure is not None and now < failure.until:
            message = f"The API server cannot evict a pod of {service.kind} {service.name}: {failure.words}"
            return Refusal(reason="EvictionFailed", message=message)
        rates = self._rates
        exceeded = "nothing was begun" if rates is None else rates.exceeded(service, _per_hour(one), budget, now)
        return _rate_limited(exceeded, "" if failure is None else failure.words) if exceeded else None

    def done(self, claim: Claim, now: float) -> None:
        """Notes that a claim was used."""
        self._failed.pop(claim.service, None)
        self._spend(claim, now)

    def kept(self, pod: Pod, message: str, now: float) -> None:
        """Notes that the API server has refused to evict a pod, and what it said."""
        self._kept[pod.metadata.uid] = (now + PROTECTED_SECONDS, message)

    def unheard(self, claim: Claim, retry_after_seconds: float | None, now: float) -> None:
        """Notes that the API server has too much to do, and for how long it wants to be left alone, or is not there."""
        self._busy_until = max(self._busy_until, now + _wait(retry_after_seconds, OVERLOADED_SECONDS))
        if retry_after_seconds is None:
            self._spend(claim, now)  # It may have been heard.

    def failed(self, claim: Claim, message: str, retry_after_seconds: float | None, now: float) -> None:
        """Notes that the API server has failed to evict a pod. That may be so with this service's pods alone."""
        until = now + max(_wait(retry_after_seconds, 0.0), FAILED_SECONDS)
        self._failed[claim.service] = _Failure(words=message, at=now, until=until)
        self._spend(claim, now)  # It may have been evicted all the same: etcd can fail to say so in time.

    def _spend(self, claim: Claim, now: float) -> None:
        if self._rates is not None:
            self._rates.spend(claim.service, claim.per_hour, claim.budget, now)

    def _refusal(self, one: Capped, service: ServiceKey, pod: Pod, now: float, *, rolling: bool) -> Refusal | None:
        """Returns what forbids a disruption whatever the rates are."""
        if service.kind == "LeaderWorkerSet":
            message = "A LeaderWorkerSet removes the group with the highest number: no pod of it is evicted."
            return Refusal(reason="GroupsGoInOrder", message=message)
        pods = self.pods.of(service)
        # A pod that does not come to its end holds up no rollout, and must not look like one for ever.
        ending = (each for each in pods if not is_stuck(each, now))
        if not rolling and one.workload is not None and rolls(one.workload, ending):
            message = f"{service.kind} {service.name} is in the middle of a rollout: nothing of it is disrupted."
            return Refusal(reason="RollingOut", message=message)
        floor = one.recommendation.status.lower_bound.replicas
        ready = sum(map(is_ready, pods)) - self._pass.going[service]
        if is_ready(pod) and ready - 1 < floor:
            message = f"The policy's floor is {floor} replicas, and no more than that are ready."
            return Refusal(reason="FloorReached", message=message)
        forbidden = self._kept.get(pod.metadata.uid, (0.0, ""))[1] or self._pass.protection.forbids(pod)
        if forbidden:
            return Refusal(reason="Protected", message=forbidden)
        return None


def key_of(one: PowerRecommendation) -> ServiceKey:
    """Returns the service that a recommendation is about."""
    target = one.spec.scale_target_ref
    return ServiceKey(one.metadata.namespace, target.kind, target.name)


def _wait(asked_seconds: float | None, otherwise: float) -> float:
    return min(asked_seconds or otherwise, LONGEST_ASKED_SECONDS)


def _rate_limited(exceeded: str, failed: str = "") -> Refusal:
    message = f"{exceeded[:1].upper()}{exceeded[1:]}: that is used up for now."
    if failed:
        message += f" The last try failed: {failed}"
    return Refusal(reason="RateLimited", message=message)


def _per_hour(one: Capped) -> float:
    rules = None if one.policy is None else one.policy.spec.disruption
    return (rules or Disruption()).max_per_hour
