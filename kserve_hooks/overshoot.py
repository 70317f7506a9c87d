"""The brake as the fast path: a budget is over by more than its policy lets the HPA's sync and stabilisation wait for.

While KEDA can ask the scaler, it reverts other bounds of its HPA at once, so the only lever that holds is a pause, and
only on a ScaledObject that KServe does not put right (docs/designs/0003-actuator.md).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from kserve_hooks.actions import SetBrake
from kserve_hooks.brake_findings import ceiling_alone, held, pause_put_back, paused_by_user
from kserve_hooks.brake_notes import Braking, Lever, is_of_kserve, is_paused_by_user, note_of, noted, still
from kserve_hooks.capped import Capped
from kserve_hooks.reverts import Sightings
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy, ViolationRules
from wattkeeper.api.power_recommendation import Brake
from wattkeeper.cluster.braking import PAUSE, read_held
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import ScaledObject

INSIDE_SECONDS: Final = 10.0
"""For how long a budget must have been inside: pods that end, and readings of them, move its sum until then."""


class Overshoots:
    """Plans for one term of leadership: what it remembers only delays what it does."""

    def __init__(self, view: View, sightings: Sightings) -> None:
        """Takes what it looks at.

        Args:
            view: the caches, for limits of budgets.
            sightings: what of the brake was seen in place.
        """
        self._view = view
        self._sightings = sightings
        self._inside_since: dict[str, float] = {}
        self._put_back: set[str] = set()

    def braking(self, capped: Capped, scaled: ScaledObject | None, now: float, *, fresh: bool) -> Braking | None:
        """Returns what the brake wants for a service, None where it has nothing to hold.

        Args:
            capped: the service, which is to obey its recommendation. A brake that is noted, if any, is a pause.
            scaled: the ScaledObject of it that asks our scaler.
            now: Unix seconds.
            fresh: somebody has decided lately; else nothing says what is over, and what is not any more.
        """
        ratio = _ratio(capped.policy)
        if ratio is None:
            return None
        note, before = self._kept(capped, now), note_of(capped)
        # What an outage has left is taken over only while there is an overshoot.
        begun = note is not None and before is not None and before.reason == "Overshoot"
        holds = Braking(note=note, finding=held(note)) if note is not None and begun else None
        if not fresh:
            return holds
        if self._has_passed(capped, before, now) or (note is not None and _cap(capped) > _written(note)):
            return None
        self._look(capped)
        budget = self._overshooting(capped, ratio)
        if not budget:
            return holds
        return self._paused(capped, scaled, note, budget, ratio, now)

    def _paused(
        self, capped: Capped, scaled: ScaledObject | None, note: Brake | None, budget: str, ratio: float, now: float
    ) -> Braking | None:
        cap, workload = _cap(capped), capped.workload
        if note is not None:
            note = replace(note, reason="Overshoot", budget=note.budget or budget)
        kept = None if note is None else Braking(note=note, finding=held(note))
        if scaled is None or is_of_kserve(scaled):
            above = workload is not None and workload.spec.replicas > cap and capped.part is not None
            return Braking(finding=ceiling_alone(cap)) if above and note is None else None
        # Below its own minimum KEDA would raise the service again as soon as the pause is off.
        reach = max(cap, scaled.spec.min_replica_count)
        if workload is None or workload.spec.replicas <= reach:
            return kept
        if is_paused_by_user(scaled, note):
            return Braking(note=note, finding=paused_by_user(scaled, reach))
        if capped.recommendation.metadata.uid in self._put_back:
            return Braking(note=note, finding=pause_put_back(scaled))
        seen = read_held(scaled, PAUSE)
        if seen is not None and seen <= reach:
            return kept
        made = noted(Lever(target=scaled, values={PAUSE: reach}), note, "Overshoot", now, budget=budget)
        why = f"PowerBudget {budget} is over its limit by more than {ratio * 100:g}%"
        write = SetBrake(target=scaled, fields=((PAUSE, reach),), why=why)
        return Braking(note=made, write=write, finding=held(made))

    def _kept(self, capped: Capped, now: float) -> Brake | None:
        """Returns the note of what is still held, or may be."""
        note, target = note_of(capped), capped.braked
        if note is None or target is None:
            return None
        kept = still(note, target)
        return note if kept is None and self._sightings.may_change_yet(target, now) else kept

    def _has_passed(self, capped: Capped, note: Brake | None, now: float) -> bool:
        """Says whether the service's budgets have been inside their limits for long enough.

        While its pods end, a service has no violation any more, though the budget is over until they are gone.
        """
        key = capped.recommendation.metadata.uid
        over = [one.budget for one in capped.recommendation.status.violations if one.type == "Budget"]
        if over or (note is not None and self._is_over(note.budget, _tolerance(capped.policy))):
            self._inside_since.pop(key, None)
            return False
        inside = now - self._inside_since.setdefault(key, now) >= INSIDE_SECONDS
        if inside:
            self._put_back.discard(key)
        return inside

    def _overshooting(self, capped: Capped, ratio: float) -> str:
        """Returns a budget that is over by more than this share of its limit, "" where none is."""
        over = (one.budget for one in capped.recommendation.status.violations if one.type == "Budget")
        return next((budget for budget in over if self._is_over(budget, ratio)), "")

    def _is_over(self, budget: str, ratio: float) -> bool:
        """Says whether a budget is over its limit by more than this share of it.

        Its own status says by how much: a violation is written again only where it names other pods.
        """
        found = self._view.get(PowerBudget, "", budget)
        return found is not None and found.status.over_watts > ratio * found.status.limit_watts

    def _look(self, capped: Capped) -> None:
        """Remembers whether somebody has taken off our pause since the budget is over."""
        note, target = note_of(capped), capped.braked
        if note is None or target is None:
            return
        for one in note.fields:
            if self._sightings.reverted(target, one, read_held(target, one.field)):
                self._put_back.add(capped.recommendation.metadata.uid)


def _ratio(policy: PowerCappingPolicy | None) -> float | None:
    rules = None if policy is None else policy.spec.actuation
    return None if rules is None else rules.brake_above_ratio


def _tolerance(policy: PowerCappingPolicy | None) -> float:
    rules = None if policy is None else policy.spec.violation
    return (rules or ViolationRules()).tolerance


def _cap(capped: Capped) -> int:
    status = capped.recommendation.status
    return max(status.target.replicas, status.lower_bound.replicas)


def _written(note: Brake) -> int:
    return min(one.written for one in note.fields)
