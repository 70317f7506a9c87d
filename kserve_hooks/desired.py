"""What shall be changed for one service so that its ceiling is kept: one rule for each way that KServe scales it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kserve_hooks.capped import Capped
from kserve_hooks.ceilings import Rises, hard_ceiling
from kserve_hooks.migrate_levers import may_raise, with_surge
from kserve_hooks.obstacles import in_the_way, obstacle_finding
from kserve_hooks.scaled_objects import TriggerOptions, our_scaled_object, scaled_object_name
from wattkeeper.api.conditions import Finding
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.kserve import read_field
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.recommender.kserve import Part
from wattkeeper.recommender.pod_metric import asks_for_replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """What shall be changed.

    Attributes:
        managed: the actuator keeps a ceiling for this service.
        fields: replica bounds that shall differ from what the user wrote.
        scaled_object: of ours, None where there shall be none.
        finding: what the condition Actuated shall say, None for nothing.
        refused: what an API server or a webhook has said to the last change, "" where it may be tried.
    """

    managed: bool = False
    fields: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    scaled_object: ScaledObject | None = None
    finding: Finding | None = None
    refused: str = ""


NOTHING = Desired()


def desired(
    capped: Capped, rises: Rises, options: TriggerOptions, now: float, *, fresh: bool, surge: int = 0
) -> Desired:
    """Returns what shall be changed for a service whose recommendation is obeyed.

    Args:
        capped: the service.
        rises: remembers ceilings that could be higher.
        options: how triggers of ours look.
        now: Unix seconds.
        fresh: somebody has decided lately.
        surge: how many replicas it shall have at least while one of its pods moves, 0 while none does.
    """
    part = capped.part
    if part is None and (capped.workload is None or capped.unseen):
        return _as_it_is(capped)
    if part is None:
        return NOTHING  # Nothing of KServe's: its own ScaledObject asks us, or nobody does.
    if part.obstacle:
        return Desired(finding=obstacle_finding(part))
    key = capped.recommendation.metadata.uid
    if part.maximum:
        found = _bounded(capped, part, _settled(capped, part, part.maximum, rises, key, now, fresh=fresh))
        return _with_surge(capped, part, found, surge)
    if part.minimum:
        found = _counted(capped, part, _settled(capped, part, part.minimum, rises, key, now, fresh=fresh))
        return _with_surge(capped, part, found, surge)
    return _scaled(capped, part, rises, options, now, fresh=fresh)


def _with_surge(capped: Capped, part: Part, found: Desired, surge: int) -> Desired:
    if not surge or not may_raise(capped):
        return found
    most = found.fields.get(part.maximum, part.ceiling(capped.actuation))
    return replace(found, fields=with_surge(part, found.fields, surge, floor=part.floor(capped.actuation), most=most))


def _as_it_is(capped: Capped) -> Desired:
    """Not everything is to be seen, for a moment or for good: nothing moves until the recommendation goes."""
    fields = {path: note.written for path, note in capped.recorded().items()}
    ours = next((one for one in capped.scaled_objects if is_ours(one)), None)
    return Desired(managed=bool(fields), fields=fields, scaled_object=ours)


def _settled(capped: Capped, part: Part, path: str, rises: Rises, key: str, now: float, *, fresh: bool) -> int:
    """Returns the ceiling of a service that KServe scales, or nobody does: at most what users let it have."""
    asked = part.ceiling(capped.actuation)
    held = capped.recorded().get(path)
    status = capped.recommendation.status
    in_force = asked if held is None else min(held.written, asked)
    if held is not None and fresh and not held.is_ours(read_field(part.service, path)):
        in_force = asked  # The user's value is back, and the note of it goes with this pass.
    # A trigger that tells the number leaves to the ceiling what a budget binds, as on a ScaledObject of ours.
    told = any(map(asks_for_replicas, capped.scaled_objects))
    wanted = min(hard_ceiling(status, in_force) if told else status.target.replicas, asked)
    return rises.settled(key, in_force=in_force, wanted=wanted, now=now, fresh=fresh)


def _bounded(capped: Capped, part: Part, ceiling: int) -> Desired:
    """KServe's own HPA or ScaledObject: the ceiling is its maxReplicas, of which KServe reads 0 as unset."""
    asked, floor = part.ceiling(capped.actuation), part.floor(capped.actuation)
    reachable = max(ceiling, 1)
    if reachable < floor and not _may_lower(capped):
        fields = {part.maximum: floor} if floor < asked else {}
        return Desired(managed=True, fields=fields, finding=_too_high(capped, part, floor, ceiling))
    fields: dict[str, int] = {}
    if reachable < asked:
        fields[part.maximum] = reachable
    if reachable < floor:
        fields[part.minimum] = reachable
    if ceiling < 1:
        message = (
            f"The cap is 0, and KServe's {part.autoscaler} autoscaler keeps one replica: give PowerCappingPolicy "
            f"{capped.recommendation.spec.policy} minReplicas 1, or the service the autoscaler class external."
        )
        finding = Finding(type="Actuated", holds=False, reason="OneReplicaStays", message=message)
        return Desired(managed=True, fields=fields, finding=finding)
    return Desired(managed=True, fields=fields, finding=_kept(part, fields))


