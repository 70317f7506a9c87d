"""Which KServe service a scale target belongs to, who scales it there, and which policy its annotation names.

KServe copies the annotations of an InferenceService to its Deployments, but not those of an LLMInferenceService, and an
admin can forbid it for either. So annotations are read where people write them: on the object that owns the target.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from wattkeeper.api.admission import INFERENCE_SERVICE_LABEL
from wattkeeper.api.marks import POLICY_ANNOTATION
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import Actuation
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.kserve import (
    AUTOSCALER_ANNOTATION,
    COMPONENTS,
    Component,
    InferenceService,
    KServeService,
    LLMInferenceService,
    LLMWorkload,
    child_name,
    read_field,
)
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet

Workload = Deployment | LeaderWorkerSet
Autoscaler = Literal["external", "keda", "hpa", "none"]
Obstacle = Literal["", "Knative", "MultiNode", "UnknownAutoscaler", "Canary"]
_GROUP: Final = "serving.kserve.io/"
_REVISION: Final = "Revision"
_PREDICTOR: Final = "predictor"
_CANARY: Final = "canary"
# How KServe 0.20 calls the workloads of an LLMInferenceService, after its name.
_LLM_PARTS: Final = {
    "-kserve": "spec",
    "-kserve-mn": "spec",
    "-kserve-prefill": "spec.prefill",
    "-kserve-mn-prefill": "spec.prefill",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One scale target of a KServe service.

    Attributes:
        service: as the view shows it.
        autoscaler: who scales it: an autoscaler that is not KServe's (external), KServe's ScaledObject (keda) or HPA
            (hpa), or nobody (none).
        maximum: the field that bounds it from above; "" where there is none.
        minimum: the field that bounds it from below, or, with nobody scaling it, that says how many there are.
        obstacle: why nothing of it may be changed, "" where it may.
    """

    service: KServeService
    autoscaler: Autoscaler
    maximum: str = ""
    minimum: str = ""
    obstacle: Obstacle = ""

    def original(self, field: str, actuation: Actuation | None) -> int | None:
        """Returns what a user had written in a field, whatever the actuator has made of it."""
        now = read_field(self.service, field)
        if actuation is not None and actuation.uid == self.service.metadata.uid:
            for one in actuation.fields:
                if one.field == field and one.is_ours(now):
                    return one.original
        return now

    def floor(self, actuation: Actuation | None) -> int:
        """Returns below how many replicas a user let it not go; KServe reads an absent minReplicas as 1."""
        asked = self.original(self.minimum, actuation) if self.minimum else None
        return 1 if asked is None else asked

    def ceiling(self, actuation: Actuation | None) -> int:
        """Returns how many replicas a user let it have, -1 where nothing of KServe's bounds it.

        KServe reads a maxReplicas below minReplicas, and so an unset one, as minReplicas.
        """
        if self.autoscaler == "none":
            return self.floor(actuation)
        if not self.maximum:
            return -1
        return max(self.original(self.maximum, actuation) or 0, self.floor(actuation), 1)


