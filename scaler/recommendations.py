"""What PowerRecommendations shall say after a decision, and whether that is worth a write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from scaler.correction_statuses import corrections_differ
from scaler.gate_statuses import GateStatus, waiting_differs, watts_moved
from scaler.gates import Queue
from scaler.migration_statuses import migration_findings
from scaler.scaled_object_checks import CapFindings, check_scaled_objects
from wattkeeper.api.conditions import Finding, message_unless, with_transitions
from wattkeeper.api.meta import Condition, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_recommendation import (
    ACTUATOR_CONDITIONS,
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    recommendation_name,
)
from wattkeeper.api.readings import Mode, ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.guard.guarded_plan import GrantReason
from wattkeeper.recommender.result import StepResult

MODES = {Mode.OFF: "Off", Mode.INITIAL: "Initial", Mode.SCALE: "Scale", Mode.MIGRATE: "Migrate", Mode.KILL: "Kill"}
REASONS = {
    GrantReason.DEMAND_MET: "DemandMet",
    GrantReason.BUDGET_BINDS: "BudgetBinds",
    GrantReason.FLOOR_HELD: "FloorHeld",
    GrantReason.READINGS_STALE: "ReadingsStale",
    GrantReason.DEMAND_UNKNOWN: "DemandUnknown",
    GrantReason.WARMING_UP: "WarmingUp",
    GrantReason.UNCAPPED: "Uncapped",
}
API_VERSIONS = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}


def wanted_recommendations(
    result: StepResult, view: View, queues: Mapping[ServiceKey, Queue], *, server_minor: int
) -> Iterator[tuple[PowerRecommendation | None, PowerRecommendation]]:
    """Yields, service by service, the recommendation that there is (or None) and the one that shall be.

    Args:
        result: a decision.
        view: the cluster.
        queues: who goes on waiting at the power gate after the decision.
        server_minor: the API server's minor version, which decides what an HPA can do.
    """
    scalers = _scalers_by_target(view)
    moves = migration_findings(result, view)
    for row, key in enumerate(result.services.keys):
        before = view.get(PowerRecommendation, key.namespace, recommendation_name(key.kind, key.name))
        findings = check_scaled_objects(
            scalers.get(key, ()),
            floor=int(result.services.floor[row]),
            ceiling=int(result.services.ceiling[row]),
            server_minor=server_minor,
        )
        gate = GateStatus(result, row, queues.get(key), before)
        yield before, _wanted(result, row, before, findings, gate, moves.get(key))


def gone_recommendations(result: StepResult, view: View) -> list[PowerRecommendation]:
    """Returns the recommendations whose service is gone or no longer selected."""
    named = {(key.namespace, recommendation_name(key.kind, key.name)) for key in result.services.keys}
    present = view.all(PowerRecommendation).values()
    return [
        one
        for one in present
        # One that is being deleted stays until the actuator has put back what it had changed.
        if (one.metadata.namespace, one.metadata.name) not in named and not one.metadata.deletion_timestamp
    ]


def differs(before: PowerRecommendation | None, after: PowerRecommendation) -> bool:
    """Says whether a recommendation says something new: figures that drift alone do not."""
    if before is None or before.spec != after.spec:
        return True
    old, new = before.status, after.status
    if leaders_conditions(old) != leaders_conditions(new) or _words(old) != _words(new):
        return True
    if old.migrating_replicas != new.migrating_replicas:
        return True
    if old.slipped_pods != new.slipped_pods or waiting_differs(old.waiting_pods, new.waiting_pods):
        return True
    if watts_moved(old.replica_watts, new.replica_watts) or corrections_differ(old, new):
        return True
    pairs = [(old.target, new.target), (old.lower_bound, new.lower_bound), (old.upper_bound, new.upper_bound)]
    if (old.uncapped_target is None) != (new.uncapped_target is None):
        return True
    if old.uncapped_target is not None and new.uncapped_target is not None:
        pairs.append((old.uncapped_target, new.uncapped_target))
    return any(_moved(one, other) for one, other in pairs)


def leaders_conditions(status: PowerRecommendationStatus) -> list[Condition]:
    """Returns a status' conditions without those that the actuator writes."""
    return [one for one in status.conditions if one.type not in ACTUATOR_CONDITIONS]


