"""What a migration does next: from its phase and what is around it to actions. Pure: no clock, no IO.

Every phase is written before what it stands for is done, so whoever goes on after a crash finds in the object, in the
pods and in the recommendation all that there is to finish or to take back. Whatever is in the way rolls back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from kserve_hooks.actions import Action, Announce
from kserve_hooks.disruptions import Claim, Disruptions
from kserve_hooks.marks import LATE_SECONDS
from kserve_hooks.migrate_actions import HoldMigration, WriteMigration
from kserve_hooks.migrate_events import phase_begun
from kserve_hooks.migrate_facts import Moving, began, is_over, may_move
from kserve_hooks.migrate_levers import is_raised
from kserve_hooks.pod_actions import Evict, SetDeletionCost
from kserve_hooks.pods import cost_of, ends, is_ready
from wattkeeper.api.conditions import Finding, with_transitions
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_migration import Phase, PodReference
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Pod

COMPLETE: Final = "Complete"
"""The condition of a migration that says how it ended, or will once it is rolled back."""
FIRST_TO_GO: Final = -(2**31)
"""The lowest deletion cost that Kubernetes takes."""
_ROUNDING_WATTS: Final = 0.5
"""Statuses carry whole watts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseOptions:
    """How long is waited for what, in seconds. The migration's own deadline is above all.

    Attributes:
        reserve_seconds: for the leader's word about the watts.
        regain_seconds: for demand or cap to rise again, where they have fallen so far that nobody makes a new pod.
        shrink_seconds: for the old pod to be removed with the surge, before it is evicted: the HPA looks back over
            300 s before it takes a replica away (its scaleDown stabilization window).
        verify_seconds: for the watts to fall once the old pod is gone.
    """

    reserve_seconds: float = 120.0
    regain_seconds: float = 120.0
    shrink_seconds: float = 360.0
    verify_seconds: float = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """How a migration ends: what its condition Complete shall say."""

    reason: str
    message: str
    well: bool = False


def advance(one: Moving, disruptions: Disruptions, options: PhaseOptions, now: float) -> list[Action]:
    """Returns what a migration that was begun does next, in order.

    Args:
        one: the migration, in some phase.
        disruptions: who may be made to go.
        options: how long to wait.
        now: Unix seconds.
    """
    if is_over(one.migration):
        return _let_go(one)
    if one.migration.status.phase == "RollingBack":
        return _rolling_back(one, now)
    if one.migration.status.phase == "Verifying":
        return _verifying(one, options, now)
    end = _given_up(one, now)
    if end is not None:
        return roll_back(one, end.reason, end.message, now, well=end.well)
    match one.migration.status.phase:
        case "Pending":
            return _pending(one, options, now)
        case "Surging":
            return _surging(one, options, now)
        case "Waiting":
            return _waiting(one, disruptions, now)
        case "Shrinking":
            return _shrinking(one, disruptions, options, now)
        case phase:
            message = f"This version knows no phase {phase}: whatever was changed is taken back."
            return roll_back(one, "PhaseUnknown", message, now)


def begin(one: Moving, now: float) -> list[Action]:
    """Returns what begins a migration: a finalizer first, so that nothing that follows is left behind."""
    hold = HoldMigration(regarding=one.migration, held=True)
    message = "Waits until the scaler's leader has reserved watts for one pod more."
    return [hold, *_to(one, "Pending", message, now, replicas=len(one.staying))]


def fail(one: Moving, reason: str, message: str, now: float) -> list[Action]:
    """Returns what ends a migration that has changed nothing."""
    return _ended(one, _complete(one, reason, message, now, well=False), now)


def roll_back(one: Moving, reason: str, message: str, now: float, *, well: bool = False) -> list[Action]:
    """Returns what begins to take back whatever was changed.

    Args:
        one: the migration.
        reason: why, in one word.
        message: why, for people.
        now: Unix seconds.
        well: nothing is wrong: there is nothing left to move.
    """
    conditions = (_complete(one, reason, message, now, well=well),)
    return _to(one, "RollingBack", message, now, warns=not well, conditions=conditions)