class KServeServices:
    """Looks up KServe's services of one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    def part(self, workload: Workload) -> Part | None:
        """Returns what a workload is to KServe, None where it is no scale target of a service that the view shows."""
        service = self.service(workload)
        name = workload.metadata.name
        if isinstance(service, InferenceService):
            if _revision(workload):
                return Part(service=service, autoscaler="external", obstacle="Knative")
            found = _component_of(service, name)
            return None if found is None else _component(service, *found)
        if isinstance(service, LLMInferenceService):
            for suffix, path in _LLM_PARTS.items():
                if name == child_name(service.metadata.name, suffix):
                    return _llm_part(service, path)
        return None

    def service(self, workload: Workload) -> KServeService | None:
        """Returns the KServe service that a workload belongs to."""
        meta = workload.metadata
        for owner in meta.owner_references:
            if not owner.controller or not owner.api_version.startswith(_GROUP):
                continue
            kind = {"InferenceService": InferenceService, "LLMInferenceService": LLMInferenceService}.get(owner.kind)
            found = None if kind is None else self._view.get(kind, meta.namespace, owner.name)
            return found if found is not None and found.metadata.uid == owner.uid else None
        named = meta.labels.get(INFERENCE_SERVICE_LABEL, "")
        return self._view.get(InferenceService, meta.namespace, named) if named and _revision(workload) else None

    def policy(self, workload: Workload) -> str:
        """Returns the policy that an annotation names for a workload, "" without one.

        On a KServe service it counts where people write it; what KServe may have copied to the workload does not.
        """
        service = self.service(workload)
        if service is None:
            return workload.metadata.annotations.get(POLICY_ANNOTATION, "")
        if isinstance(service, InferenceService):
            found = _component_of(service, workload.metadata.name)
            if found is not None and POLICY_ANNOTATION in found[1].annotations:
                return found[1].annotations[POLICY_ANNOTATION]
        return service.metadata.annotations.get(POLICY_ANNOTATION, "")


def selecting(workload: Workload, annotated: str, policies: Iterable[PowerCappingPolicy]) -> list[PowerCappingPolicy]:
    """Returns those of a namespace's policies that cap a workload.

    An annotation goes before selectors. One that names no policy counts for nothing: a slip must not lift a cap.
    """
    known = list(policies)
    named = [policy for policy in known if annotated and policy.metadata.name == annotated]
    return named or [policy for policy in known if policy.spec.selector.matches(workload.metadata.labels)]


def _revision(workload: Workload) -> bool:
    return any(owner.kind == _REVISION for owner in workload.metadata.owner_references)


def _component_of(service: InferenceService, target: str) -> tuple[str, Component] | None:
    """Returns the component that a Deployment runs, by the names that KServe gives."""
    name = service.metadata.name
    for component in COMPONENTS:
        found: Component | None = getattr(service.spec, component)
        if found is not None:
            named = f"{name}-{found.name}" if component == _PREDICTOR and found.name else name
            if target == f"{named}-{component}":
                return component, found
    for canary in service.spec.canary:
        if target == f"{name}-{canary.predictor.name}-{_PREDICTOR}":
            return _CANARY, canary.predictor
    return None


def _component(service: InferenceService, name: str, component: Component) -> Part:
    if name == _CANARY:
        return Part(service=service, autoscaler="none", obstacle="Canary")
    said = component.annotations.get(AUTOSCALER_ANNOTATION) or service.metadata.annotations.get(AUTOSCALER_ANNOTATION)
    minimum, maximum = f"spec.{name}.minReplicas", f"spec.{name}.maxReplicas"
    if component.worker_spec is not None:
        return Part(service=service, autoscaler="none", minimum=minimum, obstacle="MultiNode")
    match said or "hpa":
        case "external":
            return Part(service=service, autoscaler="external")
        case "keda":
            return Part(service=service, autoscaler="keda", minimum=minimum, maximum=maximum)
        case "hpa":
            return Part(service=service, autoscaler="hpa", minimum=minimum, maximum=maximum)
        case "none":
            return Part(service=service, autoscaler="none", minimum=minimum)
        case _:
            return Part(service=service, autoscaler="external", obstacle="UnknownAutoscaler")


def _llm_part(service: LLMInferenceService, path: str) -> Part | None:
    workload: LLMWorkload | None = service.spec if path == "spec" else service.spec.prefill
    if workload is None:
        return None
    if workload.scaling is not None:
        variants = workload.scaling.wva
        return Part(
            service=service,
            autoscaler="hpa" if variants is not None and variants.hpa is not None else "keda",
            minimum=f"{path}.scaling.minReplicas",
            maximum=f"{path}.scaling.maxReplicas",
        )
    if workload.replicas is not None:
        return Part(service=service, autoscaler="none", minimum=f"{path}.replicas")
    return Part(service=service, autoscaler="external")