def _counted(capped: Capped, part: Part, ceiling: int) -> Desired:
    """Nobody scales it: there are as many replicas as its owner says, unless the policy lets us say fewer."""
    asked = part.floor(capped.actuation)
    if ceiling >= asked:
        return Desired(managed=True, finding=_kept(part, {}))
    if not _may_lower(capped):
        return Desired(managed=True, finding=_too_high(capped, part, asked, ceiling))
    fields = {part.minimum: ceiling}
    return Desired(managed=True, fields=fields, finding=_kept(part, fields))


def _scaled(capped: Capped, part: Part, rises: Rises, options: TriggerOptions, now: float, *, fresh: bool) -> Desired:
    """KServe leaves the replicas to others: a ScaledObject of ours asks the scaler for the exact number."""
    found = in_the_way(capped, part, options)
    if found is not None:
        return Desired(managed=found.holds, finding=found)
    status = capped.recommendation.status
    name = scaled_object_name(capped.recommendation.spec.scale_target_ref.name)
    before = next((one for one in capped.scaled_objects if one.metadata.name == name), None)
    in_force = None if before is None else before.spec.max_replica_count
    wanted = max(hard_ceiling(status, in_force), status.lower_bound.replicas, 1)
    key = capped.recommendation.metadata.uid
    ceiling = rises.settled(key, in_force=wanted if in_force is None else in_force, wanted=wanted, now=now, fresh=fresh)
    made = our_scaled_object(capped.recommendation, part, options, floor=status.lower_bound.replicas, ceiling=ceiling)
    finding = Finding(
        type="Actuated",
        holds=True,
        reason="ScaledObjectMade",
        message=f"ScaledObject {name} scales {capped.recommendation.spec.scale_target_ref.name}.",
    )
    return Desired(managed=True, scaled_object=made, finding=finding)


def _may_lower(capped: Capped) -> bool:
    rules = None if capped.policy is None else capped.policy.spec.actuation
    return rules is not None and rules.lower_min_replicas


def _too_high(capped: Capped, part: Part, floor: int, ceiling: int) -> Finding:
    service = part.service
    message = (
        f"{part.minimum} of {type(service).__name__} {service.metadata.name} is {floor}, and the ceiling {ceiling}. "
        "Lower it, or let the actuator do so with actuation.lowerMinReplicas of PowerCappingPolicy "
        f"{capped.recommendation.spec.policy}."
    )
    return Finding(type="Actuated", holds=False, reason="MinReplicasAboveCeiling", message=message)


def _kept(part: Part, fields: Mapping[str, int]) -> Finding:
    service = part.service
    if not fields:
        message = f"The ceiling is no lower than what {type(service).__name__} {service.metadata.name} asks for."
        return Finding(type="Actuated", holds=True, reason="NothingToWrite", message=message)
    said = ", ".join(f"{path} {value}" for path, value in fields.items())
    message = f"{type(service).__name__} {service.metadata.name} is held at {said}."
    return Finding(type="Actuated", holds=True, reason="CeilingWritten", message=message)