def _given_up(one: Moving, now: float) -> _End | None:
    """Returns why a migration is rolled back before the old pod is gone, None where it goes on."""
    status = one.migration.status
    if one.migration.metadata.deletion_timestamp:
        return _deleted()
    if not may_move(one.capped):
        return _End(reason="ModeForbids", message="No policy in mode Migrate or Kill caps the service any more.")
    if one.old is None or (ends(one.old) and status.phase != "Shrinking"):
        message = "The pod is gone by itself: there is nothing left to move."
        return None if status.phase == "Shrinking" else _End(reason="PodGone", message=message, well=True)
    if one.rolls:
        return _End(reason="RolloutBegan", message="A rollout of the service has begun, which moves its pods anyhow.")
    if _is_overdue(one, now):
        return _overdue(one)
    if status.phase in ("Surging", "Waiting") and (
        status.reservation is None or status.reservation.state != "Reserved"
    ):
        why = "" if status.reservation is None else f": {status.reservation.message}"
        return _End(reason="ReservationWithdrawn", message=f"The watts are not reserved any more{why}")
    if status.phase in ("Waiting", "Shrinking"):
        return _without_new_pod(one)
    return None


def _deleted() -> _End:
    return _End(reason="Deleted", message="Somebody has deleted the migration.")


def _is_overdue(one: Moving, now: float) -> bool:
    return now - began(one.migration) > one.migration.spec.deadline_seconds


def _overdue(one: Moving) -> _End:
    status, deadline = one.migration.status, one.migration.spec.deadline_seconds
    passed = f"After {deadline} s (spec.deadlineSeconds) the migration was still"
    return _End(reason="DeadlinePassed", message=f"{passed} {status.phase}: {status.message}")


def _without_new_pod(one: Moving) -> _End | None:
    new, wanted = one.new, one.migration.status.new_pod
    name = "" if wanted is None else wanted.name
    if new is None or ends(new):
        return _End(reason="NewPodGone", message=f"The new pod {name} has gone.")
    if one.migration.status.phase == "Shrinking" and not is_ready(new) and one.old is not None and not ends(one.old):
        return _End(reason="NewPodNotReady", message=f"The new pod {name} is not ready any more.")
    return None


def _pending(one: Moving, options: PhaseOptions, now: float) -> list[Action]:
    reservation = one.migration.status.reservation
    if reservation is None and now - one.since > options.reserve_seconds:
        message = f"The scaler's leader has said nothing about the watts for {options.reserve_seconds:g} s."
        return roll_back(one, "NotReserved", message, now)
    if reservation is None:
        return []
    if reservation.state == "Refused":
        return roll_back(one, "ReservationRefused", f"No watts for one pod more: {reservation.message}", now)
    return _to(one, "Surging", "Watts for one pod more are reserved: waits for that pod.", now)


def _surging(one: Moving, options: PhaseOptions, now: float) -> list[Action]:
    new, old, reservation = one.arrived(), one.old, one.migration.status.reservation
    if new is None and reservation is not None and 0 < reservation.replicas <= one.enough:
        if now - one.since <= options.regain_seconds:
            return []
        message = (
            f"Demand or cap has fallen: the service gets {reservation.replicas} replicas with the one more, as many as "
            "it had, so nobody makes a new pod."
        )
        return roll_back(one, "DemandFell", message, now)
    if new is None or old is None:
        return []
    meta = new.metadata
    cost = cost_of(old) if DELETION_COST in old.metadata.annotations else None
    return _to(
        one,
        "Waiting",
        f"Waits until the new pod {meta.name} is ready and gets traffic.",
        now,
        new_pod=PodReference(name=meta.name, uid=meta.uid, node=new.spec.node_name),
        deletion_cost=cost,
    )


def _waiting(one: Moving, disruptions: Disruptions, now: float) -> list[Action]:
    old, new, status = one.old, one.new, one.migration.status
    if old is None or new is None or one.capped is None:
        return []
    seen = status.new_pod
    if seen is not None and seen.node != new.spec.node_name:
        return _said(one, status.message, new_pod=replace(seen, node=new.spec.node_name))
    if not is_ready(new) or not _gets_traffic(one, old, new) or one.ready <= one.enough:
        return []
    if cost_of(old) != FIRST_TO_GO:
        return [SetDeletionCost(pod=old, cost=FIRST_TO_GO)]  # The rest waits until it shows.
    claim = disruptions.claim(one.capped, old, budget=one.migration.spec.budget, now=now)
    if not isinstance(claim, Claim):
        return _said(one, f"The new pod {new.metadata.name} is ready, and the old one stays: {claim.message}")
    watts = None if one.budget is None else one.budget.status.guarded_watts
    message = f"The new pod {new.metadata.name} has taken over: waits for the old one to be removed."
    return _to(one, "Shrinking", message, now, claim=claim, guarded_watts=watts)


def _gets_traffic(one: Moving, old: Pod, new: Pod) -> bool:
    """Says whether the new pod gets traffic, where the old one does."""
    if one.serving is None:
        return False
    return new.metadata.uid in one.serving or old.metadata.uid not in one.serving


