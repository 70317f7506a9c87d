"""What in a ScaledObject keeps a cap from being kept, or delays it. Sentences for people, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaler.errors import MetadataError
from scaler.metadata import parse_metadata
from scaler.scale_down_behavior import (
    TOLERANCE_SINCE_MINOR,
    asked_tolerance,
    has_formula,
    stabilization_seconds,
)
from wattkeeper.cluster.objects import ScaledObject, Trigger
from wattkeeper.recommender.pod_metric import OUR_QUERIES, asked_query

EXTERNAL_TRIGGERS = ("external", "external-push")
RESOURCE_TRIGGERS = ("cpu", "memory")
# From here on a step of one replica can lie inside the HPA's own tolerance of 10 %.
_REPLICAS_IN_TOLERANCE = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class CapFindings:
    """What was found.

    Attributes:
        unachievable: reasons why some cap cannot be kept at all.
        hindrances: reasons why a cap comes later, or ends lower, than it should.
        has_trigger: a trigger of ours scales the target; without one nothing enforces.
    """

    unachievable: tuple[str, ...]
    hindrances: tuple[str, ...]
    has_trigger: bool


def check_scaled_objects(
    scaled_objects: Sequence[ScaledObject], *, floor: int, ceiling: int, server_minor: int
) -> CapFindings:
    """Checks everything that scales one target.

    Args:
        scaled_objects: all that name the target, usually one.
        floor: the policy's minReplicas, which a cap can fall to.
        ceiling: the policy's maxReplicas.
        server_minor: the API server's minor version.
    """
    unachievable: list[str] = []
    hindrances: list[str] = []
    if len(scaled_objects) > 1:
        names = ", ".join(sorted(one.metadata.name for one in scaled_objects))
        unachievable.append(f"ScaledObjects {names} scale the same target: keep one.")
    for one in scaled_objects:
        hindrances += _refused(one)
        if our_triggers(one):
            kept, delayed = _unachievable(one, floor), _below_floor(one, floor)
            delayed += _hindrances(one, ceiling, server_minor)
            unachievable += kept + _whose(one, kept)
            hindrances += delayed + _whose(one, delayed)
    return CapFindings(
        unachievable=tuple(unachievable),
        hindrances=tuple(hindrances),
        has_trigger=any(our_triggers(one) for one in scaled_objects),
    )


def _whose(scaled_object: ScaledObject, found: Sequence[str]) -> list[str]:
    """Says where to change what KServe makes, if anything is to be changed: it reverts a change of the ScaledObject."""
    for owner in scaled_object.metadata.owner_references:
        if found and owner.controller and owner.kind == "InferenceService":
            return [
                f"KServe makes ScaledObject {scaled_object.metadata.name} of InferenceService {owner.name}: change "
                "minReplicas and autoScaling there; what neither can say cannot be set."
            ]
    return []


def our_triggers(scaled_object: ScaledObject) -> list[Trigger]:
    """Returns the triggers that may be ours: external ones whose metadata we could answer."""
    return [one for one in scaled_object.spec.triggers if one.type in EXTERNAL_TRIGGERS and _understood(one)]


def _understood(trigger: Trigger) -> bool:
    try:
        parse_metadata(trigger.metadata)
    except MetadataError:
        return False
    return True


def _refused(scaled_object: ScaledObject) -> list[str]:
    """Says what KEDA does not: why a PodMetric that is meant for us gets no answer. KEDA writes it to its log alone."""
    found: list[str] = []
    for trigger in scaled_object.spec.triggers:
        query = asked_query(trigger.metadata)
        if query is None or not query.startswith(OUR_QUERIES):
            continue
        try:
            parse_metadata(trigger.metadata)
        except MetadataError as error:
            found.append(f"ScaledObject {scaled_object.metadata.name} gets no answer: {error}")
    return found


def _unachievable(scaled_object: ScaledObject, floor: int) -> list[str]:
    spec, name = scaled_object.spec, scaled_object.metadata.name
    found: list[str] = []
    if floor < spec.min_replica_count:
        found.append(
            f"The cap can fall to {floor}, but ScaledObject {name} has minReplicaCount {spec.min_replica_count}: set "
            f"it to {floor}, or raise the policy's minReplicas."
        )
    if floor == 0 and spec.cooldown_period > 0:
        found.append(
            f"A cap of 0 waits for cooldownPeriod {spec.cooldown_period} s of ScaledObject {name}: set it to 0, or the "
            "policy's minReplicas to 1."
        )
    others = [one for one in spec.triggers if one not in our_triggers(scaled_object)]
    if others and not has_formula(scaled_object):
        found.append(
            f"ScaledObject {name} has other triggers, and the HPA takes the highest of all: join them with "
            "advanced.scalingModifiers.formula, such as min(demand, cap)."
        )
    elif any(one.type in RESOURCE_TRIGGERS for one in others):
        found.append(
            f"The cpu and memory triggers of ScaledObject {name} stay outside of its formula, and the HPA takes the "
            "highest: remove them."
        )
    return found


def _below_floor(scaled_object: ScaledObject, floor: int) -> list[str]:
    """Says where KEDA may stop a target that no cap may stop.

    KEDA 2.21 reads a trigger as inactive, without an error, where its scalers are rebuilt while it asks them
    (pkg/scaling/scale_handler.go, getScalerState: ErrCacheClosed). With minReplicaCount 0 that scales to zero.
    """
    if floor == 0 or scaled_object.spec.min_replica_count > 0:
        return []
    name = scaled_object.metadata.name
    return [
        f"KEDA can stop the target for a moment when ScaledObject {name} is changed, because its minReplicaCount is 0: "
        f"set it to {floor}, the policy's minReplicas."
    ]


def _hindrances(scaled_object: ScaledObject, ceiling: int, server_minor: int) -> list[str]:
    name = scaled_object.metadata.name
    found: list[str] = []
    seconds = stabilization_seconds(scaled_object)
    if seconds > 0:
        found.append(
            f"The HPA delays every cut by {seconds} s: set "
            "advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds of ScaledObject "
            f"{name} to 0 (the policy's demand.stabilizationSeconds steadies demand instead)."
        )
    if ceiling <= _REPLICAS_IN_TOLERANCE:
        return found
    tolerance = asked_tolerance(scaled_object)
    if tolerance != 0.0:
        found.append(
            "The HPA ignores cuts inside its tolerance, so some end lower than the cap: set "
            f'behavior.scaleDown.tolerance of ScaledObject {name} to "0", or a ceiling is needed to be exact.'
        )
    elif server_minor < TOLERANCE_SINCE_MINOR:
        found.append(
            f"Kubernetes 1.{server_minor} drops behavior.scaleDown.tolerance, so some cuts end lower than the cap: a "
            "ceiling is needed to be exact."
        )
    return found
