"""Events: a function per reason, each with the key under which repetitions are one series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kserve_hooks.actions import (
    Announce,
    ApplyScaledObject,
    DeleteScaledObject,
    Publish,
    SetBrake,
    SetFields,
    Write,
    describe,
)
from kserve_hooks.capped import Capped
from kserve_hooks.migrate_events import migration_refused
from kserve_hooks.pod_actions import Evict, SetDeletionCost
from kserve_hooks.violating import why_evicted
from wattkeeper.api.conditions import message_of, message_unless
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.kserve import KServeService, read_field
from wattkeeper.recommender.kserve import Workload

_EVICTIONS_REFUSED: Final = {"KillBlocked": "KillRefused", "ReplaceBlocked": "ReplaceRefused"}


def ceiling_written(regarding: PowerRecommendation, what: str) -> EventRecord:
    """A service is held at other bounds than before."""
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="CeilingWritten",
        action="Actuate",
        note=f"The actuator has {what}.",
        dedupe_key="ceiling-written",
    )


def scaled_object_written(regarding: PowerRecommendation, what: str) -> EventRecord:
    """A ScaledObject of ours was made or changed."""
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="ScaledObjectWritten",
        action="Actuate",
        note=f"The actuator has {what}.",
        dedupe_key="scaled-object-written",
    )


def restored(regarding: PowerRecommendation, what: str) -> EventRecord:
    """What a user had is back."""
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="Restored",
        action="Restore",
        note=f"The actuator has {what}: the service is as it was.",
        dedupe_key="restored",
    )


def hindered(regarding: PowerRecommendation, why: str, message: str) -> EventRecord:
    """Something keeps the actuator from keeping a ceiling; the reason is the condition's own."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason=why,
        action="Actuate",
        note=message,
        dedupe_key=f"hindered/{why}",
    )


def put_back(regarding: PowerRecommendation, message: str) -> EventRecord:
    """Somebody puts back what the actuator writes."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="PutBack",
        action="Actuate",
        note=message,
        dedupe_key="put-back",
    )


def braked(regarding: PowerRecommendation, what: str, why: str) -> EventRecord:
    """The brake was put on, or lowered."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="Braked",
        action="Brake",
        note=f"{why}: the actuator has {what}.",
        dedupe_key="braked",
    )


def brake_released(regarding: PowerRecommendation, what: str) -> EventRecord:
    """What the brake held down is as it was."""
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="BrakeReleased",
        action="Brake",
        note=f"The brake is off {what}.",
        dedupe_key="brake-released",
    )


def brake_refused(regarding: PowerRecommendation, message: str) -> EventRecord:
    """A service is above its cap, and the brake cannot or must not lower it."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="BrakeRefused",
        action="Brake",
        note=message,
        dedupe_key="brake-refused",
    )


def policy_unknown(regarding: KServeService | Workload, name: str) -> EventRecord:
    """An annotation names a policy that does not exist."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="PolicyUnknown",
        action="Select",
        note=f"No PowerCappingPolicy {name} in namespace {regarding.metadata.namespace}: correct the annotation "
        "wattkeeper.dev/policy, or create the policy. Until then selectors count.",
        dedupe_key=f"policy-unknown/{name}",
    )


def pod_marked(regarding: PowerRecommendation, what: str) -> EventRecord:
    """A pod goes before others when replicas fall, or does not any more."""
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="PodMarked",
        action="Kill",
        note=f"The actuator has {what}: the lowest goes first when replicas fall.",
        dedupe_key="pod-marked",
    )


def pod_evicted(regarding: PowerRecommendation, pod: str, why: str) -> EventRecord:
    """A pod was made to go."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="PodEvicted",
        action="Kill",
        note=f"The actuator has evicted pod {pod}: {why}.",
        dedupe_key=f"pod-evicted/{pod}",
    )


def eviction_refused(regarding: PowerRecommendation, reason: str, why: str, message: str) -> EventRecord:
    """A pod has to go, and stays."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason=reason,
        action="Kill",
        note=message,
        dedupe_key=f"{reason}/{why}",
    )


def events_of(capped: Capped, actions: Sequence[Write]) -> Iterator[Announce]:
    """Yields what the actions of one service mean to people."""
    for action in actions:
        for event in _meaning(capped, action):
            yield Announce(event=event, after=action)


def _meaning(capped: Capped, action: Write) -> Iterator[EventRecord]:
    one = capped.recommendation
    recorded = capped.recorded()
    match action:
        case SetFields(service=service, fields=fields):
            back = all(
                path in recorded and recorded[path].original == value and read_field(service, path) != value
                for path, value in fields
            )
            what = describe(action)
            yield restored(one, what) if back else ceiling_written(one, what)
        case ApplyScaledObject():
            yield scaled_object_written(one, _past(describe(action)))
        case DeleteScaledObject():
            yield restored(one, _past(describe(action)))
        case SetBrake(released=False, why=why):
            yield braked(one, describe(action), why)
        case SetDeletionCost():
            yield pod_marked(one, describe(action))
        case Evict(claim=claim):
            yield pod_evicted(one, claim.pod.metadata.name, why_evicted(one.status.actuation))
        case Publish(actuation=actuation, conditions=conditions):
            yield from _said(one, conditions)
            before = None if one.status.actuation is None else one.status.actuation.brake
            if before is not None and (actuation is None or actuation.brake is None):
                yield brake_released(one, f"{before.kind} {before.name}")
        case _:
            pass


def _said(one: PowerRecommendation, conditions: tuple[Condition, ...]) -> Iterator[EventRecord]:
    before = one.status.conditions
    for condition in conditions:
        if condition.type == "Actuated" and condition.status == "False":
            reason = next((each.reason for each in before if each.type == "Actuated"), "")
            if reason != condition.reason or not message_unless(before, "Actuated"):
                yield hindered(one, condition.reason, condition.message)
        refused = condition.type == "Braked" and condition.status == "False"
        if refused and message_unless(before, "Braked") != condition.message:
            yield brake_refused(one, condition.message)
        if condition.type == "Reverted" and message_of(before, "Reverted") != condition.message:
            yield put_back(one, condition.message)
        refusal = _EVICTIONS_REFUSED.get(condition.type)
        if refusal and message_of(before, condition.type) != condition.message:
            yield eviction_refused(one, refusal, condition.reason, condition.message)
        if condition.type == "MigrationRefused" and message_of(before, "MigrationRefused") != condition.message:
            yield migration_refused(one, condition.reason, condition.message)


def _past(what: str) -> str:
    verb, _, rest = what.partition(" ")
    return f"{ {'make': 'made', 'change': 'changed', 'delete': 'deleted'}.get(verb, verb) } {rest}"
