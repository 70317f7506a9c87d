"""Decisions, with what a test wants of them: services of namespace `chat`, under one budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tests.unit.scaler.samples import NAMESPACE, NOW
from wattkeeper.api.readings import Column, Floats, Ints, Measurements, Mode, PodKey, ServiceKey
from wattkeeper.guard.guarded_plan import GrantReason, GuardedPlan
from wattkeeper.recommender.migrations import nothing_moves
from wattkeeper.recommender.result import (
    BudgetResults,
    GateResults,
    MigrationResults,
    PodViolation,
    ServiceResults,
    StepResult,
)

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One service's row of a decision."""

    name: str = "llm"
    grant: int = 3
    active: int = 3
    demand: int = 6
    reason: GrantReason = GrantReason.BUDGET_BINDS
    mode: Mode = Mode.SCALE
    replica_watts: float = 500.0
    stale: bool = False
    unachievable: bool = False
    claimed_twice: bool = False
    enforced: bool = True
    policy: str = "capped"
    priority: int = 0
    gated: bool = False
    openings: int = 0
    avoided: tuple[str, ...] = ()
    waiting: int = 0
    slipped: int = 0
    rollout_blocked: bool = False
    gate_budget: str = ""
    gate_watts: float = 0.0
    kind: str = "Deployment"


def decision(
    *rows: Row,
    now: float = NOW,
    warm: bool = True,
    guarded: float = 9_000.0,
    over: float = 0.0,
    rung: int = 0,
    unachievable: bool = False,
    violations: tuple[PodViolation, ...] = (),
    migrations: MigrationResults | None = None,
    domains: tuple[str, ...] = ("hall",),
) -> StepResult:
    count = len(domains)
    bound = [row.reason in (GrantReason.BUDGET_BINDS, GrantReason.FLOOR_HELD) for row in rows]
    return StepResult(
        now=now,
        warm=warm,
        plan=GuardedPlan(
            services=tuple(row.name for row in rows),
            domains=domains,
            grants=_ints([row.grant for row in rows]),
            reasons=_ints([int(row.reason) for row in rows]),
            binding=_ints([0 if one else -1 for one in bound]),
            missing_watts=np.where(np.array(bound, dtype=np.bool_), 1_500.4, 0.0),
            openings=_ints([0] * len(rows)),
            surges=_ints([0] * len(rows)),
            guarded_watts=np.full(count, guarded),
            planned_watts=np.full(count, guarded),
            over_watts=np.full(count, over),
            unachievable=np.full(count, unachievable),
            corrections=(),
            state=b"",
        ),
        services=ServiceResults(
            keys=tuple(ServiceKey(NAMESPACE, row.kind, row.name) for row in rows),
            policies=tuple(row.policy for row in rows),
            mode=_ints([int(row.mode) for row in rows]),
            priority=_ints([row.priority for row in rows]),
            floor=_ints([0] * len(rows)),
            ceiling=_ints([40] * len(rows)),
            cap_only=_bools([False] * len(rows)),
            claimed_twice=_bools([row.claimed_twice for row in rows]),
            demand=_ints([row.demand for row in rows]),
            active=_ints([row.active for row in rows]),
            replica_watts=_floats([row.replica_watts for row in rows]),
            stale=_bools([row.stale for row in rows]),
            unachievable=_bools([row.unachievable for row in rows]),
            enforced=_bools([row.enforced for row in rows]),
        ),
        budgets=BudgetResults(
            limit_watts=np.full(count, 10_000.0),
            guarded_watts=np.full(count, guarded),
            expected_watts=np.full(count, 8_000.0),
            residual_watts=np.full(count, 10.0),
            over_watts=np.full(count, over),
            meter_watts=np.full(count, np.nan),
            nodes=_ints([4] * count),
            rung=_ints([rung] * count),
            unachievable=np.full(count, unachievable),
            over_since=np.full(count, np.nan),
        ),
        gate=GateResults(
            gated=_bools([row.gated for row in rows]),
            openings=_ints([row.openings for row in rows]),
            avoided=np.array([[name in row.avoided for name in domains] for row in rows], dtype=np.bool_).reshape(
                len(rows), count
            ),
            waiting=_ints([row.waiting for row in rows]),
            slipped=_ints([row.slipped for row in rows]),
            rollout_blocked=_bools([row.rollout_blocked for row in rows]),
            binding=_ints([domains.index(row.gate_budget) if row.gate_budget else -1 for row in rows]),
            missing_watts=_floats([row.gate_watts for row in rows]),
        ),
        migrations=nothing_moves(len(rows)) if migrations is None else migrations,
        violations=violations,
        problems=(),
    )


def violation(name: str, watts: float = 700.0, domain: int = 0) -> PodViolation:
    return PodViolation(pod=PodKey(NAMESPACE, name), domain=domain, watts=watts)


def readings(keys: list[K], value: float, now: float) -> Column[K]:
    return Column(keys=tuple(keys), values=np.full(len(keys), value), timestamps=np.full(len(keys), now))


def no_measurements(*problems: str) -> Measurements:
    def empty() -> Column[Any]:
        return Column(keys=(), values=np.zeros(0), timestamps=np.zeros(0))

    return Measurements(
        node_cpu_watts=empty(),
        node_cpu_idle_watts=empty(),
        node_gpu_watts=empty(),
        node_gpu_idle_watts=empty(),
        node_gpu_limit_watts=empty(),
        node_platform_watts=empty(),
        pod_cpu_watts=empty(),
        pod_gpu_watts=empty(),
        pod_requests=empty(),
        pod_tokens_per_second=empty(),
        service_demand=empty(),
        meter_watts=empty(),
        interval_seconds=5.0,
        demand_interval_seconds=5.0,
        problems=problems,
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _bools(values: list[bool]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array(values, dtype=np.bool_)
