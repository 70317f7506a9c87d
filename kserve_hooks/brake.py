"""The brake: down to the cap by the actuator itself, while KEDA cannot ask our scaler, or is not quick enough.

While it cannot ask, KEDA cannot apply another maximum, because it cannot rebuild its HPA
(docs/designs/0003-actuator.md). What is left are the bounds of the HPA that is there, and a pause of the ScaledObject.
Both only ever lower: what has no more replicas than its cap is left alone. While it can, overshoot.py decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as amend

from kserve_hooks import brake_findings as findings
from kserve_hooks.actions import SetBrake
from kserve_hooks.brake_notes import Braking, Lever, is_of_kserve, is_paused_by_user, note_of, noted, still
from kserve_hooks.capped import Capped
from kserve_hooks.outage import Answering, Outage, OutageOptions
from kserve_hooks.overshoot import Overshoots
from kserve_hooks.reverts import Sightings
from kserve_hooks.scaled_objects import TriggerOptions, asks_us
from wattkeeper.api.conditions import Finding
from wattkeeper.api.power_recommendation import Brake
from wattkeeper.cluster.braking import MAXIMUM, MINIMUM, PAUSE, Brakeable, is_of_keda, read_held
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, ScaledObject

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
class _PutBack:
    """Attributes: when somebody put back what the brake wrote (Unix seconds), and whether the scaler answered then."""

    at: float
    answered: bool


class Brakes:
    """Plans for one term of leadership: what it remembers only delays what it does."""

    def __init__(self, view: View, scaler: Outage, trigger: TriggerOptions, options: OutageOptions) -> None:
        """Takes whom to believe.

        Args:
            view: the caches, for limits of budgets.
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
        self._overshoots = Overshoots(view, self._sightings)

    def braking(self, capped: Capped, now: float, *, fresh: bool) -> Braking:
        """Returns what the brake wants for a service.

        Args:
            capped: the service.
            now: Unix seconds.
            fresh: somebody has decided lately.
        """
        key = capped.recommendation.metadata.uid
        scaled = next((one for one in capped.scaled_objects if asks_us(one, self._trigger)), None)
        if not capped.enforced or capped.workload is None:
            return self.released(capped, now)
        note = note_of(capped)
        answering = "yes" if scaled is None else self._answering(scaled, note, now)
        if scaled is None or answering == "yes":
            self._put_back.pop(key, None)
            # Bounds first become what they were: there is one brake at a time, and one note.
            other = note is not None and (scaled is None or note.kind != ScaledObject.__name__)
            overshoot = None if other else self._overshoots.braking(capped, scaled, now, fresh=fresh)
            return overshoot or self.released(capped, now)
        if answering == "unknown":
            return Braking(note=note, finding=None if note is None else findings.held(note))
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
            finding = None if now - back.at < waits else findings.put_back(scaled, answers=answers)
            return replace(self.released(capped, now), finding=finding)
        return self._lowered(capped, scaled, note, held, now)

    def released(self, capped: Capped, now: float) -> Braking:
        """Returns what puts back what there was. The note goes once the view shows that it is back."""
        note, target = note_of(capped), capped.braked
        if note is None or target is None:
            return Braking()
        back: dict[str, int | None] = {}
        for one in note.fields:
            seen, said = read_held(target, one.field), _said_by_keda(capped, target, one.field)
            if one.is_ours(seen) and seen != said:
                back[one.field] = one.original if said is None or one.original is None else min(one.original, said)
        if not back and self._sightings.may_change_yet(target, now):
            return Braking(note=note, finding=findings.held(note))
        if not back:
            return Braking()  # KEDA or a user was quicker, or nothing had been written yet.
        write = SetBrake(target=target, fields=tuple(back.items()), released=True)
        return Braking(note=note, write=write, finding=findings.held(note))

    def sends(self, action: SetBrake, now: float) -> None:
        """Notes a write that is about to be sent."""
        self._sightings.sends(action.target, now)
        if action.released:
            self._sightings.forget(action.target)

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
        lever: Lever | Finding | None = None
        if workload is not None and workload.spec.replicas > cap:
            lever = self._lever(capped, scaled, note, cap)
        if isinstance(lever, Lever) and lever.values:
            made = noted(lever, note, "ScalerUnreachable", now)
            write = SetBrake(target=lever.target, fields=tuple(lever.values.items()), why=findings.UNREACHABLE)
            return Braking(note=made, write=write, finding=findings.held(made))
        kept = None if note is None or held is None else still(note, held)
        if kept is None and held is not None and self._sightings.may_change_yet(held, now):
            kept = note
        if kept is not None:
            kept = amend(kept, reason="ScalerUnreachable", budget="")
        refused = lever if isinstance(lever, Finding) else None
        return Braking(note=kept, finding=refused or (None if kept is None else findings.held(kept)))

    def _lever(self, capped: Capped, scaled: ScaledObject, note: Brake | None, cap: int) -> Lever | Finding:
        if is_paused_by_user(scaled, note):
            return findings.paused_by_user(scaled, cap)
        paused = note is not None and note.kind == "ScaledObject" and still(note, scaled) is not None
        # KEDA's word alone stops with a pause, so it is no reason for one.
        pausable = not is_of_kserve(scaled) and self._scaler.answering == "no"
        reach = cap if pausable else max(cap, 1)
        autoscaler = _autoscaler(capped, scaled)
        if autoscaler is not None and not paused and reach > 0 and len(scaled.spec.triggers) == 1:
            fields = (MAXIMUM, MINIMUM)
            return Lever(
                target=autoscaler,
                values={field: reach for field in fields if (read_held(autoscaler, field) or 0) > reach},
            )
        if not pausable:
            return findings.no_lever(scaled, cap)
        now = read_held(scaled, PAUSE)
        return Lever(target=scaled, values={PAUSE: cap} if now is None or now > cap else {})


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


def _failing(scaled: ScaledObject) -> bool:
    said = ((one.type, one.reason) for one in scaled.status.conditions if one.status != "True")
    return any(one in _FAILING for one in said)
