"""From what shall be changed, what is changed and what was noted, to the writes in between, in an order that is safe.

Before a field is changed, the recommendation notes what it was, and a finalizer keeps the note. A note goes only once
the view shows that the user's value is back. So whoever continues after a crash knows what to put back.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from msgspec.structs import replace

from kserve_hooks.actions import ApplyScaledObject, DeleteScaledObject, Hold, Publish, SetBrake, SetFields, Write
from kserve_hooks.brake_notes import Braking
from kserve_hooks.capped import Capped
from kserve_hooks.desired import Desired
from kserve_hooks.kill import Killing
from kserve_hooks.reverts import RevertOptions, Reverts, Sightings, revert_finding
from kserve_hooks.scaled_objects import is_as_wanted
from wattkeeper.api.conditions import Finding, with_transitions
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import ACTUATOR_CONDITIONS, ActuatedField, Actuation, Brake, Kill
from wattkeeper.cluster.actuation import FINALIZER, is_ours
from wattkeeper.cluster.kserve import KServeService, read_field


@dataclass(kw_only=True, slots=True)
class _Fields:
    """Attributes: notes from now on, writes by path, and fields that somebody has put back."""

    notes: list[ActuatedField] = field(default_factory=list[ActuatedField])
    writes: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    put_back: list[str] = field(default_factory=list[str])
    settled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What is to be done for one service.

    Attributes:
        actions: in order.
        hindered: something stands in the way of its ceiling.
    """

    actions: list[Write]
    hindered: bool


def reconcile(
    capped: Capped,
    wanted: Desired,
    braking: Braking,
    killing: Killing,
    extra: tuple[Finding, ...],
    sightings: Sightings,
    options: RevertOptions,
    now: float,
) -> Reconciled:
    """Returns what to do for one service. Nothing where all is as it shall be.

    Args:
        capped: the service.
        wanted: what shall be changed.
        braking: what shall be held down, or let go.
        killing: which pods are made to go.
        extra: what else the status shall say.
        sightings: which of our values were seen in place.
        options: when reverts are enough.
        now: Unix seconds.
    """
    reverts = Reverts.of(capped.actuation)
    fields, service = _Fields(), capped.service
    if service is not None:
        fields = _fields(capped, service, wanted, sightings, now)
    scaled, note = _scaled_object(capped, wanted)
    changed = next((one for one in scaled if isinstance(one, ApplyScaledObject)), None)
    fields.settled = fields.settled and changed is None
    undone = _undone(wanted, capped, changed, sightings, now, paused=reverts.paused(options, now))
    if (fields.put_back or undone) and service is not None:
        reverts = reverts.again(service, fields.put_back, now)
    elif fields.settled and reverts.over(options, now):
        reverts = Reverts()
    if killing.awaited and service is not None:
        _keep_up(fields, service)
    findings = [one for one in (wanted.finding, braking.finding, *killing.findings, *extra) if one is not None]
    if reverts.count and service is not None and (wanted.fields or wanted.scaled_object is not None):
        said = revert_finding(_held(service, wanted), reverts, options, now)
        findings = _together(findings, said)
        if reverts.paused(options, now):
            for path in wanted.fields:
                fields.writes.pop(path, None)
            scaled = [one for one in scaled if one is not changed]
            findings = [_given_up(one, said) for one in findings]
    after = _actuation(capped, wanted, fields, reverts, note, braking.note, killing.note, now)
    brake = braking.write
    if wanted.refused and (fields.writes or scaled):
        fields.writes, scaled = {}, []
        findings = _refused(findings, "Actuated", wanted.refused)
    if braking.refused and brake is not None:
        brake = None
        findings = _refused(findings, "Braked", braking.refused)
    return Reconciled(
        actions=_ordered(capped, after, findings, brake, fields, scaled, now),
        hindered=any(one.type == "Actuated" and not one.holds for one in findings),
    )


def _fields(capped: Capped, service: KServeService, wanted: Desired, sightings: Sightings, now: float) -> _Fields:
    out = _Fields()
    recorded = capped.recorded()
    for path, value in wanted.fields.items():
        seen = read_field(service, path)
        note = recorded.get(path)
        if note is None:
            note = ActuatedField(field=path, original=_original(capped, path, seen), written=value)
        else:
            if sightings.reverted(service, note, seen):
                out.put_back.append(path)
            if not note.is_ours(seen):
                # Somebody else's value is what a user wants now, and what is put back in the end.
                note = replace(note, original=seen)
            note = note.rewritten(value, seen)
        out.notes.append(note)
        if seen != value:
            out.writes[path] = value
            out.settled = False
    for path, note in recorded.items():
        if path in wanted.fields:
            continue
        if note.is_ours(read_field(service, path)):
            out.notes.append(note)
            out.writes[path] = note.original
        elif sightings.may_change_yet(service, now):
            out.notes.append(note)
    return out


def _keep_up(fields: _Fields, service: KServeService) -> None:
    """Takes out what would lower a bound: the pods that shall go first do not show yet that they do."""
    for path, value in list(fields.writes.items()):
        seen = read_field(service, path)
        if value is not None and (seen is None or value < seen):
            del fields.writes[path]