def _words(status: PowerRecommendationStatus) -> tuple[str, str, str]:
    return status.mode, status.reason, status.binding_budget


def _moved(old: Amount, new: Amount) -> bool:
    return old.replicas != new.replicas or watts_moved(old.watts, new.watts)


def _scalers_by_target(view: View) -> Mapping[ServiceKey, list[ScaledObject]]:
    scalers: dict[ServiceKey, list[ScaledObject]] = defaultdict(list)
    for one in view.all(ScaledObject).values():
        target = one.spec.scale_target_ref
        scalers[ServiceKey(one.metadata.namespace, target.kind or "Deployment", target.name)].append(one)
    return scalers


def _wanted(
    result: StepResult,
    row: int,
    before: PowerRecommendation | None,
    findings: CapFindings,
    gate: GateStatus,
    moves: Finding | None,
) -> PowerRecommendation:
    services, key = result.services, result.services.keys[row]
    each = float(services.replica_watts[row])
    demand = int(services.demand[row])

    def amount(replicas: int) -> Amount:
        return Amount(replicas=replicas, watts=float(round(replicas * each)))

    meta = (
        before.metadata
        if before is not None
        else ObjectMeta(name=recommendation_name(key.kind, key.name), namespace=key.namespace)
    )
    reason = GrantReason(int(result.plan.reasons[row]))
    binding = int(result.plan.binding[row])
    said = before.status.conditions if before is not None else ()
    found = (*_findings(result, row, reason, findings, before), *gate.findings(), *(() if moves is None else (moves,)))
    surge = int(result.migrations.surge[row])
    conditions = with_transitions(found, said, meta, result.now)
    status = PowerRecommendationStatus(
        mode=MODES[Mode(int(services.mode[row]))],
        target=amount(int(result.plan.grants[row]) + surge),
        migrating_replicas=surge or None,
        lower_bound=amount(int(services.floor[row])),
        upper_bound=amount(int(services.ceiling[row])),
        uncapped_target=None if demand < 0 else amount(demand),
        reason=REASONS[reason],
        message=_message(result, row, reason) + (" And one more while a pod moves." if surge else ""),
        binding_budget=result.plan.domains[binding] if binding >= 0 else "",
        replica_watts=float(round(each)),
        waiting_pods=gate.waiting_pods,
        slipped_pods=int(result.gate.slipped[row]),
        violations=result.service_violations.get(key, ()),
        movable_pods=result.movable_pods.get(key, ()),
        conditions=conditions,
    )
    reference = ScaleTargetRef(
        kind="Deployment" if key.kind == "Deployment" else "LeaderWorkerSet",
        name=key.name,
        api_version=API_VERSIONS[key.kind],
    )
    spec = PowerRecommendationSpec(scale_target_ref=reference, policy=services.policies[row])
    return PowerRecommendation(metadata=meta, spec=spec, status=status)


def _message(result: StepResult, row: int, reason: GrantReason) -> str:
    granted, demand = int(result.plan.grants[row]), int(result.services.demand[row])
    binding = int(result.plan.binding[row])
    budget = result.plan.domains[binding] if binding >= 0 else ""
    missing = round(float(result.plan.missing_watts[row]))
    match reason:
        case GrantReason.DEMAND_MET:
            return f"All {demand} replicas that the traffic asks for fit."
        case GrantReason.BUDGET_BINDS if budget:
            return f"{granted} of {demand} replicas: PowerBudget {budget} lacks {missing} W for the rest."
        case GrantReason.BUDGET_BINDS:
            return f"{granted} of {demand} replicas fit."
        case GrantReason.FLOOR_HELD:
            return f"Held at the policy's minReplicas; PowerBudget {budget or 'limits'} would allow fewer."
        case GrantReason.READINGS_STALE:
            return f"Held at {granted}: power readings are too old to raise anything."
        case GrantReason.DEMAND_UNKNOWN:
            return f"Held at {granted}: nothing says what the traffic asks for. See the policy's demand."
        case GrantReason.WARMING_UP:
            return f"Held at {granted} until caches and history are warm."
        case GrantReason.UNCAPPED:
            return "No PowerBudget covers a node that this service can run on."


