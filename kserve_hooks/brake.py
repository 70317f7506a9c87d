"""The brake: down to the cap by the actuator itself, while KEDA cannot ask our scaler.

KEDA cannot apply another maximum then, because it cannot rebuild its HPA (docs/designs/0003-actuator.md). What is left
are the bounds of the HPA that is there, and a pause of the ScaledObject. Both only ever lower: what has no more
replicas than its cap is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as amend

from kserve_hooks.actions import SetBrake
from kserve_hooks.capped import Capped
from kserve_hooks.outage import Answering, Outage, OutageOptions
from kserve_hooks.reverts import Sightings
from kserve_hooks.scaled_objects import TriggerOptions, asks_us
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import ActuatedField, Brake
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.braking import MAXIMUM, MINIMUM, PAUSE, PAUSED_REPLICAS, Brakeable, is_of_keda, read_held
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, ScaledObject

_PAUSED: Final = "autoscaling.keda.sh/paused"
_PAUSED_SCALE_IN: Final = "autoscaling.keda.sh/paused-scale-in"
_FALSE: Final = ("0", "f", "F", "false", "False", "FALSE")
"""What Go's strconv.ParseBool takes for false; KEDA takes all that it cannot read for true."""
_KSERVE: Final = "serving.kserve.io/"
_RETURN_SECONDS: Final = 60.0
"""KEDA says that it can ask again with its next poll (30 s by default) and HPA sync, and that has to last."""
# What KEDA 2.21 says of a ScaledObject whose only trigger it cannot ask (pkg/scaling/executor).
_FAILING: Final = (
    ("Ready", "TriggerError"),
    ("Ready", "PartialTriggerError"),
    ("Ready", "ScaledObjectCheckFailed"),
    ("HPAActive", "FailedGetExternalMetric"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Braking:
    """What the brake wants for one service.

    Attributes:
        note: what is held down from now on, None for nothing.
        write: what to write once that is noted.
        finding: what the condition Braked shall say, None for nothing.
        refused: what an API server has said to the last write, "" where it may be tried.
    """

    note: Brake | None = None
    write: SetBrake | None = None
    finding: Finding | None = None
    refused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lever:
    target: Brakeable
    values: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _PutBack:
    """Attributes: when somebody put back what the brake wrote (Unix seconds), and whether the scaler answered then."""

    at: float
    answered: bool


class Brakes:
    """Plans for one term of leadership: what it remembers only delays what it does."""

    def __init__(self, scaler: Outage, trigger: TriggerOptions, options: OutageOptions) -> None:
        """Takes whom to believe.

        Args:
            scaler: whether the scaler answers the actuator's own question.
            trigger: how triggers of ours look.
            options: when to believe what KEDA says.
        """
        self._scaler = scaler
        self._trigger = trigger
        self._options = options
        self._words: dict[str, Outage] = {}
        self._sightings = Sightings()
        self._put_back: dict[str, _PutBack] = {}

    def braking(self, capped: Capped, now: float) -> Braking:
        """Returns what the brake wants for a service at this time (Unix seconds)."""
        key = capped.recommendation.metadata.uid
        scaled = next((one for one in capped.scaled_objects if asks_us(one, self._trigger)), None)
        if not capped.enforced or capped.workload is None or scaled is None:
            return self.released(capped, now)
        note = _note(capped)
        answering = self._answering(scaled, note, now)
        if answering == "yes":
            self._put_back.pop(key, None)
            return self.released(capped, now)
        if answering == "unknown":
            return Braking(note=note, finding=None if note is None else _held(note))
        held = capped.braked
        if note is not None and held is not None and self._was_put_back(note, held):
            self._put_back[key] = _PutBack(at=now, answered=self._scaler.answered_last)
        back = self._put_back.get(key)
        if back is not None and back.answered and self._scaler.silent:
            del self._put_back[key]  # The scaler had returned for a moment only.
        elif back is not None:
            # KEDA puts its HPA back as the scaler returns: sooner than anybody may believe that, or has even asked.
            answers = self._scaler.answered_last
            self._put_back[key] = back = _PutBack(at=back.at, answered=back.answered or answers)
            waits = _RETURN_SECONDS if back.answered else self._options.down_seconds
            finding = None if now - back.at < waits else _put_back(scaled, answers=answers)
            return replace(self.released(capped, now), finding=finding)
        return self._lowered(capped, scaled, note, held, now)

    def released(self, capped: Capped, now: float) -> Braking:
        """Returns what puts back what there was. The note goes once the view shows that it is back."""
        note, target = _note(capped), capped.braked
        if note is None or target is None:
            return Braking()
        back: dict[str, int | None] = {}
        for one in note.fields:
            seen, said = read_held(target, one.field), _said_by_keda(capped, target, one.field)
            if one.is_ours(seen) and seen != said:
                back[one.field] = one.original if said is None or one.original is None else min(one.original, said)
        if not back and self._sightings.may_change_yet(target, now):
            return Braking(note=note, finding=_held(note))
        if not back:
            return Braking()  # KEDA or a user was quicker, or nothing had been written yet.
        write = SetBrake(target=target, fields=tuple(back.items()), released=True)
        return Braking(note=note, write=write, finding=_held(note))

    def sends(self, action: SetBrake, now: float) -> None:
        """Notes a write that is about to be sent."""
        self._sightings.sends(action.target, now)

    def wrote(self, action: SetBrake) -> None:
        """Notes a write that succeeded."""
        self._sightings.wrote(action.target, action.fields)

    def _was_put_back(self, note: Brake, held: Brakeable) -> bool:
        """Says whether one of our values was in place, and is not any more. Looks at all of them."""
        return sum(self._sightings.reverted(held, one, read_held(held, one.field)) for one in note.fields) > 0

    def _answering(self, scaled: ScaledObject, note: Brake | None, now: float) -> Answering:
        """Says whether KEDA can ask our scaler, by the actuator's own question and by what KEDA says."""
        own = self._scaler.answering
        if len(scaled.spec.triggers) > 1 or (note is not None and note.kind == "ScaledObject"):
            return own  # Another trigger may be the one that fails; and of what is paused KEDA says nothing new.
        word = self._words.setdefault(scaled.metadata.uid, Outage(self._options))
        word.observe(now, answered=not _failing(scaled))
        if "no" in (own, word.answering):
            return "no"
        return own if own == word.answering else "unknown"

    def _lowered(
        self, capped: Capped, scaled: ScaledObject, note: Brake | None, held: Brakeable | None, now: float
    ) -> Braking:
        cap = capped.recommendation.status.target.replicas
        workload = capped.workload
        lever: _Lever | Finding | None = None
        if workload is not None and workload.spec.replicas > cap:
            lever = self._lever(capped, scaled, note, cap)
        if isinstance(lever, _Lever) and lever.values:
            made = _noted(lever, note, now)
            write = SetBrake(target=lever.target, fields=tuple(lever.values.items()))
            return Braking(note=made, write=write, finding=_held(made))
        kept = None if note is None or held is None else _still(note, held)
        if kept is None and held is not None and self._sightings.may_change_yet(held, now):
            kept = note
        refused = lever if isinstance(lever, Finding) else None
        return Braking(note=kept, finding=refused or (None if kept is None else _held(kept)))

    def _lever(self, capped: Capped, scaled: ScaledObject, note: Brake | None, cap: int) -> _Lever | Finding:
        paused = note is not None and note.kind == "ScaledObject" and _still(note, scaled) is not None
        if _pauses(scaled) - ({PAUSED_REPLICAS} if paused else set()):
            return _paused_by_user(scaled, cap)
        # KEDA's word alone stops with a pause, so it is no reason for one.
        pausable = not _of_kserve(scaled) and self._scaler.answering == "no"
        reach = cap if pausable else max(cap, 1)
        autoscaler = _autoscaler(capped, scaled)
        if autoscaler is not None and not paused and reach > 0 and len(scaled.spec.triggers) == 1:
            fields = (MAXIMUM, MINIMUM)
            return _Lever(
                target=autoscaler,
                values={field: reach for field in fields if (read_held(autoscaler, field) or 0) > reach},
            )
        if not pausable:
            return _no_lever(scaled, cap)
        now = read_held(scaled, PAUSE)
        return _Lever(target=scaled, values={PAUSE: cap} if now is None or now > cap else {})


def _note(capped: Capped) -> Brake | None:
    """Returns what is noted to be held down; a note of nothing, which only an edit by hand leaves, is none."""
    brake = None if capped.actuation is None else capped.actuation.brake
    return brake if brake is not None and brake.fields else None


def _noted(lever: _Lever, note: Brake | None, now: float) -> Brake:
    """Returns the note of a brake that is about to be put on, or to be lowered."""
    meta = lever.target.metadata
    same = note is not None and note.uid == meta.uid
    fields = {one.field: one for one in note.fields} if note is not None and same else {}
    for field, value in lever.values.items():
        seen, old = read_held(lever.target, field), fields.get(field)
        if old is None:
            fields[field] = ActuatedField(field=field, original=seen, written=value)
            continue
        if not old.is_ours(seen):
            old = amend(old, original=seen)
        fields[field] = old.rewritten(value, seen)
    return Brake(
        kind=type(lever.target).__name__,
        name=meta.name,
        uid=meta.uid,
        fields=tuple(fields.values()),
        since=note.since if note is not None and same else format_instant(now),
    )


def _still(note: Brake, target: Brakeable) -> Brake | None:
    """Returns the note of what still has our values, None where nothing has."""
    fields = tuple(one for one in note.fields if one.is_ours(read_held(target, one.field)))
    if not fields or target.metadata.uid != note.uid:
        return None
    return Brake(kind=note.kind, name=note.name, uid=note.uid, fields=fields, since=note.since)


def _autoscaler(capped: Capped, scaled: ScaledObject) -> HorizontalPodAutoscaler | None:
    """Returns the HPA that KEDA made for a ScaledObject."""
    for one in capped.autoscalers:
        if is_of_keda(one) and any(owner.uid == scaled.metadata.uid for owner in one.metadata.owner_references):
            return one
    return None


def _said_by_keda(capped: Capped, target: Brakeable, field: str) -> int | None:
    """Returns what KEDA makes of an HPA's field by itself, None where it makes nothing of it.

    A ceiling may have come down to the very value of the brake meanwhile: it is KEDA's then, and stays.
    """
    owners = {owner.uid for owner in target.metadata.owner_references}
    if isinstance(target, HorizontalPodAutoscaler):
        for one in capped.scaled_objects:
            if one.metadata.uid in owners:
                return one.spec.max_replica_count if field == MAXIMUM else max(one.spec.min_replica_count, 1)
    return None


def _of_kserve(scaled: ScaledObject) -> bool:
    """Says whether KServe reverts what is written to a ScaledObject."""
    return not is_ours(scaled) and any(
        owner.api_version.startswith(_KSERVE) for owner in scaled.metadata.owner_references
    )


def _pauses(scaled: ScaledObject) -> set[str]:
    """Returns the annotations that keep KEDA from lowering; one that keeps it from raising is in nobody's way."""
    said = scaled.metadata.annotations
    pauses = {name for name in (_PAUSED, _PAUSED_SCALE_IN) if said.get(name, "false") not in _FALSE}
    return pauses | ({PAUSED_REPLICAS} & said.keys())


def _failing(scaled: ScaledObject) -> bool:
    said = ((one.type, one.reason) for one in scaled.status.conditions if one.status != "True")
    return any(one in _FAILING for one in said)


def _held(note: Brake) -> Finding:
    at = min(one.written for one in note.fields)
    message = (
        f"KEDA cannot ask Wattkeeper's scaler, so {note.kind} {note.name} is held at {at} until it can. Look at the "
        "scaler's pods, and at what is between them and KEDA."
    )
    return Finding(type="Braked", holds=True, reason="ScalerUnreachable", message=message)


def _paused_by_user(scaled: ScaledObject, cap: int) -> Finding:
    message = (
        f"ScaledObject {scaled.metadata.name} is paused above its cap of {cap}, not by Wattkeeper: the brake leaves it "
        f"alone. Take the annotation {_PAUSED}* away, or pause it at {cap}."
    )
    return Finding(type="Braked", holds=False, reason="PausedByUser", message=message)


def _no_lever(scaled: ScaledObject, cap: int) -> Finding:
    message = (
        f"KEDA cannot ask Wattkeeper's scaler, and nothing that holds lowers what ScaledObject {scaled.metadata.name} "
        f"scales to its cap of {cap}. Look at the scaler's pods, and at what is between them and KEDA."
    )
    return Finding(type="Braked", holds=False, reason="NoLever", message=message)


def _put_back(scaled: ScaledObject, *, answers: bool) -> Finding:
    if answers:
        remedy = "KEDA says that it cannot ask the scaler, and the actuator can: look at the ScaledObject's conditions."
    else:
        remedy = (
            "If it was KEDA, it does reach the scaler, and the actuator does not: let the actuator's pods reach the "
            "scaler's port."
        )
    message = f"Somebody has put back what the brake wrote for ScaledObject {scaled.metadata.name}. {remedy}"
    return Finding(type="Braked", holds=False, reason="BrakePutBack", message=message)
