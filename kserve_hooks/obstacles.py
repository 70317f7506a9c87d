"""What keeps the actuator from acting on a service, each with what to do about it."""

from __future__ import annotations

from kserve_hooks.capped import Capped
from kserve_hooks.scaled_objects import TriggerOptions, asks_us
from wattkeeper.api.conditions import Finding
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.kserve import AUTOSCALER_ANNOTATION
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, ScaledObject
from wattkeeper.recommender.kserve import Part


def obstacle_finding(part: Part) -> Finding:
    """Says why nothing of a service may be changed at all."""
    service = f"{type(part.service).__name__} {part.service.metadata.name}"
    match part.obstacle:
        case "Knative":
            reason = "KnativeMode"
            message = (
                f"{service} runs in KServe's Knative mode, where each change makes a new Revision: set "
                "serving.kserve.io/deploymentMode: Standard to have it capped."
            )
        case "MultiNode":
            reason = "MultiNode"
            message = (
                f"{service} has a workerSpec: KServe does not scale it. Use an LLMInferenceService, whose groups of "
                "pods are replicas, to have it capped."
            )
        case "Canary":
            reason = "Canary"
            message = (
                f"This is a canary of {service}, whose replicas KServe keeps fixed: where the cap does not carry them, "
                "lower minReplicas of its predictor in spec.canary, or take the canary out."
            )
        case _:
            reason = "UnknownAutoscaler"
            message = f"{service}: {AUTOSCALER_ANNOTATION} is none of external, keda, hpa and none. Correct it."
    return Finding(type="Actuated", holds=False, reason=reason, message=message)


def in_the_way(capped: Capped, part: Part, options: TriggerOptions) -> Finding | None:
    """Returns who else scales a target that is left to us, None where nobody does."""
    target = capped.recommendation.spec.scale_target_ref.name
    for one in capped.scaled_objects:
        if is_ours(one):
            continue
        name = one.metadata.name
        if any(owner.uid == part.service.metadata.uid for owner in one.metadata.owner_references):
            message = (
                f"ScaledObject {name} is left over from when KServe scaled {target} through KEDA, and KEDA takes no "
                f"second one: kubectl delete scaledobject {name}"
            )
            return Finding(type="Actuated", holds=False, reason="LeftOverScaledObject", message=message)
        if asks_us(one, options):
            message = f"ScaledObject {name} asks Wattkeeper already: there is nothing to write."
            return Finding(type="Actuated", holds=True, reason="OwnScaledObject", message=message)
        message = (
            f"ScaledObject {name} scales {target} without asking Wattkeeper: give it a trigger for {options.address}, "
            "or delete it and the actuator makes one."
        )
        return Finding(type="Actuated", holds=False, reason="OtherScaledObject", message=message)
    for autoscaler in capped.autoscalers:
        if not _of_keda(autoscaler, capped.scaled_objects):
            name = autoscaler.metadata.name
            message = (
                f"HorizontalPodAutoscaler {name} scales {target}, and KEDA takes no second autoscaler: kubectl delete "
                f"hpa {name}"
            )
            return Finding(type="Actuated", holds=False, reason="OtherAutoscaler", message=message)
    return None


def _of_keda(autoscaler: HorizontalPodAutoscaler, scaled_objects: tuple[ScaledObject, ...]) -> bool:
    if any(owner.kind == "ScaledObject" for owner in autoscaler.metadata.owner_references):
        return True
    return autoscaler.metadata.name in {f"keda-hpa-{one.metadata.name}" for one in scaled_objects}
