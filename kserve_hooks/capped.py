"""Everything that the plan looks at for one recommendation, joined from a view once a pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wattkeeper.api.power_capping_policy import ENFORCING, PowerCappingPolicy
from wattkeeper.api.power_recommendation import ActuatedField, Actuation, PowerRecommendation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View
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
    """

    recommendation: PowerRecommendation
    workload: Workload | None
    part: Part | None
    policy: PowerCappingPolicy | None
    annotated: str
    annotation_counts: bool
    scaled_objects: tuple[ScaledObject, ...]
    autoscalers: tuple[HorizontalPodAutoscaler, ...]

    @property
    def enforced(self) -> bool:
        """Says whether the recommendation is to be obeyed."""
        meta, status = self.recommendation.metadata, self.recommendation.status
        return status.mode in ENFORCING and self.policy is not None and not meta.deletion_timestamp

    @property
    def actuation(self) -> Actuation | None:
        """What was changed, as far as it still concerns the KServe service that is there now."""
        return self.recommendation.status.actuation

    def recorded(self) -> dict[str, ActuatedField]:
        """Returns the fields that are held, by path. What was held of an object that is gone went with it."""
        actuation = self.actuation
        if actuation is None or self.part is None or actuation.uid != self.part.service.metadata.uid:
            return {}
        return {one.field: one for one in actuation.fields}


def find_capped(view: View) -> Iterator[Capped]:
    """Yields every service that has a recommendation, by name."""
    kserve = KServeServices(view)
    scaled = _by_target(view)
    autoscalers = _autoscalers(view)
    for one in sorted(
        view.all(PowerRecommendation).values(), key=lambda one: (one.metadata.namespace, one.metadata.name)
    ):
        reference, namespace = one.spec.scale_target_ref, one.metadata.namespace
        kind = Deployment if reference.kind == "Deployment" else LeaderWorkerSet
        workload = view.get(kind, namespace, reference.name)
        key = ServiceKey(namespace, reference.kind, reference.name)
        annotated = "" if workload is None else kserve.policy(workload)
        yield Capped(
            recommendation=one,
            workload=workload,
            part=None if workload is None else kserve.part(workload),
            policy=view.get(PowerCappingPolicy, namespace, one.spec.policy),
            annotated=annotated,
            annotation_counts=not annotated or view.get(PowerCappingPolicy, namespace, annotated) is not None,
            scaled_objects=tuple(scaled.get(key, ())),
            autoscalers=tuple(autoscalers.get(key, ())),
        )


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
