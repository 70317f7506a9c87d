"""For people: why each service got what it got, and which domain stands in its way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot, running_grants
from wattkeeper.guard.guarded_plan import GrantReason
from wattkeeper.guard.standing import any_domain, over_watts, standing_grants

_NAMED = 5
# So many services' watts in all domains stay in a processor's cache while they are worked on.
_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was decided, as far as reasons need it.

    Attributes:
        grants: int64[S].
        reserved_watts: float64[D], all that is committed, this plan's raises included.
        planned_watts: float64[D], as in GuardedPlan.
        landing, touching: bool[S, D].
        stale: bool[S], the service touches a frozen domain.
        demand_known: bool[S].
        warm: whether anything was decided at all.
    """

    grants: Ints
    reserved_watts: Floats
    planned_watts: Floats
    landing: Bools
    touching: Bools
    stale: Bools
    demand_known: Bools
    warm: bool


def reasons(snapshot: Snapshot, outcome: Outcome) -> Ints:
    """Returns int64[S], GrantReason: the first that applies, from the most to the least surprising."""
    count = len(snapshot.services)
    if not outcome.warm:
        return np.full(count, GrantReason.WARMING_UP, dtype=np.int64)
    grants = outcome.grants
    over = over_watts(snapshot.limit_watts, outcome.planned_watts) > 0.0
    short = grants < snapshot.demand
    held = grants >= standing_grants(snapshot)
    choices: list[tuple[Bools, GrantReason]] = [
        ((grants > 0) & (grants <= snapshot.floor) & any_domain(outcome.touching[:, over]), GrantReason.FLOOR_HELD),
        (outcome.stale & short & held, GrantReason.READINGS_STALE),
        (~outcome.demand_known & held, GrantReason.DEMAND_UNKNOWN),
        (~any_domain(outcome.landing), GrantReason.UNCAPPED),
        (short, GrantReason.BUDGET_BINDS),
    ]
    met = np.int64(GrantReason.DEMAND_MET)
    return np.select([choice for choice, _ in choices], [np.int64(reason) for _, reason in choices], default=met)


def bindings(snapshot: Snapshot, outcome: Outcome, why: Ints) -> tuple[Ints, Floats]:
    """Returns the domain that lacks most for each service's demand, -1 for none, and the watts it lacks.

    A domain lacks watts where the demand would exceed its planned sum, or what is reserved while others drain.
    """
    binding = np.full(len(snapshot.services), -1, dtype=np.int64)
    missing = np.zeros(len(snapshot.services))
    rows = np.flatnonzero(np.isin(why, (GrantReason.BUDGET_BINDS, GrantReason.FLOOR_HELD)))
    if not len(rows) or not len(snapshot.domains):
        return binding, missing
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        binding[some], missing[some] = _most_lacking(snapshot, outcome, some)
    return binding, missing


def _most_lacking(snapshot: Snapshot, outcome: Outcome, rows: Ints) -> tuple[Ints, Floats]:
    """Returns the domain that lacks most for each of the services in `rows`, and the watts it lacks."""
    unit, grants, active = snapshot.unit_watts[rows], outcome.grants[rows], snapshot.active[rows]
    running = running_grants(snapshot)[rows]
    wanted = np.maximum(snapshot.demand[rows], grants)
    kept = (np.minimum(wanted, running) - np.minimum(grants, running)).astype(np.float64)
    share = np.divide(kept, active, out=np.zeros(len(rows)), where=active > 0)
    added = (np.maximum(wanted - running, 0) - np.maximum(grants - running, 0)).astype(np.float64)
    raised = np.maximum(wanted - np.maximum(snapshot.committed[rows], grants), 0).astype(np.float64)
    touching = outcome.touching[rows]
    lack = share[:, None] * snapshot.active_watts[rows]
    lack += added[:, None] * unit
    lack += outcome.planned_watts
    lack -= snapshot.limit_watts
    lack[~touching] = -np.inf
    # Where nothing is planned to exceed a limit, what drains stands in the way.
    fits = ~any_domain(lack > 0.0)
    beside = raised[:, None] * unit
    beside += outcome.reserved_watts
    beside -= snapshot.limit_watts
    np.maximum(lack, beside, out=lack, where=touching & ((raised > 0.0) | fits)[:, None])
    return lack.argmax(axis=1), np.maximum(lack.max(axis=1), 0.0)


def sentence(snapshot: Snapshot, changed: Bools, what: str) -> tuple[str, ...]:
    """Returns one sentence that names the services in `changed`, or none if there are none."""
    rows: list[int] = np.flatnonzero(changed).tolist()
    if not rows:
        return ()
    names = ", ".join(snapshot.services[row] for row in rows[:_NAMED])
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return (f"{what}: {names}{more}",)
