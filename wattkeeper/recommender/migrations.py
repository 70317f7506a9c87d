"""Migrations: the one replica more that a service has while a pod moves, where its watts fit beside everything else.

Nobody makes room: a migration that would lower anybody's grant, or lacks watts in a domain that its new replica may
land in, is refused. So is one away from a domain that is over its limit, because that has to shed first. One that has
its watts keeps them while they fit; stale readings start none, and take none back.

New replicas of the service avoid the domain that the pod leaves, and are charged nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, MigrationRows, Readings
from wattkeeper.api.snapshot import Snapshot, planned_watts
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.guard.standing import lands, touches
from wattkeeper.recommender.picture import read_only
from wattkeeper.recommender.result import MigrationResults, Refusal
from wattkeeper.recommender.rollouts import ROUNDING_WATTS
from wattkeeper.recommender.steering import places_left


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What is decided without migrations, or with those that have their watts.

    Attributes:
        snapshot: what was decided on.
        plan: what was decided.
        avoided: bool[S, D], domains that new replicas are steered away from.
    """

    snapshot: Snapshot
    plan: GuardedPlan
    avoided: Bools


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What migrations are judged by, besides what is decided.

    Attributes:
        readings: what there is.
        unit_watts: float64[S, D], what a further replica may draw wherever it may land.
        granted: int64[S], the highest grant that may still be acted on, -1 for none.
        held: bool[M], migrations that have their watts already.
        steer: from int64[S], the domain that each service leaves, to bool[S, D], what its new replicas avoid.
        again: decides what was decided on another picture.
    """

    readings: Readings
    unit_watts: Floats
    granted: Ints
    held: Bools
    steer: Callable[[Ints], Bools]
    again: Callable[[Snapshot], GuardedPlan]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Move:
    """A migration that nothing but watts can stop.

    Attributes:
        row: of the migration.
        service, domain: rows.
        surge: replicas beyond the grant, 0 where a cap leaves room for it.
    """

    row: int
    service: int
    domain: int
    held: bool
    surge: int


class _Answers:
    """What is to be said about each migration."""

    def __init__(self, count: int) -> None:
        self.refusal = np.zeros(count, dtype=np.int64)
        self.binding = np.full(count, -1, dtype=np.int64)
        self.missing = np.zeros(count)

    def refuse(self, row: int, why: Refusal, domain: int = -1, watts: float = 0.0) -> None:
        self.refusal[row], self.binding[row], self.missing[row] = why, domain, watts


def nothing_moves(services: int) -> MigrationResults:
    """Returns the results where no migration asks for anything."""
    none = np.zeros(0, dtype=np.int64)
    surge = np.zeros(services, dtype=np.int64)
    return MigrationResults(
        keys=(), service=none, refusal=none, replicas=none, binding=none, missing_watts=np.zeros(0), surge=surge
    )


def own_replicas(spec_replicas: Ints, migrations: MigrationRows) -> Ints:
    """Returns int64[S], what specs ask for without the replica that they have because a pod moves."""
    own = spec_replicas.copy()
    for service, replicas in zip(migrations.service.tolist(), migrations.replicas.tolist(), strict=True):
        if service >= 0 and 0 < replicas <= own[service]:
            own[service] -= 1
    return own


def decide_migrations(decided: Decided, ground: Ground) -> tuple[Decided, MigrationResults]:
    """Decides which migrations get their watts, beside what is decided.

    Returns:
        What is decided with them, and what to say about all that ask.
    """
    migrations, services = ground.readings.migrations, ground.readings.services
    asking = np.flatnonzero(migrations.asks)
    if not len(asking):
        return decided, nothing_moves(len(services.keys))
    answers = _Answers(len(migrations.keys))
    replicas = _replicas(decided, ground)
    moves = _movable(decided, ground, replicas, answers)
    after, surge = decided, np.zeros(len(services.keys), dtype=np.int64)
    if moves:
        left = np.full(len(services.keys), -1, dtype=np.int64)
        left[[move.service for move in moves]] = [move.domain for move in moves]
        avoided = ground.steer(left)
        unit = np.where(avoided, 0.0, ground.unit_watts)
        after, chosen = _beside_all(decided, ground, _fitting(decided, moves, unit, answers), avoided, unit, answers)
        surge[[move.service for move in chosen]] = [move.surge for move in chosen]
    return after, MigrationResults(
        keys=tuple(migrations.keys[row] for row in asking.tolist()),
        service=migrations.service[asking],
        refusal=answers.refusal[asking],
        replicas=replicas[asking],
        binding=answers.binding[asking],
        missing_watts=answers.missing[asking],
        surge=surge,
    )


def _replicas(decided: Decided, ground: Ground) -> Ints:
    """Returns int64[M], how many replicas each migration's service has with the one more, 0 without a service.

    A service that is only told its cap has as many as others give it: the cap may leave room for the one more.
    """
    migrations, services = ground.readings.migrations, ground.readings.services
    known = migrations.service >= 0
    row = np.where(known, migrations.service, 0)
    if not known.any():
        return np.zeros(len(row), dtype=np.int64)
    most = decided.plan.grants[row] + 1
    running = np.where(ground.held & (migrations.replicas > 0), migrations.replicas, services.spec_replicas[row] + 1)
    return np.where(known, np.where(services.cap_only[row], np.minimum(running, most), most), 0)


def _movable(decided: Decided, ground: Ground, replicas: Ints, answers: _Answers) -> list[_Move]:
    """Returns migrations that nothing but watts can stop, those that have them first, then by priority."""
    migrations = ground.readings.migrations
    moves: list[_Move] = []
    seen: set[int] = set()
    for row, (service, domain) in enumerate(zip(migrations.service.tolist(), migrations.budget.tolist(), strict=True)):
        why = _unfit(ground.readings, service, domain, first=service not in seen)
        seen.add(service)
        if why is not Refusal.NONE:
            answers.refuse(row, why)
        elif migrations.asks[row]:
            surge = int(replicas[row] > decided.plan.grants[service])
            moves.append(_Move(row=row, service=service, domain=domain, held=bool(ground.held[row]), surge=surge))
    priority = decided.snapshot.priority
    return sorted(moves, key=lambda move: (not move.held, -int(priority[move.service]), move.row))


def _unfit(readings: Readings, service: int, domain: int, *, first: bool) -> Refusal:
    """Returns what forbids a migration whatever watts there are."""
    services = readings.services
    if service < 0:
        return Refusal.UNKNOWN_SERVICE
    if not first:
        return Refusal.ANOTHER_FIRST
    if domain < 0:
        return Refusal.UNKNOWN_BUDGET
    if services.pods_per_replica[service] > 1:
        return Refusal.GROUPS
    if not services.gated[service]:
        return Refusal.NO_GATE
    if services.rolls[service]:
        return Refusal.ROLLS
    return Refusal.NONE if places_left(readings, service, domain).any() else Refusal.NOWHERE_ELSE


def _fitting(decided: Decided, moves: Sequence[_Move], unit: Floats, answers: _Answers) -> list[_Move]:
    """Returns the moves whose watts fit once what drains is gone, one beside the other."""
    snapshot, plan = decided.snapshot, decided.plan
    room = snapshot.limit_watts - planned_watts(snapshot, plan.grants)
    stale = np.logical_or.reduce(touches(snapshot)[:, snapshot.frozen], axis=1)
    chosen: list[_Move] = []
    for move in moves:
        row, grant, active = move.service, int(plan.grants[move.service]), int(snapshot.active[move.service])
        if grant <= 0:
            answers.refuse(move.row, Refusal.NOTHING_GRANTED)
        elif stale[row] and not move.held:
            answers.refuse(move.row, Refusal.READINGS_STALE)
        elif plan.over_watts[move.domain] > 0.0:
            answers.refuse(move.row, Refusal.OVER_LIMIT, move.domain, float(plan.over_watts[move.domain]))
        elif active > grant and not move.held:
            answers.refuse(move.row, Refusal.ABOVE_GRANT)
        else:
            # What is granted and not there yet lands elsewhere as well.
            need = max(grant - active, 0) * (unit[row] - snapshot.unit_watts[row])
            if move.surge:
                need = need + (snapshot.active_watts[row] / active if grant < active else unit[row])
            lack = np.where(need > 0.0, need - np.maximum(room, 0.0), 0.0)
            if (lack <= ROUNDING_WATTS).all():
                room = room - need
                chosen.append(move)
            else:
                answers.refuse(move.row, Refusal.LACKS_WATTS, int(lack.argmax()), float(lack.max()))
    return chosen


def _beside_all(
    decided: Decided, ground: Ground, moves: list[_Move], avoided: Bools, unit: Floats, answers: _Answers
) -> tuple[Decided, list[_Move]]:
    """Decides again with the moves, less those that would lower anybody's grant: the last ones go first."""
    chosen, dropped = moves, 1
    while chosen:
        snapshot = _with_moves(decided.snapshot, chosen, unit, ground.granted)
        plan = ground.again(snapshot)
        lowered = plan.grants < decided.plan.grants
        if not lowered.any():
            mask = np.zeros((len(lowered), 1), dtype=np.bool_)
            mask[[move.service for move in chosen]] = True
            after = Decided(snapshot=snapshot, plan=plan, avoided=np.where(mask, avoided, decided.avoided))
            return after, chosen
        for move in chosen[-dropped:]:
            answers.refuse(move.row, Refusal.OTHERS_FIRST, _contended(decided, lowered, unit[move.service]))
        chosen = chosen[:-dropped]
        dropped *= 2  # However many ask, few rounds settle it.
    return decided, []


