"""What people are told about a guarded plan."""

from __future__ import annotations

import numpy as np

from tests.unit.algorithms.snapshots import Service, snapshot_of
from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.guard import guard
from wattkeeper.guard.guarded_plan import GrantReason, GuardedPlan


def explained(snapshot: Snapshot, *grants: int, warm: bool = True, known: bool = True) -> GuardedPlan:
    plan = Plan(grants=np.array(grants, dtype=np.int64))
    return guard(snapshot, plan, warm=warm, demand_known=np.full(len(grants), known, dtype=np.bool_))


def reasons(plan: GuardedPlan) -> list[GrantReason]:
    return [GrantReason(reason) for reason in plan.reasons]


def test_met_demand_says_so() -> None:
    plan = explained(snapshot_of(Service(active=3, demand=4)), 4)
    assert reasons(plan) == [GrantReason.DEMAND_MET]
    assert plan.binding.tolist() == [-1]
    assert plan.missing_watts.tolist() == [0.0]


def test_a_budget_that_binds_is_named_with_the_watts_it_lacks() -> None:
    snapshot = snapshot_of(Service(active=3, demand=9), limit_watts=[5000.0, 450.0, 5000.0])
    plan = explained(snapshot, 9)
    assert reasons(plan) == [GrantReason.BUDGET_BINDS]
    assert plan.binding.tolist() == [1]
    assert plan.missing_watts.tolist() == [450.0]


def test_a_raise_that_waits_for_drains_names_the_domain_that_drains() -> None:
    snapshot = snapshot_of(
        Service(active=3, demand=5, unit_watts=(100.0, 100.0), draining_watts=(0.0, 300.0)), limit_watts=[600.0, 600.0]
    )
    plan = explained(snapshot, 5)
    assert plan.grants.tolist() == [3]
    assert reasons(plan) == [GrantReason.BUDGET_BINDS]
    assert (plan.binding.tolist(), plan.missing_watts.tolist()) == ([1], [200.0])


def test_a_grant_that_is_taken_back_names_the_domain_that_drains() -> None:
    snapshot = snapshot_of(
        Service(committed=5, started=0, unit_watts=(100.0, 100.0), draining_watts=(0.0, 500.0)),
        limit_watts=[600.0, 600.0],
    )
    plan = explained(snapshot, 5)
    assert (plan.grants.tolist(), reasons(plan)) == ([1], [GrantReason.BUDGET_BINDS])
    assert (plan.binding.tolist(), plan.missing_watts.tolist()) == ([1], [400.0])


def test_a_floor_above_what_the_budget_allows_is_named() -> None:
    plan = explained(snapshot_of(Service(active=5, floor=4), limit_watts=[300.0]), 5)
    assert reasons(plan) == [GrantReason.FLOOR_HELD]
    assert plan.binding.tolist() == [0]


def test_stale_readings_explain_a_hold() -> None:
    snapshot = snapshot_of(Service(active=3, demand=5), Service(active=3, demand=2), frozen=[True])
    assert reasons(explained(snapshot, 5, 2)) == [GrantReason.READINGS_STALE, GrantReason.DEMAND_MET]


def test_a_cut_of_a_stale_service_is_the_budgets_doing() -> None:
    snapshot = snapshot_of(Service(active=5), frozen=[True], limit_watts=[300.0])
    assert reasons(explained(snapshot, 5)) == [GrantReason.BUDGET_BINDS]


def test_unknown_demand_explains_a_hold() -> None:
    assert reasons(explained(snapshot_of(Service(active=3)), 5, known=False)) == [GrantReason.DEMAND_UNKNOWN]


def test_warming_up_explains_everything() -> None:
    plan = explained(snapshot_of(Service(active=3), Service(unit_watts=0.0)), 5, 5, warm=False)
    assert reasons(plan) == [GrantReason.WARMING_UP] * 2


def test_a_service_without_a_budget_is_uncapped() -> None:
    assert reasons(explained(snapshot_of(Service(demand=5, unit_watts=0.0)), 5)) == [GrantReason.UNCAPPED]
    assert reasons(explained(snapshot_of(Service(demand=5), limit_watts=[]), 5)) == [GrantReason.UNCAPPED]


def test_corrections_name_a_few_services_and_count_the_rest() -> None:
    services = [Service(active=1, ceiling=1) for _ in range(9)]
    plan = explained(snapshot_of(*services), *[2] * 9)
    assert plan.corrections == (
        "Proposed outside [floor, ceiling], clipped: service-0, service-1, service-2, service-3, service-4 and 4 more",
    )


def test_no_service_and_no_domain_make_an_empty_plan() -> None:
    plan = explained(snapshot_of(limit_watts=[]))
    assert plan.grants.shape == (0,)
    assert plan.guarded_watts.shape == (0,)
