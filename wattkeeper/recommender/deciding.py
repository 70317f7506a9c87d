"""Algorithm and guard: whatever fails, something guarded comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.algorithms.contract import Algorithm
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Bools, Ints
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.guard import PlanRejectedError, guard, hold
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.recommender.picture import read_only
from wattkeeper.recommender.rollouts import Rollouts, plan_rollouts, with_rollouts


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What was decided.

    Attributes:
        snapshot: on what, with the surges that are planned.
        plan: guarded.
        proposal: what was guarded; None where nobody proposed anything, and everybody holds.
        blocked: bool[S], whose rollouts are blocked.
    """

    snapshot: Snapshot
    plan: GuardedPlan
    proposal: Plan | None
    blocked: Bools

    def again(self, snapshot: Snapshot, *, warm: bool, known: Bools) -> GuardedPlan:
        """Decides the same on another picture."""
        if self.proposal is None:
            return hold(snapshot, warm=warm, demand_known=known)
        return guard(snapshot, self.proposal, warm=warm, demand_known=known)


def decide(
    snapshot: Snapshot, algorithm: Algorithm, *, warm: bool, known: Bools, problems: list[str]
) -> tuple[GuardedPlan, Plan | None]:
    """Asks the algorithm, then the built-in, then holds. Returns the proposal that was guarded as well, if any.

    Args:
        snapshot: what there is.
        algorithm: may do anything.
        warm: caches and history are warm.
        known: bool[S], the demand is measured, and fresh.
        problems: gets a sentence for every failure.
    """
    # A ceiling may be lower than the demand for a while: only the guard is to know, because it says why.
    demand, wanted = np.minimum(snapshot.demand, snapshot.ceiling), np.minimum(snapshot.wanted, snapshot.ceiling)
    asked = read_only(replace(snapshot, demand=demand, wanted=wanted))
    for one in (algorithm, PriorityFairShare()):
        name = type(one).__name__
        try:
            proposal = one.decide(asked)
            return guard(snapshot, proposal, warm=warm, demand_known=known), proposal
        except PlanRejectedError as error:
            problems.append(f"the plan of {name} was refused: {error}")
        except Exception as error:  # Whatever an algorithm raises, the next one decides.
            problems.append(f"{name} failed with {type(error).__name__}: {error}")
    return hold(snapshot, warm=warm, demand_known=known), None


def decide_with_rollouts(
    snapshot: Snapshot,
    algorithm: Algorithm,
    *,
    rolling: Bools,
    replacing: Bools,
    granted: Ints,
    warm: bool,
    known: Bools,
    problems: list[str],
) -> Decision:
    """Decides, and once more where somebody has to make room for a rollout.

    Args:
        snapshot: what there is, without surges.
        algorithm: may do anything.
        rolling: bool[S], gated services that need a surge to go on.
        replacing: bool[S], services of which an old pod is made to go first where there are no watts for a surge.
        granted: int64[S], the highest grant that may still be acted on, -1 for none.
        warm: caches and history are warm.
        known: bool[S], the demand is measured, and fresh.
        problems: gets a sentence for every failure.
    """
    plan, proposal = decide(snapshot, algorithm, warm=warm, known=known, problems=problems)
    if not warm or not rolling.any():
        none = np.zeros(len(rolling), dtype=np.bool_)
        return Decision(snapshot=snapshot, plan=plan, proposal=proposal, blocked=none)
    rollouts: Rollouts = plan_rollouts(snapshot, plan.grants, rolling, replacing)
    if rollouts.surge.any():
        snapshot = read_only(with_rollouts(snapshot, rollouts, granted))
        if rollouts.lacking or proposal is None:
            plan, proposal = decide(snapshot, algorithm, warm=warm, known=known, problems=problems)
        else:
            plan = guard(snapshot, proposal, warm=warm, demand_known=known)
    return Decision(snapshot=snapshot, plan=plan, proposal=proposal, blocked=rollouts.blocked)