def _with_moves(snapshot: Snapshot, moves: Sequence[_Move], unit: Floats, granted: Ints) -> Snapshot:
    rows = [move.service for move in moves]
    surge, units = snapshot.surge.copy(), snapshot.unit_watts.copy()
    surge[rows] = [move.surge for move in moves]
    units[rows] = unit[rows]
    # The one more counts as a surge once it is out, not as one more of those that are committed.
    reserved = np.maximum(snapshot.active - surge, granted)
    surges = np.zeros(len(surge), dtype=np.bool_)
    surges[rows] = surge[rows] > 0
    return read_only(
        replace(
            snapshot,
            surge=surge,
            unit_watts=units,
            committed=np.where(surges, reserved, snapshot.committed),
            started=np.where(surges, reserved, snapshot.started),
        )
    )


def _contended(decided: Decided, lowered: Bools, unit: Floats) -> int:
    """Returns the domain with least room that both the new replica and somebody whose grant it lowers may use."""
    theirs = np.logical_or.reduce(lands(decided.snapshot)[lowered], axis=0)
    shared = np.flatnonzero(theirs & (unit > 0.0))
    if not len(shared):
        return -1
    room = decided.snapshot.limit_watts - decided.plan.planned_watts
    return int(shared[room[shared].argmin()])
