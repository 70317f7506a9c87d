"""Builds the Snapshots of one tick: one for the services that are enforced, one for those that only take advice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Mode, Readings
from wattkeeper.api.snapshot import History, Snapshot
from wattkeeper.recommender.commitments import Commitments
from wattkeeper.recommender.sums import Sums


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What the step knows besides the sums.

    Attributes are Snapshot's, but:
        commitments: what may exist without any new decision.
        avoided: bool[S, D], domains that new replicas are steered away from.
    """

    demand: Ints
    commitments: Commitments
    avoided: Bools
    previous: Ints
    frozen: Bools
    history: History
    state: bytes


def enforcing(readings: Readings) -> Bools:
    """Returns bool[S]: services whose grants are obeyed."""
    return readings.services.mode >= Mode.SCALE


def shadow_snapshot(readings: Readings, sums: Sums, picture: Picture, now: float) -> Snapshot:
    """Returns the picture in which every service competes, as if all were enforced."""
    services, budgets = readings.services, readings.budgets
    ceiling = np.maximum(services.ceiling, services.floor)
    tokens = np.divide(
        services.tokens_per_second,
        sums.replicas.active,
        out=np.full(len(services.keys), np.nan),
        where=sums.replicas.active > 0,
    )
    active, active_watts, unit = _past_the_gate(sums, services.gated, picture.avoided)
    snapshot = Snapshot(
        now=now,
        services=tuple("/".join(key) for key in services.keys),
        domains=budgets.names,
        limit_watts=budgets.limit_watts,
        base_watts=sums.fixed_watts,
        frozen=picture.frozen,
        priority=services.priority,
        floor=services.floor,
        ceiling=ceiling,
        demand=picture.demand,
        wanted=np.where(services.cap_only, ceiling, picture.demand),
        gated=services.gated,
        surge=np.zeros(len(services.keys), dtype=np.int64),
        active=active,
        started=picture.commitments.started,
        committed=picture.commitments.committed,
        unit_watts=unit,
        active_watts=active_watts,
        draining_watts=_draining(sums, picture.commitments.rebound),
        tokens_per_second=tokens,
        previous=picture.previous,
        history=picture.history,
        state=picture.state,
    )
    return read_only(snapshot)


def _past_the_gate(sums: Sums, gated: Bools, avoided: Bools) -> tuple[Ints, Floats, Floats]:
    """Returns active, active_watts and unit_watts as Snapshot has them."""
    replicas = sums.replicas
    unit = np.where(avoided, 0.0, sums.unit_watts) if avoided.any() else sums.unit_watts
    watts = sums.active_watts
    if gated.any():
        watts = watts + sums.pending_watts
    if replicas.missing.any():
        watts = watts + replicas.missing[:, np.newaxis] * unit
    return replicas.active + np.where(gated, replicas.pending, 0), watts, unit


def _draining(sums: Sums, rebound: Ints) -> Floats:
    """Returns draining_watts as Snapshot has them: replicas that may yet drain beside successors count as well."""
    rows = np.flatnonzero(rebound)
    if not len(rows):
        return sums.draining_watts
    watts = sums.draining_watts.copy()
    watts[rows] += rebound[rows, np.newaxis] * sums.unit_watts[rows]
    return watts


def enforced_snapshot(everyone: Snapshot, enforced: Bools) -> Snapshot:
    """Returns the picture in which services that nobody may scale stand still.

    Their watts move into base_watts: pods, drains, and replicas that their spec asks for. Their rows stay, so that row
    numbers agree, with nothing to decide.
    """
    still = np.flatnonzero(~enforced)
    if not len(still):
        return everyone
    missing = np.maximum(everyone.committed[still] - everyone.active[still], 0).astype(np.float64)
    theirs: Floats = everyone.active_watts[still] + everyone.draining_watts[still]
    theirs += missing[:, np.newaxis] * everyone.unit_watts[still]
    snapshot = replace(
        everyone,
        base_watts=everyone.base_watts + theirs.sum(axis=0),
        floor=np.where(enforced, everyone.floor, everyone.committed),
        ceiling=np.where(enforced, everyone.ceiling, everyone.committed),
        demand=np.where(enforced, everyone.demand, everyone.committed),
        wanted=np.where(enforced, everyone.wanted, everyone.committed),
        active=np.where(enforced, everyone.active, everyone.committed),
        started=np.where(enforced, everyone.started, everyone.committed),
        unit_watts=_without(everyone.unit_watts, still),
        active_watts=_without(everyone.active_watts, still),
        draining_watts=_without(everyone.draining_watts, still),
    )
    return read_only(snapshot)


def _without(watts: Floats, still: Ints) -> Floats:
    """Returns float64[S, D] with nothing in the rows of `still`."""
    left = watts.copy()
    left[still] = 0.0
    return left


def read_only(snapshot: Snapshot) -> Snapshot:
    """Locks every array, so that an algorithm that writes into one fails instead of misleading the guard."""
    for part in (snapshot, snapshot.history):
        for name in part.__slots__:
            value = getattr(part, name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
    return snapshot
