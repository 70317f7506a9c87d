"""What PowerBudget statuses shall say after a decision, and whether that is worth a write."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from msgspec.structs import replace

from wattkeeper.api.budget_groups import BudgetGroups
from wattkeeper.api.conditions import Finding, with_transitions
from wattkeeper.api.instants import format_instant, parse_instant
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetStatus, ViolatingPod
from wattkeeper.api.readings import Rung
from wattkeeper.cluster.interface import View
from wattkeeper.recommender.result import StepResult

RUNGS = {Rung.FRESH: "Fresh", Rung.FROZEN: "Frozen", Rung.TIGHTENED: "Tightened", Rung.ABSENT: "Absent"}
# People read it; the metrics have the rest.
_MOST_PODS = 10


def wanted_budgets(result: StepResult, view: View) -> Iterator[tuple[PowerBudget, PowerBudget]]:
    """Yields each budget as it is and as it shall be. One that vanished since it was read is left out."""
    pods: dict[int, list[ViolatingPod]] = defaultdict(list)
    for violation in result.violations:
        if len(pods[violation.domain]) < _MOST_PODS:
            name = violation.pod
            pods[violation.domain].append(
                ViolatingPod(namespace=name.namespace, name=name.name, watts=_whole(violation.watts))
            )
    groups = BudgetGroups(view.all(PowerBudget).values())
    for row, name in enumerate(result.plan.domains):
        before = view.get(PowerBudget, "", name)
        if before is not None:
            findings = (*_findings(result, row), *_of_group(groups, before))
            yield before, replace(before, status=_status(result, row, before, findings, tuple(pods.get(row, ()))))


def budget_differs(before: PowerBudget, after: PowerBudget, *, now: float, refresh_seconds: float) -> bool:
    """Says whether a status is worth a write.

    Args:
        before: as it is.
        after: as it shall be.
        now: Unix seconds.
        refresh_seconds: figures that move by themselves, and the instant of the decision, are written this often.
    """
    old, new = before.status, after.status
    if (old.limit_watts, old.nodes, old.readings, old.conditions) != (
        new.limit_watts,
        new.nodes,
        new.readings,
        new.conditions,
    ):
        return True
    if (old.over_watts > 0) != (new.over_watts > 0):
        return True
    written = parse_instant(old.last_evaluated)
    return written is None or not 0 <= now - written < refresh_seconds


def _status(
    result: StepResult,
    row: int,
    before: PowerBudget,
    findings: tuple[Finding, ...],
    violating_pods: tuple[ViolatingPod, ...],
) -> PowerBudgetStatus:
    budgets = result.budgets
    limit, guarded = float(budgets.limit_watts[row]), float(budgets.guarded_watts[row])
    meter = float(budgets.meter_watts[row])
    return PowerBudgetStatus(
        limit_watts=limit,
        guarded_watts=_whole(guarded),
        expected_watts=_whole(float(budgets.expected_watts[row])),
        meter_watts=_whole(meter) if math.isfinite(meter) else None,
        residual_watts=_whole(float(budgets.residual_watts[row])),
        headroom_watts=_whole(max(limit - guarded, 0.0)),
        over_watts=_whole(float(budgets.over_watts[row]), up=True),
        nodes=int(budgets.nodes[row]),
        readings=RUNGS[Rung(int(budgets.rung[row]))],
        last_evaluated=format_instant(result.now),
        violating_pods=violating_pods,
        conditions=with_transitions(findings, before.status.conditions, before.metadata, result.now),
    )


def _findings(result: StepResult, row: int) -> tuple[Finding, ...]:
    budgets = result.budgets
    rung, nodes = Rung(int(budgets.rung[row])), int(budgets.nodes[row])
    stale, unachievable = rung >= Rung.FROZEN, bool(budgets.unachievable[row])
    over = float(budgets.over_watts[row]) > 0.0
    if nodes == 0:
        ready = Finding(
            type="Ready", holds=False, reason="NoNodes", message="nodeSelector selects no node: correct it."
        )
    elif not result.warm:
        ready = Finding(type="Ready", holds=False, reason="WarmingUp")
    elif stale:
        ready = Finding(type="Ready", holds=False, reason="ReadingsStale")
    else:
        ready = Finding(type="Ready", holds=True, reason="FreshReadings")
    return (
        ready,
        Finding(
            type="TelemetryStale",
            holds=stale,
            reason=f"Readings{RUNGS[rung]}",
            message="Too many of the domain's nodes lack fresh power readings: nothing rises." if stale else "",
        ),
        Finding(
            type="OverBudget",
            holds=over,
            reason="OverLimit" if over else "WithinLimit",
            message="The guarded sum is above the limit: overWatts says by how much, violatingPods what to look at."
            if over
            else "",
        ),
        Finding(
            type="CapUnachievable",
            holds=unachievable,
            reason="OverBudget" if unachievable else "Achievable",
            message="No cut that is allowed brings the domain inside its limit, or none did within shedSeconds: lower "
            "floors, move unmanaged pods, or raise the limit."
            if unachievable
            else "",
        ),
    )


def _of_group(groups: BudgetGroups, budget: PowerBudget) -> tuple[Finding, ...]:
    """Returns whether a budget and its group agree; nothing of one that stands alone."""
    if not groups.grouped(budget):
        return ()
    found = next(groups.contradictions(budget), None)
    if found is None:
        return (Finding(type="GroupConsistent", holds=True, reason="Consistent"),)
    message = f"{found.field}: {found.message}"
    return (Finding(type="GroupConsistent", holds=False, reason=found.reason, message=message),)


def _whole(watts: float, *, up: bool = False) -> float:
    """Returns whole watts. An excess is rounded up: half a watt too much is not nothing."""
    return float(math.ceil(watts) if up else round(watts))
