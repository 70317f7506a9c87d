"""Everything that the plan looks at for one recommendation, joined from a view once a pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from wattkeeper.api.power_capping_policy import ENFORCING, PowerCappingPolicy
from wattkeeper.api.power_recommendation import ActuatedField, Actuation, PowerRecommendation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.kserve import InferenceService, KServeService, LLMInferenceService
from wattkeeper.cluster.objects import Deployment, HorizontalPodAutoscaler, LeaderWorkerSet, ScaledObject
from wattkeeper.recommender.kserve import KServeServices, Part, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Capped:
    """One service with a recommendation.

    Attributes:
        workload: its scale target, None where it is gone.
        part: what the target is to KServe, None where it is nothing of KServe's.
        policy: that caps it, None where it is gone.
        annotated: the policy that an annotation names, "" without one.
        annotation_counts: such a policy exists, or there is no annotation.
        scaled_objects: all that name the target.
        autoscalers: HPAs that name the target.
        noted: the KServe service that was changed, by its UID, whether the target is still its own; None where it is
            gone or was never there.
        braked: the very object that the brake holds down, None where it is gone.
        originals: what other recommendations have noted of the same service, by field: a workload that takes
            another's place is held by the same fields.
    """

    recommendation: PowerRecommendation
    workload: Workload | None
    part: Part | None
    policy: PowerCappingPolicy | None
    annotated: str
    annotation_counts: bool
    scaled_objects: tuple[ScaledObject, ...]
    autoscalers: tuple[HorizontalPodAutoscaler, ...]
    noted: KServeService | None
    braked: Brakeable | None
    originals: Mapping[str, ActuatedField]

    @property
    def service(self) -> KServeService | None:
        """Returns the KServe service whose fields are held, or may be."""
        return self.noted if self.part is None else self.part.service

    @property
    def unseen(self) -> bool:
        """Says whether a service that was changed is not to be seen while its workload says that it is there."""
        if self.actuation is None or not self.actuation.uid or self.noted is not None or self.workload is None:
            return False
        return any(owner.uid == self.actuation.uid for owner in self.workload.metadata.owner_references)

    @property
    def enforced(self) -> bool:
        """Says whether the recommendation is to be obeyed: as long as the policy, too, is there and in such a mode."""
        return self.may(*ENFORCING)

    def may(self, *modes: str) -> bool:
        """Says whether one of these modes is in force. A mode that was lowered counts before the leader has seen it."""
        if self.policy is None or self.recommendation.metadata.deletion_timestamp:
            return False
        return self.recommendation.status.mode in modes and self.policy.spec.mode in modes

    @property
    def actuation(self) -> Actuation | None:
        """What was changed."""
        return self.recommendation.status.actuation

    def recorded(self) -> dict[str, ActuatedField]:
        """Returns the fields that are held, by path. What was held of an object that is gone went with it."""
        actuation, service = self.actuation, self.service
        if actuation is None or service is None or actuation.uid != service.metadata.uid:
            return {}
        return {one.field: one for one in actuation.fields}


def find_capped(view: View) -> Iterator[Capped]:
    """Yields every service that has a recommendation, by name."""
    kserve = KServeServices(view)
    scaled = _by_target(view)
    autoscalers = _autoscalers(view)
    recommendations = sorted(
        view.all(PowerRecommendation).values(), key=lambda one: (one.metadata.namespace, one.metadata.name)
    )
    noted = _notes(recommendations)
    for one in recommendations:
        reference, namespace = one.spec.scale_target_ref, one.metadata.namespace
        kind = Deployment if reference.kind == "Deployment" else LeaderWorkerSet
        workload = view.get(kind, namespace, reference.name)
        key = ServiceKey(namespace, reference.kind, reference.name)
        annotated = "" if workload is None else kserve.policy(workload)
        part = None if workload is None else kserve.part(workload)
        others = {} if part is None else noted.get(part.service.metadata.uid, {})
        yield Capped(
            recommendation=one,
            workload=workload,
            part=part,
            policy=view.get(PowerCappingPolicy, namespace, one.spec.policy),
            annotated=annotated,
            annotation_counts=not annotated or view.get(PowerCappingPolicy, namespace, annotated) is not None,
            scaled_objects=tuple(scaled.get(key, ())),
            autoscalers=tuple(autoscalers.get(key, ())),
            noted=_noted(view, one.status.actuation),
            braked=_braked(view, one.status.actuation),
            originals=others,
        )


def _notes(recommendations: Iterable[PowerRecommendation]) -> Mapping[str, dict[str, ActuatedField]]:
    """Returns the fields that are held, by the UID of the service and the field's path."""
    found: dict[str, dict[str, ActuatedField]] = defaultdict(dict)
    for one in recommendations:
        if one.status.actuation is not None:
            found[one.status.actuation.uid] |= {each.field: each for each in one.status.actuation.fields}
    return found


def _noted(view: View, actuation: Actuation | None) -> KServeService | None:
    if actuation is None:
        return None
    kind = {"InferenceService": InferenceService, "LLMInferenceService": LLMInferenceService}.get(actuation.kind)
    return None if kind is None else view.all(kind).get(actuation.uid)


def _braked(view: View, actuation: Actuation | None) -> Brakeable | None:
    if actuation is None or actuation.brake is None:
        return None
    kind = HorizontalPodAutoscaler if actuation.brake.kind == "HorizontalPodAutoscaler" else ScaledObject
    return view.all(kind).get(actuation.brake.uid)


def _by_target(view: View) -> Mapping[ServiceKey, list[ScaledObject]]:
    found: dict[ServiceKey, list[ScaledObject]] = defaultdict(list)
    for one in view.all(ScaledObject).values():
        target = one.spec.scale_target_ref
        found[ServiceKey(one.metadata.namespace, target.kind or "Deployment", target.name)].append(one)
    return found


def _autoscalers(view: View) -> Mapping[ServiceKey, list[HorizontalPodAutoscaler]]:
    found: dict[ServiceKey, list[HorizontalPodAutoscaler]] = defaultdict(list)
    for one in view.all(HorizontalPodAutoscaler).values():
        target = one.spec.scale_target_ref
        found[ServiceKey(one.metadata.namespace, target.kind, target.name)].append(one)
    return found