def _shrinking(one: Moving, disruptions: Disruptions, options: PhaseOptions, now: float) -> list[Action]:
    old = one.old
    if old is None or ends(old):
        return _to(one, "Verifying", f"Waits until the watts of PowerBudget {one.migration.spec.budget} fall.", now)
    if len(one.staying) <= one.enough:
        return roll_back(one, "AnotherPodWent", "With the surge another pod was removed, not the old one.", now)
    if now - one.since < options.shrink_seconds or one.ready <= one.enough or one.capped is None or not one.told:
        return []
    claim = disruptions.claim(one.capped, old, budget=one.migration.spec.budget, now=now)
    if not isinstance(claim, Claim):
        return _said(one, f"The old pod was not removed, and is not evicted: {claim.message}")
    return [Evict(claim=claim)]


def _verifying(one: Moving, options: PhaseOptions, now: float) -> list[Action]:
    status, budget = one.migration.status, one.budget
    end = _deleted() if one.migration.metadata.deletion_timestamp else None
    if end is None and one.old is not None and _is_overdue(one, now):
        # It ends, and does not come to its end: nobody else must wait for it.
        end = _overdue(one)
    if end is not None:
        return roll_back(one, end.reason, end.message, now)
    if one.old is not None or is_raised(one.capped):
        return []
    before = status.guarded_watts
    fell = before is None or budget is None or budget.status.guarded_watts < before - _ROUNDING_WATTS
    name = one.migration.spec.pod.name
    if fell:
        return _ended(one, _complete(one, "Moved", f"Pod {name} has moved.", now, well=True), now)
    if now - one.since <= options.verify_seconds:
        return []
    message = (
        f"Pod {name} has moved, and the guarded sum of PowerBudget {one.migration.spec.budget} has not fallen within "
        f"{options.verify_seconds:g} s: other pods have taken the watts."
    )
    # The old pod is gone, so what it drew is in no sum any more. That others draw it now is what it made room for.
    return _ended(one, _complete(one, "WattsTaken", message, now, well=True), now)


def _rolling_back(one: Moving, now: float) -> list[Action]:
    old, status = one.old, one.migration.status
    own = FIRST_TO_GO if status.new_pod is None else (status.deletion_cost or 0)
    if old is not None and not ends(old) and own != FIRST_TO_GO:
        if cost_of(old) == FIRST_TO_GO:
            return [SetDeletionCost(pod=old, cost=status.deletion_cost)]
        if now - one.marked < LATE_SECONDS:
            return []  # It was sent its cost, which may come through yet.
    if is_raised(one.capped):
        return []
    known = next((each for each in status.conditions if each.type == COMPLETE), None)
    complete = known or _complete(one, "Unknown", "Nothing says why it was rolled back.", now, well=False)
    return _ended(one, complete, now)


def _ended(one: Moving, complete: Condition, now: float) -> list[Action]:
    phase: Phase = "Succeeded" if complete.status == "True" else "Failed"
    warns = phase == "Failed"
    actions = _to(one, phase, complete.message, now, warns=warns, conditions=(complete,))
    return [*actions, *_let_go(one)]


def _let_go(one: Moving) -> list[Action]:
    held = FINALIZER in one.migration.metadata.finalizers
    return [HoldMigration(regarding=one.migration, held=False)] if held else []


def _complete(one: Moving, reason: str, message: str, now: float, *, well: bool) -> Condition:
    finding = Finding(type=COMPLETE, holds=well, reason=reason, message=message)
    return with_transitions((finding,), one.migration.status.conditions, one.migration.metadata, now)[0]


def _said(one: Moving, message: str, **changes: Any) -> list[Action]:
    """Returns what says something new in the same phase; nothing where that is said already."""
    status = replace(one.migration.status, message=message, **changes)
    if status == one.migration.status:
        return []
    event = phase_begun(one.migration, status.phase, message, warns=False)
    write = WriteMigration(regarding=one.migration, status=status)
    return [write] if message == one.migration.status.message else [write, Announce(event=event, after=write)]


def _to(
    one: Moving,
    phase: Phase,
    message: str,
    now: float,
    *,
    warns: bool = False,
    claim: Claim | None = None,
    **changes: Any,
) -> list[Action]:
    status = replace(one.migration.status, phase=phase, since=format_instant(now), message=message, **changes)
    event = phase_begun(one.migration, phase, message, warns=warns)
    write = WriteMigration(regarding=one.migration, status=status, claim=claim)
    return [write, Announce(event=event, after=write)]
