"""What KEDA is told about one ScaledObject: a number of replicas, out of the caches alone.

    ScaledObject -> its scale target -> the target's PowerRecommendation -> N -> the value to tell

Every replica has the same caches, so a follower answers what the leader answers. What cannot be answered is an
AnswerError and never a number: KEDA then keeps what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scaler.errors import BrokenWatchError, NoPlanError, UncappedTargetError, UnknownObjectError
from scaler.metadata import METRIC_NAMES, MetricKind, parse_metadata
from scaler.replica_arithmetic import DEFAULT_TOLERANCE, value_to_tell
from scaler.scale_down_behavior import tolerance_in_force
from wattkeeper.api.power_capping_policy import PASSIVE, PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus, recommendation_name
from wattkeeper.cluster.freshness import Freshness
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet, ScaledObject
from wattkeeper.recommender.kserve import KServeServices, selecting

TARGET_KINDS: Mapping[str, type[Deployment | LeaderWorkerSet]] = {
    "Deployment": Deployment,
    "LeaderWorkerSet": LeaderWorkerSet,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        metric_name: as KEDA calls it, without its own prefix.
        replicas: what the service may run.
        value: what the HPA is told so that it ends there, or as near below as its tolerance allows.
        stale: nobody has decided for too long, so nothing is raised.
    """

    metric_name: str
    replicas: int
    value: float
    stale: bool

    @property
    def active(self) -> bool:
        """Says whether the target may run at all."""
        return self.replicas > 0


class Answers:
    """Answers from one view."""

    def __init__(
        self, view: View, *, server_minor: int, stale_seconds: float, cluster_tolerance: float = DEFAULT_TOLERANCE
    ) -> None:
        """Takes what every answer needs.

        Args:
            view: the caches.
            server_minor: the API server's minor version.
            stale_seconds: budgets that nobody has evaluated for longer make every answer a hold.
            cluster_tolerance: the HPA's tolerance where a ScaledObject sets none.
        """
        self._view = view
        self._kserve = KServeServices(view)
        self._freshness = Freshness(view, stale_seconds=stale_seconds)
        self._server_minor = server_minor
        self._cluster_tolerance = cluster_tolerance

    def has_plan(self) -> bool:
        """Says whether there is anything to answer from: recommendations, or no policy that would call for any.

        A policy calls for none once a leader has said of it that it selects no service.
        """
        policies = self._view.all(PowerCappingPolicy).values()
        return bool(self._view.all(PowerRecommendation)) or all(
            one.status.conditions and not one.status.services for one in policies
        )

    def decision_age_seconds(self, now: float) -> float:
        """Returns how old the decisions are that answers come from."""
        return self._freshness.age_seconds(now)

    def answer(self, namespace: str, name: str, metadata: Mapping[str, str], now: float) -> Answer:
        """Answers for one ScaledObject.

        Args:
            namespace: the ScaledObject's.
            name: the ScaledObject's.
            metadata: of the trigger that asks.
            now: Unix seconds.

        Raises:
            AnswerError: there is no number to tell; the message says what to fix.
        """
        kind = parse_metadata(metadata)
        scaled_object = self._scaled_object(namespace, name)
        target = self._target(scaled_object)
        recommendation = self._recommendation(scaled_object, target)
        shadow = recommendation.status.mode in PASSIVE
        replicas = _recommended(recommendation.status, kind, spec_replicas=target.spec.replicas, shadow=shadow)
        stale = self._freshness.stale(now)
        # The ceiling of a shadow mode is the policy's own and no reading: it holds nothing back, however old.
        if not (shadow and kind == "cap"):
            if not self._view.synced():
                # Not even how many replicas there are is known: the lower of two old numbers may be a raise.
                raise BrokenWatchError(
                    f"a watch of this replica is broken: what it knows of {namespace}/{name} may be over. KEDA keeps "
                    "what there is until the watch is back or another replica is asked; look at this one's log."
                )
            if stale:
                replicas = min(replicas, target.spec.replicas)
        tolerance = tolerance_in_force(
            scaled_object, server_minor=self._server_minor, cluster_tolerance=self._cluster_tolerance
        )
        value = value_to_tell(wanted=replicas, current=target.status.replicas, tolerance=tolerance)
        return Answer(metric_name=METRIC_NAMES[kind], replicas=replicas, value=value, stale=stale)

    def _scaled_object(self, namespace: str, name: str) -> ScaledObject:
        found = self._view.get(ScaledObject, namespace, name)
        if found is None:
            raise UnknownObjectError(
                f"no ScaledObject {namespace}/{name} in the cache. If it was created this moment, KEDA's next poll "
                "finds it; else check name and namespace, and that Wattkeeper may list scaledobjects.keda.sh."
            )
        return found

    def _target(self, scaled_object: ScaledObject) -> Deployment | LeaderWorkerSet:
        reference = scaled_object.spec.scale_target_ref
        kind = reference.kind or "Deployment"
        where = f"{kind} {scaled_object.metadata.namespace}/{reference.name}"
        if kind not in TARGET_KINDS:
            raise UncappedTargetError(f"{where} cannot be capped: point scaleTargetRef at {' or '.join(TARGET_KINDS)}.")
        target = self._view.get(TARGET_KINDS[kind], scaled_object.metadata.namespace, reference.name)
        if target is None:
            raise UncappedTargetError(f"{where} does not exist: correct scaleTargetRef or create it.")
        return target

    def _recommendation(self, scaled_object: ScaledObject, target: Deployment | LeaderWorkerSet) -> PowerRecommendation:
        namespace = scaled_object.metadata.namespace
        kind = "Deployment" if isinstance(target, Deployment) else "LeaderWorkerSet"
        where = f"{kind} {namespace}/{target.metadata.name}"
        found = self._view.get(PowerRecommendation, namespace, recommendation_name(kind, target.metadata.name))
        if found is not None and found.status.mode:
            if self._view.get(PowerCappingPolicy, namespace, found.spec.policy) is not None:
                return found
            raise UncappedTargetError(
                f"PowerCappingPolicy {namespace}/{found.spec.policy}, which capped {where}, is gone: create one that "
                "selects it, or remove the trigger."
            )
        policies = [one for one in self._view.all(PowerCappingPolicy).values() if one.metadata.namespace == namespace]
        if not selecting(target, self._kserve.policy(target), policies):
            raise UncappedTargetError(
                f"no PowerCappingPolicy in namespace {namespace} selects {where}: create one whose selector matches "
                "its labels, or remove the trigger."
            )
        raise NoPlanError(
            f"no recommendation for {where} yet: the leader writes one with its first decisions after a start; if "
            "this stays, look at the leader's log."
        )


def _recommended(status: PowerRecommendationStatus, kind: MetricKind, *, spec_replicas: int, shadow: bool) -> int:
    if not shadow:
        return status.target.replicas
    if kind == "cap":
        return status.upper_bound.replicas
    # Unknown demand holds what there is, as it does in an enforcing mode.
    return spec_replicas if status.uncapped_target is None else status.uncapped_target.replicas
