"""The guard: decides what may happen of what an algorithm proposes.

1. A malformed proposal (shape, type, NaN, state over 64 KiB) is refused whole.
2. Grants are clipped to [floor, ceiling].
3. Until caches and history are warm, every grant is what is committed: no action at all.
4. A service that touches a frozen domain, or whose demand is unknown or stale, is not granted more than stands: the
   lower of what is committed and what it was granted last.
5. Cuts pass. Their watts are free only when the pods are gone.
6. Raises (above what stands) are granted in order of priority, then of the snapshot, each only as far as the guarded
   sum as it stands, plus all raises granted before it, stays inside every domain that the new replica could land in.
   A domain over its limit takes none. What stands and has not started yet is held to that as well, beside what is
   there.
7. A domain whose planned sum still exceeds its limit is cut further: lowest priority first, one replica at a time,
   down to floors. What cannot be brought inside is unachievable.
8. Replicas leave the power gate in the same order: up to their grant, and a planned surge, as far as what may draw now
   stays inside every domain that they could land in.

So at every instant the guarded sum either fits or only falls, whatever was proposed.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Bools, Ints
from wattkeeper.api.snapshot import (
    MAX_STATE_BYTES,
    Snapshot,
    committed_watts,
    drawing_watts,
    planned_watts,
    total_watts,
)
from wattkeeper.guard.cuts import cut_to_limits
from wattkeeper.guard.errors import PlanRejectedError
from wattkeeper.guard.explanation import Outcome, bindings, reasons, sentence
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.guard.openings import open_gates
from wattkeeper.guard.raises import fitting_raises, still_fitting
from wattkeeper.guard.standing import any_domain, lands, over_watts, standing_grants, touches


def guard(snapshot: Snapshot, plan: Plan, *, warm: bool, demand_known: Bools) -> GuardedPlan:
    """Makes of a proposal what may reach the cluster.

    Args:
        snapshot: what the proposal was made for.
        plan: the proposal; trusted in nothing, its types included.
        warm: caches and history are warm.
        demand_known: bool[S], the demand is measured, and fresh.

    Raises:
        PlanRejectedError: rule 1. Take another algorithm's proposal, or `hold`.
    """
    proposed = _well_formed(snapshot, plan)
    clipped = np.clip(proposed, snapshot.floor, snapshot.ceiling)
    corrections = sentence(snapshot, clipped != proposed, "Proposed outside [floor, ceiling], clipped")
    return _decide(snapshot, clipped, corrections=corrections, state=plan.state, warm=warm, demand_known=demand_known)


def hold(snapshot: Snapshot, *, warm: bool, demand_known: Bools) -> GuardedPlan:
    """Makes the plan for when no algorithm gave a usable one: every service keeps what stands, or less by rule 7.

    Args:
        snapshot: what there is.
        warm: caches and history are warm.
        demand_known: bool[S], the demand is measured, and fresh.
    """
    corrections = ("No usable proposal: every service keeps the lower of what is committed and its last grant",)
    grants = standing_grants(snapshot)
    return _decide(
        snapshot, grants, corrections=corrections, state=snapshot.state, warm=warm, demand_known=demand_known
    )


def _well_formed(snapshot: Snapshot, plan: object) -> Ints:
    """Rule 1. Returns a private copy of the grants."""
    if type(plan) is not Plan:
        raise PlanRejectedError(f"the algorithm returned a {type(plan).__name__}; return a Plan")
    grants: object = plan.grants
    state: object = plan.state
    if type(grants) is not np.ndarray:
        raise PlanRejectedError(f"grants is a {type(grants).__name__}; make it a numpy array of int64")
    if grants.dtype != np.int64:
        raise PlanRejectedError(f"grants holds {grants.dtype}; round and convert it to int64")
    if grants.shape != (len(snapshot.services),):
        raise PlanRejectedError(f"grants has shape {grants.shape}; make it ({len(snapshot.services)},), one a service")
    if type(state) is not bytes:
        raise PlanRejectedError(f"state is a {type(state).__name__}; make it bytes")
    if len(state) > MAX_STATE_BYTES:
        raise PlanRejectedError(f"state has {len(state)} bytes; keep it within {MAX_STATE_BYTES}")
    return np.array(grants, dtype=np.int64)


def _decide(
    snapshot: Snapshot, grants: Ints, *, corrections: tuple[str, ...], state: bytes, warm: bool, demand_known: Bools
) -> GuardedPlan:
    """Rules 3 to 7."""
    landing, touching = lands(snapshot), touches(snapshot)
    stale = any_domain(touching[:, snapshot.frozen])
    reserved = committed_watts(snapshot)
    guarded = drawing_watts(snapshot) if snapshot.gated.any() else reserved
    if warm:
        standing = standing_grants(snapshot)
        kept = still_fitting(snapshot, standing, guarded, landing)
        corrections += sentence(snapshot, kept < standing, "Taken back before it started, watts are no longer free")
        standing = kept
        asked = grants
        grants = np.where(stale | ~demand_known, np.minimum(grants, standing), grants)
        corrections += sentence(snapshot, grants < asked, "Held, readings or demand are too old or unknown")

        raised = np.maximum(grants - standing, 0)
        fitting = fitting_raises(snapshot, raised, snapshot.limit_watts - reserved, landing)
        corrections += sentence(snapshot, fitting < raised, "Raised less than proposed, no watts are free yet")
        grants = np.minimum(grants, standing + fitting)
        reserved = reserved + total_watts(fitting.astype(np.float64), snapshot.unit_watts)
        guarded = guarded + total_watts(np.where(snapshot.gated, 0.0, fitting), snapshot.unit_watts)

        allowed = grants
        grants = cut_to_limits(snapshot, grants, touching)
        corrections += sentence(snapshot, grants < allowed, "Cut further than proposed, a budget is exceeded")

        openings = open_gates(snapshot, grants, snapshot.limit_watts - guarded, landing, stale)
        guarded = guarded + total_watts(openings.astype(np.float64), snapshot.unit_watts)
    else:
        grants = snapshot.committed.copy()
        openings = np.zeros(len(grants), dtype=np.int64)
        corrections = ("Warming up: every service keeps what is committed",)

    planned = planned_watts(snapshot, grants)
    outcome = Outcome(
        grants=grants,
        reserved_watts=reserved,
        planned_watts=planned,
        landing=landing,
        touching=touching,
        stale=stale,
        demand_known=demand_known,
        warm=warm,
    )
    why = reasons(snapshot, outcome)
    binding, missing = bindings(snapshot, outcome, why)
    at_floors = planned_watts(snapshot, np.minimum(grants, snapshot.floor))
    return GuardedPlan(
        services=snapshot.services,
        domains=snapshot.domains,
        grants=grants,
        reasons=why,
        binding=binding,
        missing_watts=missing,
        openings=openings,
        surges=np.clip(snapshot.active + openings - grants, 0, snapshot.surge),
        guarded_watts=guarded,
        planned_watts=planned,
        over_watts=over_watts(snapshot.limit_watts, guarded),
        unachievable=over_watts(snapshot.limit_watts, at_floors) > 0.0,
        corrections=corrections,
        state=state,
    )
