"""What one step yields: the guarded plan and all that publishers, metrics and people need to understand it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from wattkeeper.api.power_recommendation import MovablePod, Violation
from wattkeeper.api.readings import Bools, Floats, Ints, MigrationKey, PodKey, ServiceKey
from wattkeeper.guard.guarded_plan import GuardedPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceResults:
    """S services, rows as in the plan.

    Attributes:
        keys, policies, mode, priority, floor, ceiling, cap_only, claimed_twice: as read.
        demand: int64[S], replicas asked for, stabilised, inside [floor, ceiling]; -1 unknown.
        active: int64[S], replicas that exist and are not terminating.
        replica_watts: float64[S], upper bound of one replica, the highest over the kinds of node it can land on.
        stale: bool[S], readings are too old for the service to rise.
        unachievable: bool[S], a domain it lies in cannot be brought inside, or was not in time.
        enforced: bool[S], an enforcing mode, and no more replicas are active than granted.
    """

    keys: tuple[ServiceKey, ...]
    policies: tuple[str, ...]
    mode: Ints
    priority: Ints
    floor: Ints
    ceiling: Ints
    cap_only: Bools
    claimed_twice: Bools
    demand: Ints
    active: Ints
    replica_watts: Floats
    stale: Bools
    unachievable: Bools
    enforced: Bools


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetResults:
    """D budgets, rows as in the plan.

    Attributes:
        limit_watts, guarded_watts, expected_watts, residual_watts, over_watts: float64[D].
        meter_watts: float64[D], NaN unknown.
        nodes: int64[D], nodes in the domain.
        rung: int64[D], wattkeeper.api.readings.Rung.
        unachievable: bool[D].
        over_since: float64[D], Unix seconds since when the guarded sum is over the limit; NaN while inside.
    """

    limit_watts: Floats
    guarded_watts: Floats
    expected_watts: Floats
    residual_watts: Floats
    over_watts: Floats
    meter_watts: Floats
    nodes: Ints
    rung: Ints
    unachievable: Bools
    over_since: Floats


class PodViolation(NamedTuple):
    """A pod that has to go while its domain is over budget.

    Attributes:
        domain: row of the budget.
        watts: what it may draw, at its upper bound.
        row: of the pod.
        turn: where it stands among all that have to go, in whichever domain.
    """

    pod: PodKey
    domain: int
    watts: float
    row: int = -1
    turn: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResults:
    """What the keeper of the power gate may do until the next decision. S services, rows as in the plan; D budgets.

    An opening lets one replica out of the gate: a Deployment's pod, or a whole group of a LeaderWorkerSet. Openings
    count from the pods that were out of the gate when the readings were collected: whatever was opened since then, or
    was not seen as opened yet, has to be taken off them.

    Attributes:
        gated: bool[S], pods of the service wait at the gate. Those of all other services are let out.
        openings: int64[S], replicas that may still leave the gate.
        avoided: bool[S, D], budgets whose nodes the replicas that leave the gate must not land on.
        waiting: int64[S], replicas of which every pod stands at the gate.
        slipped: int64[S], pods that started without passing the admission plugin.
        rollout_blocked: bool[S], a rollout needs one replica more, and no watts can be freed for it.
        binding: int64[S], the budget that keeps the next waiting replica at the gate; -1 for none: nothing waits, more
            do than the demand asks for, or (a rollout) readings are stale.
        missing_watts: float64[S], what that budget lacks for it, 0 for none.
    """

    gated: Bools
    openings: Ints
    avoided: Bools
    waiting: Ints
    slipped: Ints
    rollout_blocked: Bools
    binding: Ints
    missing_watts: Floats


class Refusal(IntEnum):
    """Why a migration has no watts, or none yet."""

    NONE = 0  # It has them.
    UNKNOWN_SERVICE = 1  # Nothing says what its target may have.
    UNKNOWN_BUDGET = 2
    NO_GATE = 3  # Nothing keeps new pods off the budget's nodes.
    GROUPS = 4  # Replicas of several pods are not steered.
    NOWHERE_ELSE = 5  # The service can use none but the budget's nodes.
    ANOTHER_FIRST = 6  # One migration of a service at a time.
    ROLLS = 7
    NOTHING_GRANTED = 8
    ABOVE_GRANT = 9  # More replicas run than are granted: some are about to go.
    READINGS_STALE = 10
    OVER_LIMIT = 11  # The budget that it leaves has to shed first.
    LACKS_WATTS = 12
    OTHERS_FIRST = 13  # Its watts would be missing for what others are about to get.


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationResults:
    """M migrations that ask for the watts of one replica more, or hold them; S services, rows as in the plan.

    Attributes:
        keys: M migrations.
        service: int64[M], row of the service, -1 for none.
        refusal: int64[M], Refusal; NONE where the watts are reserved.
        replicas: int64[M], replicas of the service with the one more, 0 where there is no service.
        binding: int64[M], the budget that stands in the way, -1 for none.
        missing_watts: float64[M], what that budget lacks, 0 for none.
        surge: int64[S], replicas that the service is told beyond its grant, because the one more is to be made.
    """

    keys: tuple[MigrationKey, ...]
    service: Ints
    refusal: Ints
    replicas: Ints
    binding: Ints
    missing_watts: Floats
    surge: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """One decision.

    Attributes:
        now: Unix seconds, the step's only reading of the clock.
        warm: caches and history are warm; until then every grant holds what is there.
        plan: what was decided. For services in modes Off and Initial the grants are advice.
        gate: what may leave the power gate.
        migrations: which have their watts.
        violations: pods that have to go for budgets, domain by domain.
        service_violations, movable_pods: what recommendations say, by service; those without any are left out.
        problems: sentences for people: sources, models or algorithms that failed, and what happened instead.
    """

    now: float
    warm: bool
    plan: GuardedPlan
    services: ServiceResults
    budgets: BudgetResults
    gate: GateResults
    migrations: MigrationResults
    violations: tuple[PodViolation, ...]
    problems: tuple[str, ...]
    service_violations: Mapping[ServiceKey, tuple[Violation, ...]] = field(
        default_factory=dict[ServiceKey, tuple[Violation, ...]]
    )
    movable_pods: Mapping[ServiceKey, tuple[MovablePod, ...]] = field(
        default_factory=dict[ServiceKey, tuple[MovablePod, ...]]
    )
