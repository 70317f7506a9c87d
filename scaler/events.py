"""Events: a function per reason, each with the key under which repetitions are one series."""

from __future__ import annotations

from collections.abc import Iterator

from scaler.correction_events import events_of_violations
from wattkeeper.api.conditions import holds, message_of
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PASSIVE
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.objects import Pod

_MOST_PODS = 5
# What holds a service without a decision is no change of its cap.
_BUDGET_REASONS = ("BudgetBinds", "FloorHeld")


def cap_lowered(after: PowerRecommendation, before_replicas: int) -> EventRecord:
    """A budget lets a service run fewer replicas than before."""
    target, budget = after.status.granted_replicas, after.status.binding_budget or "limits"
    return EventRecord(
        regarding=after,
        type="Normal",
        reason="CapLowered",
        action="Cap",
        note=f"From {before_replicas} to {target} replicas. {after.status.message}",
        dedupe_key=f"cap-lowered/{budget}",
    )


def cap_raised(after: PowerRecommendation, before: PowerRecommendation) -> EventRecord:
    """A budget that held a service lets it run more replicas than before."""
    old, new, budget = before.status.granted_replicas, after.status.granted_replicas, before.status.binding_budget
    return EventRecord(
        regarding=after,
        type="Normal",
        reason="CapRaised",
        action="Raise",
        note=f"From {old} to {new} replicas: PowerBudget {budget} has room again. {after.status.message}",
        dedupe_key=f"cap-raised/{budget}",
    )


def service_unachievable(after: PowerRecommendation) -> EventRecord:
    """A cap of a service cannot be kept."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="CapUnachievable",
        action="Cap",
        note=message_of(after.status.conditions, "CapUnachievable"),
        dedupe_key="cap-unachievable",
    )


def target_claimed_twice(after: PowerRecommendation) -> EventRecord:
    """Several policies or ScaledObjects claim one target."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="TargetClaimedTwice",
        action="Cap",
        note=message_of(after.status.conditions, "CapUnachievable"),
        dedupe_key="claimed-twice",
    )


def over_budget(after: PowerBudget) -> EventRecord:
    """A domain may draw more than its limit; names the pods that have to go."""
    status = after.status
    pods = [f"{pod.namespace}/{pod.name} ({pod.watts:.0f} W)" for pod in status.violating_pods]
    named = f" To go: {', '.join(pods[:_MOST_PODS])}." if pods else ""
    more = f" And {len(pods) - _MOST_PODS} more." if len(pods) > _MOST_PODS else ""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="OverBudget",
        action="Shed",
        note=f"{status.guarded_watts:.0f} W guarded, limit {status.limit_watts:.0f} W.{named}{more}",
        dedupe_key="over-budget",
    )


def within_budget(after: PowerBudget) -> EventRecord:
    """A domain that was over its limit is inside."""
    status = after.status
    return EventRecord(
        regarding=after,
        type="Normal",
        reason="WithinBudget",
        action="Shed",
        note=f"{status.guarded_watts:.0f} W guarded, limit {status.limit_watts:.0f} W.",
        dedupe_key="within-budget",
    )


def readings_stale(after: PowerBudget) -> EventRecord:
    """A domain's readings are too old: nothing in it rises."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="ReadingsStale",
        action="Hold",
        note=message_of(after.status.conditions, "TelemetryStale"),
        dedupe_key="readings-stale",
    )


def readings_recovered(after: PowerBudget) -> EventRecord:
    """A domain's readings are fresh again."""
    return EventRecord(
        regarding=after,
        type="Normal",
        reason="ReadingsRecovered",
        action="Resume",
        note="Power readings of the domain are fresh again.",
        dedupe_key="readings-recovered",
    )