def _findings(
    result: StepResult, row: int, reason: GrantReason, found: CapFindings, before: PowerRecommendation | None
) -> tuple[Finding, ...]:
    services = result.services
    stale, enforcing = bool(services.stale[row]), int(services.mode[row]) >= Mode.SCALE
    not_ready = {
        GrantReason.WARMING_UP: "Caches and history are not warm yet.",
        GrantReason.READINGS_STALE: "Power readings are too old.",
        GrantReason.DEMAND_UNKNOWN: "Nothing says what the traffic asks for.",
    }
    if reason not in not_ready and stale:
        reason = GrantReason.READINGS_STALE
    ready = Finding(
        type="Ready",
        holds=reason not in not_ready,
        reason=REASONS[reason] if reason in not_ready else "FreshReadings",
        message=not_ready.get(reason, ""),
    )
    telemetry = Finding(
        type="TelemetryStale",
        holds=stale,
        reason="ReadingsStale" if stale else "ReadingsFresh",
        message="A domain of this service has readings too old to raise anything." if stale else "",
    )
    ceiling = before is not None and before.status.actuation is not None
    enforced = _enforced(result, row, found, enforcing=enforcing, ceiling=ceiling)
    shadow = () if enforcing else (_above_advice(result, row),)
    return ready, enforced, telemetry, _unachievable(result, row, found, before), *shadow


def _enforced(result: StepResult, row: int, found: CapFindings, *, enforcing: bool, ceiling: bool) -> Finding:
    """Says whether the cap is kept. `ceiling`: the actuator keeps one, so that no trigger is needed."""
    hints = " ".join(found.hindrances)
    if not enforcing:
        return Finding(type="CapEnforced", holds=False, reason="ShadowMode", message="The policy's mode is no Scale.")
    if not found.has_trigger and not ceiling:
        return Finding(
            type="CapEnforced",
            holds=False,
            reason="NoTrigger",
            message=hints
            or "No ScaledObject with a trigger of Wattkeeper's scales this target, and the actuator keeps no ceiling "
            "for it: add one.",
        )
    if not bool(result.services.enforced[row]):
        return Finding(type="CapEnforced", holds=False, reason="Shedding", message=hints)
    return Finding(type="CapEnforced", holds=True, reason="WithinGrant", message=hints)


def _above_advice(result: StepResult, row: int) -> Finding:
    """Says whether a budget would have stopped replicas that run because the policy's mode stops none."""
    binding, runs = int(result.plan.binding[row]), int(result.services.active[row])
    target = int(result.plan.grants[row])
    if binding < 0 or runs <= target:
        return Finding(type="AboveAdvice", holds=False, reason="WithinAdvice")
    return Finding(
        type="AboveAdvice",
        holds=True,
        reason="BudgetExceeded",
        message=f"{runs} replicas run, and PowerBudget {result.plan.domains[binding]} carries {target}. The policy's "
        "mode stops none.",
    )


def _hindered(before: PowerRecommendation) -> Iterator[str]:
    """Yields what the actuator says that it cannot do."""
    conditions = before.status.conditions
    unwritten = message_unless(conditions, "Actuated")
    if unwritten:
        yield unwritten
    yield from (one.message for one in conditions if (one.type, one.reason) == ("KillBlocked", "NoEffect"))


def _unachievable(result: StepResult, row: int, found: CapFindings, before: PowerRecommendation | None) -> Finding:
    messages = list(found.unachievable)
    reason = "ScaledObject" if messages else "Achievable"
    for hindered in () if before is None else _hindered(before):
        messages.append(hindered)
        reason = "Actuator"
    if bool(result.services.claimed_twice[row]):
        messages.append("Several policies or ScaledObjects claim this target: the stricter figures hold; keep one.")
        reason = "ClaimedTwice"
    if bool(result.services.unachievable[row]):
        messages.append("A PowerBudget of this service cannot be kept, or was not in time: see its status.")
        reason = "BudgetUnachievable"
    return Finding(type="CapUnachievable", holds=bool(messages), reason=reason, message=" ".join(messages))
