"""What a decision means at the power gate."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, ServiceRows
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.recommender.result import GateResults


def gate_results(
    services: ServiceRows, snapshot: Snapshot, plan: GuardedPlan, *, waiting: Ints, avoided: Bools, blocked: Bools
) -> GateResults:
    """Returns what the keeper of the gate needs.

    Args:
        services: S rows.
        snapshot: what was decided on, with the surges that are planned.
        plan: what was decided.
        waiting: int64[S], replicas at the gate.
        avoided: bool[S, D].
        blocked: bool[S], rollouts that lack watts.
    """
    binding, missing = _bindings(snapshot, plan, waiting, blocked)
    return GateResults(
        gated=services.gated,
        openings=plan.openings,
        avoided=avoided,
        waiting=waiting,
        slipped=services.slipped,
        rollout_blocked=blocked,
        binding=binding,
        missing_watts=missing,
    )


def _bindings(snapshot: Snapshot, plan: GuardedPlan, waiting: Ints, blocked: Bools) -> tuple[Ints, Floats]:
    """Returns the domain that lacks most for the next replica at the gate, -1 for none, and the watts it lacks.

    The surge of a blocked rollout lacks them beside all that is planned, others that are granted beside what may draw
    now. Where the grant is used up, the budget counts that holds the grant itself below the demand.
    """
    binding = np.full(len(waiting), -1, dtype=np.int64)
    missing = np.zeros(len(waiting))
    left = plan.grants + snapshot.surge - snapshot.active - plan.openings
    waits = snapshot.gated & (waiting > plan.openings)
    held = np.flatnonzero(waits & (left <= 0) & (plan.binding >= 0))
    binding[held] = plan.binding[held]
    # The plan says what the whole demand lacks.
    further = np.maximum(snapshot.demand[held] - plan.grants[held] - 1, 0) * snapshot.unit_watts[held, binding[held]]
    missing[held] = np.maximum(plan.missing_watts[held] - further, 0.0)
    rows = np.flatnonzero((waits & (left > 0)) | (snapshot.gated & blocked))
    if len(rows) and len(snapshot.domains):
        unit = snapshot.unit_watts[rows]
        beside = np.where(
            blocked[rows, np.newaxis], np.maximum(plan.guarded_watts, plan.planned_watts), plan.guarded_watts
        )
        lack = np.where(unit > 0.0, unit + beside - snapshot.limit_watts, -np.inf)
        worst = lack.argmax(axis=1)
        most = lack.max(axis=1)
        binding[rows] = np.where(most > 0.0, worst, -1)
        missing[rows] = np.maximum(most, 0.0)
    return binding, missing