def budget_unachievable(after: PowerBudget) -> EventRecord:
    """No cut that is allowed brings a domain inside its limit."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="CapUnachievable",
        action="Shed",
        note=message_of(after.status.conditions, "CapUnachievable"),
        dedupe_key="cap-unachievable",
    )


def state_unreadable(regarding: PowerBudget, why: str) -> EventRecord:
    """What was learned before a restart cannot be read. It concerns every budget; one of them carries the event."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="StateUnreadable",
        action="Restore",
        note=f"The learned power model cannot be read, so replicas are charged by their priors until measured: {why}",
        dedupe_key="state-unreadable",
    )


def rollout_blocked(after: PowerRecommendation) -> EventRecord:
    """A rollout needs watts for one replica more, and there are none."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="RolloutBlocked",
        action="Gate",
        note=message_of(after.status.conditions, "RolloutBlocked"),
        dedupe_key="rollout-blocked",
    )


def migration_blocked(after: PowerRecommendation) -> EventRecord:
    """A pod was to move, and there are no watts for one replica more, or it can go nowhere."""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason="MigrationBlocked",
        action="Migrate",
        note=message_of(after.status.conditions, "MigrationBlocked"),
        dedupe_key="migration-blocked",
    )


def waiting_for_watts(pod: Pod, budget: str, missing_watts: float, granted: int) -> EventRecord:
    """A pod waits at the power gate."""
    if budget:
        why = f"PowerBudget {budget} lacks {missing_watts:.0f} W for one replica more."
    else:
        why = f"All {granted} replicas that its service is granted are out of the gate."
    return EventRecord(
        regarding=pod,
        type="Normal",
        reason="WaitingForWatts",
        action="Gate",
        note=f"Starts when watts are granted. {why}",
        dedupe_key=f"waiting-for-watts/{budget}",
    )


def admitted_ungated(pod: Pod) -> EventRecord:
    """A pod of a gated service started without passing the admission plugin."""
    return EventRecord(
        regarding=pod,
        type="Warning",
        reason="AdmittedUngated",
        action="Gate",
        note="Started without passing Wattkeeper's admission plugin, which was away or not there yet. Its watts are "
        "charged like any other pod's.",
        dedupe_key="admitted-ungated",
    )


def events_of_recommendation(before: PowerRecommendation | None, after: PowerRecommendation) -> Iterator[EventRecord]:
    """Yields what a written recommendation changes for people."""
    said = before.status.conditions if before is not None else ()
    enforcing = after.status.mode not in PASSIVE
    if before is not None and before.status.mode and enforcing:
        old, new = before.status.granted_replicas, after.status.granted_replicas
        if new < old and after.status.reason in _BUDGET_REASONS:
            yield cap_lowered(after, old)
        if new > old and before.status.reason in _BUDGET_REASONS:
            yield cap_raised(after, before)
    if holds(after.status.conditions, "CapUnachievable") and not holds(said, "CapUnachievable"):
        reasons = {one.reason for one in after.status.conditions if one.type == "CapUnachievable"}
        yield target_claimed_twice(after) if reasons == {"ClaimedTwice"} else service_unachievable(after)
    if holds(after.status.conditions, "RolloutBlocked") and not holds(said, "RolloutBlocked"):
        yield rollout_blocked(after)
    if holds(after.status.conditions, "MigrationBlocked") and not holds(said, "MigrationBlocked"):
        yield migration_blocked(after)
    # Fewer replicas because the traffic asks for fewer is everyday life.
    yield from events_of_violations(before, after, everyday=after.status.reason not in _BUDGET_REASONS)


def events_of_budget(before: PowerBudget, after: PowerBudget) -> Iterator[EventRecord]:
    """Yields what a written budget status changes for people; an excess is said again as long as it lasts."""
    old, new = before.status, after.status
    if new.over_watts > 0:
        yield over_budget(after)
    elif old.over_watts > 0:
        yield within_budget(after)
    stale, was_stale = holds(new.conditions, "TelemetryStale"), holds(old.conditions, "TelemetryStale")
    if stale != was_stale:
        yield readings_stale(after) if stale else readings_recovered(after)
    if holds(new.conditions, "CapUnachievable") and not holds(old.conditions, "CapUnachievable"):
        yield budget_unachievable(after)