def _original(capped: Capped, path: str, seen: int | None) -> int | None:
    """Returns what a user had written in a field of which nothing is noted here."""
    other = capped.originals.get(path)
    return other.original if other is not None and other.is_ours(seen) else seen


def _scaled_object(capped: Capped, wanted: Desired) -> tuple[list[Write], str]:
    """Returns deletions and applies, and the name to note: of what shall be there, or is still there."""
    ours = [one for one in capped.scaled_objects if is_ours(one)]
    target = wanted.scaled_object
    gone: list[Write] = [
        DeleteScaledObject(gone=one) for one in ours if target is None or one.metadata.name != target.metadata.name
    ]
    if target is None:
        return gone, ours[0].metadata.name if ours else ""
    before = next((one for one in ours if one.metadata.name == target.metadata.name), None)
    same = before is not None and is_as_wanted(before, target)
    changes: list[Write] = [] if same else [ApplyScaledObject(wanted=target, before=before)]
    return [*gone, *changes], target.metadata.name


def _undone(
    wanted: Desired,
    capped: Capped,
    changed: ApplyScaledObject | None,
    sightings: Sightings,
    now: float,
    *,
    paused: bool,
) -> bool:
    """Says whether a ScaledObject of ours has been written in vain."""
    target = wanted.scaled_object
    if changed is not None and changed.before is not None and paused:
        sightings.leaves(changed.before)
        return False
    if changed is not None:
        return changed.before is not None and sightings.undone(changed.before, changed.wanted, now)
    for one in capped.scaled_objects:
        if target is not None and is_ours(one) and one.metadata.name == target.metadata.name:
            sightings.whole(one, target)
    return False


def _held(service: KServeService, wanted: Desired) -> str:
    if wanted.scaled_object is not None:
        return f"ScaledObject {wanted.scaled_object.metadata.name}"
    return f"{', '.join(wanted.fields)} of {type(service).__name__} {service.metadata.name}"


def _actuation(
    capped: Capped,
    wanted: Desired,
    fields: _Fields,
    reverts: Reverts,
    scaled_object: str,
    brake: Brake | None,
    kill: Kill | None,
    now: float,
) -> Actuation | None:
    service, part, before = capped.service, capped.part, capped.actuation
    changed = bool(fields.notes) or bool(scaled_object) or brake is not None or kill is not None
    if service is None:
        kept = before if scaled_object or capped.unseen else None
        if brake is None and kill is None:
            return kept if kept is None else replace(kept, brake=None, kill=None)
        since = format_instant(now) if before is None else before.since
        return replace(kept or Actuation(autoscaler="", since=since), brake=brake, kill=kill)
    if not (wanted.managed or changed):
        return None
    meta = service.metadata
    autoscaler = "" if before is None else before.autoscaler
    return Actuation(
        autoscaler=autoscaler if part is None else part.autoscaler,
        kind=type(service).__name__,
        name=meta.name,
        uid=meta.uid,
        fields=tuple(sorted(fields.notes, key=lambda one: one.field)),
        scaled_object=scaled_object,
        brake=brake,
        kill=kill,
        since=before.since if before is not None and before.uid == meta.uid else format_instant(now),
        reverts=reverts.count,
        reverted_at=reverts.stamp(),
        reverted_by=reverts.by,
    )


def _ordered(
    capped: Capped,
    after: Actuation | None,
    findings: list[Finding],
    brake: SetBrake | None,
    fields: _Fields,
    scaled: list[Write],
    now: float,
) -> list[Write]:
    one = capped.recommendation
    meta, status = one.metadata, one.status
    said = tuple(each for each in status.conditions if each.type in ACTUATOR_CONDITIONS)
    conditions = with_transitions(tuple(findings), said, meta, now)
    held = FINALIZER in meta.finalizers
    changed = after is not None and (after.fields or after.scaled_object or after.brake or after.kill)
    actions: list[Write] = []
    if changed and not held and not meta.deletion_timestamp:
        actions.append(Hold(regarding=one, held=True))
    if after != capped.actuation or sorted(conditions, key=_type) != sorted(said, key=_type):
        actions.append(Publish(regarding=one, actuation=after, conditions=conditions))
    if brake is not None:
        actions.append(brake)
    if fields.writes and capped.service is not None:
        actions.append(SetFields(service=capped.service, fields=tuple(sorted(fields.writes.items()))))
    actions += scaled
    if not changed and held:
        actions.append(Hold(regarding=replace(one, status=replace(status, actuation=after)), held=False))
    return actions


def _type(condition: object) -> str:
    return getattr(condition, "type", "")


def _refused(findings: list[Finding], about: str, why: str) -> list[Finding]:
    kept = [one for one in findings if one.type != about]
    return [Finding(type=about, holds=False, reason="WriteRefused", message=why), *kept]


def _together(findings: list[Finding], said: Finding) -> list[Finding]:
    """Adds a finding. A condition is there once: what is said of its type already, such as of pods, is said with it."""
    others = [one for one in findings if one.type != said.type]
    same = (one.message for one in findings if one.type == said.type)
    return [*others, dataclasses.replace(said, message=" ".join((said.message, *same)))]


def _given_up(one: Finding, said: Finding) -> Finding:
    if one.type != "Actuated":
        return one
    return Finding(type="Actuated", holds=False, reason="Reverted", message=said.message)
