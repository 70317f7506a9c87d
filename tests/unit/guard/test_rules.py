"""Every rule of the guard, and each way to break it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.algorithms.snapshots import Service, snapshot_of
from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import MAX_STATE_BYTES, Snapshot
from wattkeeper.guard.errors import PlanRejectedError
from wattkeeper.guard.guard import guard, hold
from wattkeeper.guard.guarded_plan import GuardedPlan


def guarded(
    snapshot: Snapshot, *grants: int, warm: bool = True, unknown: tuple[int, ...] = (), state: bytes = b""
) -> GuardedPlan:
    known = np.ones(len(snapshot.services), dtype=np.bool_)
    known[list(unknown)] = False
    plan = Plan(grants=np.array(grants, dtype=np.int64), state=state)
    return guard(snapshot, plan, warm=warm, demand_known=known)


class TestMalformedProposalsAreRefusedWhole:
    @pytest.mark.parametrize(
        ("grants", "message"),
        [
            ([1, 2], "grants is a list"),
            (np.array([1.0, 2.0]), "float64"),
            (np.array([1.0, np.nan]), "float64"),
            (np.array([1, 2], dtype=np.int32), "int32"),
            (np.array([1, 2], dtype=np.uint64), "uint64"),
            (np.array([1, None], dtype=object), "object"),
            (np.array([1]), r"shape \(1,\)"),
            (np.array([[1, 2]]), r"shape \(1, 2\)"),
            (np.array(1), r"shape \(\)"),
            (np.ma.masked_array([1, 2], mask=[True, False]), "MaskedArray"),
            (None, "NoneType"),
        ],
    )
    def test_grants_of_the_wrong_kind_or_shape(self, grants: Any, message: str) -> None:
        snapshot = snapshot_of(Service(active=1), Service(active=1))
        with pytest.raises(PlanRejectedError, match=message):
            guard(snapshot, Plan(grants=grants), warm=True, demand_known=np.ones(2, dtype=np.bool_))

    @pytest.mark.parametrize(
        ("state", "message"),
        [(b"x" * (MAX_STATE_BYTES + 1), "65537 bytes"), ("text", "str"), (bytearray(b"x"), "bytearray")],
    )
    def test_state_that_is_no_bytes_or_too_long(self, state: Any, message: str) -> None:
        snapshot = snapshot_of(Service(active=1))
        plan = Plan(grants=np.array([1]), state=state)
        with pytest.raises(PlanRejectedError, match=message):
            guard(snapshot, plan, warm=True, demand_known=np.ones(1, dtype=np.bool_))

    @pytest.mark.parametrize("plan", [None, [1], object()])
    def test_something_that_is_no_plan(self, plan: Any) -> None:
        with pytest.raises(PlanRejectedError, match="return a Plan"):
            guard(snapshot_of(Service(active=1)), plan, warm=True, demand_known=np.ones(1, dtype=np.bool_))

    def test_state_of_the_longest_allowed_size_is_handed_on(self) -> None:
        state = b"x" * MAX_STATE_BYTES
        assert guarded(snapshot_of(Service(active=1)), 1, state=state).state == state

    def test_the_plan_keeps_no_reference_to_the_proposal(self) -> None:
        grants = np.array([3])
        plan = guard(
            snapshot_of(Service(active=3)), Plan(grants=grants), warm=True, demand_known=np.ones(1, dtype=np.bool_)
        )
        grants[0] = 1000
        assert plan.grants.tolist() == [3]


class TestGrantsAreClipped:
    def test_to_the_floor(self) -> None:
        plan = guarded(snapshot_of(Service(active=3, floor=2)), -7)
        assert plan.grants.tolist() == [2]
        assert any("clipped: service-0" in sentence for sentence in plan.corrections)

    def test_to_the_ceiling(self) -> None:
        plan = guarded(snapshot_of(Service(active=3, ceiling=4)), np.iinfo(np.int64).max)
        assert plan.grants.tolist() == [4]

    def test_to_the_ceiling_where_the_floor_lies_above_it(self) -> None:
        assert guarded(snapshot_of(Service(active=3, floor=5, ceiling=2)), 3).grants.tolist() == [2]

    def test_raising_to_the_floor_needs_watts_like_any_raise(self) -> None:
        plan = guarded(snapshot_of(Service(active=1, floor=4), limit_watts=[250.0]), 4)
        assert plan.grants.tolist() == [2]


class TestNothingActsUntilWarm:
    def test_every_grant_is_what_is_committed(self) -> None:
        snapshot = snapshot_of(
            Service(active=3, committed=5, floor=4),
            Service(active=9, ceiling=2),
            Service(active=1),
            limit_watts=[100.0],
        )
        assert guarded(snapshot, 0, 0, 50, warm=False).grants.tolist() == [5, 9, 1]

    def test_nor_does_a_hold(self) -> None:
        snapshot = snapshot_of(Service(active=3, committed=5, previous=1), limit_watts=[100.0])
        assert hold(snapshot, warm=False, demand_known=np.ones(1, dtype=np.bool_)).grants.tolist() == [5]


class TestStaleServicesAreNotRaised:
    @pytest.mark.parametrize(
        "service",
        [
            Service(active=2, unit_watts=(100.0, 0.0), active_watts=(0.0, 0.0)),
            Service(active=2, unit_watts=(0.0, 100.0), active_watts=(200.0, 0.0)),
            Service(active=2, unit_watts=(0.0, 100.0), active_watts=(0.0, 200.0), draining_watts=(100.0, 0.0)),
        ],
        ids=["may land", "runs", "drains"],
    )
    def test_where_one_touches_a_frozen_domain(self, service: Service) -> None:
        snapshot = snapshot_of(service, limit_watts=[9000.0, 9000.0], frozen=[True, False])
        assert guarded(snapshot, 5).grants.tolist() == [2]

    def test_where_the_demand_is_unknown(self) -> None:
        snapshot = snapshot_of(Service(active=2), Service(active=2))
        assert guarded(snapshot, 3, 3, unknown=(0,)).grants.tolist() == [2, 3]

    def test_not_above_the_last_grant_either(self) -> None:
        assert guarded(snapshot_of(Service(active=5, previous=3)), 5, unknown=(0,)).grants.tolist() == [3]

    def test_new_services_keep_what_is_committed(self) -> None:
        assert guarded(snapshot_of(Service(active=5, previous=-1)), 9, unknown=(0,)).grants.tolist() == [5]

    def test_a_hold_may_lie_below_the_floor(self) -> None:
        assert guarded(snapshot_of(Service(active=1, floor=3)), 3, unknown=(0,)).grants.tolist() == [1]

    def test_they_may_be_cut(self) -> None:
        snapshot = snapshot_of(Service(active=5), frozen=[True])
        assert guarded(snapshot, 2, unknown=(0,)).grants.tolist() == [2]

    def test_services_elsewhere_are_not_held(self) -> None:
        snapshot = snapshot_of(
            Service(active=2, unit_watts=(100.0, 0.0)),
            Service(active=2, unit_watts=(0.0, 100.0)),
            limit_watts=[9000.0, 9000.0],
            frozen=[True, False],
        )
        assert guarded(snapshot, 5, 5).grants.tolist() == [2, 5]


class TestRaisesNeedFreeWatts:
    def test_cuts_free_nothing_before_the_pods_are_gone(self) -> None:
        snapshot = snapshot_of(Service(active=5), Service(active=5))
        assert guarded(snapshot, 3, 7).grants.tolist() == [3, 5]

    def test_drains_count_in_full(self) -> None:
        snapshot = snapshot_of(Service(active=3, draining_watts=200.0), Service(active=5))
        assert guarded(snapshot, 3, 7).grants.tolist() == [3, 5]
        assert guarded(snapshot_of(Service(active=3), Service(active=5)), 3, 7).grants.tolist() == [3, 7]

    def test_committed_replicas_count_wherever_they_may_land(self) -> None:
        snapshot = snapshot_of(
            Service(active=0, committed=4, unit_watts=(100.0, 100.0)),
            Service(active=0, unit_watts=(0.0, 100.0)),
            limit_watts=[1000.0, 500.0],
        )
        assert guarded(snapshot, 4, 3).grants.tolist() == [4, 1]

    def test_higher_priorities_go_first(self) -> None:
        snapshot = snapshot_of(Service(), Service(priority=1), limit_watts=[300.0])
        assert guarded(snapshot, 2, 2).grants.tolist() == [1, 2]

    def test_then_the_snapshots_order(self) -> None:
        snapshot = snapshot_of(Service(), Service(), limit_watts=[300.0])
        assert guarded(snapshot, 2, 2).grants.tolist() == [2, 1]

    def test_a_small_raise_fits_where_a_large_one_did_not(self) -> None:
        snapshot = snapshot_of(Service(unit_watts=400.0, priority=1), Service(unit_watts=100.0), limit_watts=[300.0])
        assert guarded(snapshot, 1, 4).grants.tolist() == [0, 3]

    def test_every_domain_needs_room(self) -> None:
        snapshot = snapshot_of(Service(unit_watts=(100.0, 100.0)), limit_watts=[1000.0, 250.0])
        assert guarded(snapshot, 9).grants.tolist() == [2]

    def test_a_domain_over_its_limit_takes_none(self) -> None:
        snapshot = snapshot_of(
            Service(active=4, floor=4, unit_watts=(100.0, 0.0)),
            Service(active=1, unit_watts=(1.0, 100.0)),
            limit_watts=[300.0, 1000.0],
        )
        assert guarded(snapshot, 4, 2).grants.tolist() == [4, 0]

    def test_a_service_without_a_domain_is_free(self) -> None:
        snapshot = snapshot_of(Service(unit_watts=0.0), limit_watts=[0.0], base_watts=[10.0])
        assert guarded(snapshot, 900).grants.tolist() == [900]

    def test_unlimited_domains_refuse_nothing(self) -> None:
        assert guarded(snapshot_of(Service(active=1), limit_watts=[np.inf]), 900).grants.tolist() == [900]

    @pytest.mark.parametrize(("limit", "base"), [(np.nan, 0.0), (1000.0, np.nan)])
    def test_unknown_sums_take_none(self, limit: float, base: float) -> None:
        snapshot = snapshot_of(Service(active=1), limit_watts=[limit], base_watts=[base])
        assert guarded(snapshot, 2).grants.tolist() == [1]

    def test_services_of_unknown_watts_are_not_raised(self) -> None:
        assert guarded(snapshot_of(Service(active=1, unit_watts=np.nan, active_watts=1.0)), 2).grants.tolist() == [1]

    def test_a_sum_that_is_exact_but_for_rounding_fits(self) -> None:
        assert guarded(snapshot_of(Service(unit_watts=0.1), limit_watts=[0.3]), 3).grants.tolist() == [3]

    def test_what_is_committed_and_granted_is_no_raise(self) -> None:
        snapshot = snapshot_of(Service(active=2, committed=10))
        assert guarded(snapshot, 9).grants.tolist() == [9]

    def test_taking_a_cut_back_needs_watts_because_pods_may_be_draining_by_now(self) -> None:
        full = snapshot_of(Service(active=10, previous=7), limit_watts=[1000.0])
        assert guarded(full, 10).grants.tolist() == [7]
        free = snapshot_of(Service(active=10, previous=7), limit_watts=[1200.0])
        assert guarded(free, 10).grants.tolist() == [9]


class TestWhatHasNotStartedYetIsTakenBack:
    def test_as_far_as_it_does_not_fit_beside_pods_that_drain(self) -> None:
        # Somebody scaled 9 replicas to none; the autoscaler would start 9 again while they drain.
        snapshot = snapshot_of(Service(committed=9, started=0, draining_watts=600.0), limit_watts=[1000.0])
        plan = guarded(snapshot, 9)
        assert plan.grants.tolist() == [4]
        assert "Taken back before it started, watts are no longer free: service-0" in plan.corrections

    def test_lower_priorities_first(self) -> None:
        snapshot = snapshot_of(
            Service(active=1, committed=4), Service(active=1, committed=4, priority=1), limit_watts=[700.0]
        )
        started = replace(snapshot, started=snapshot.active, draining_watts=np.array([[100.0], [0.0]]))
        assert guarded(started, 4, 4).grants.tolist() == [2, 4]

    def test_but_nothing_that_has_started(self) -> None:
        snapshot = snapshot_of(Service(active=3, started=5, committed=5, draining_watts=900.0))
        assert guarded(snapshot, 5).grants.tolist() == [5]

    def test_and_nothing_where_it_fits(self) -> None:
        snapshot = snapshot_of(Service(active=3, started=3, committed=9, draining_watts=100.0))
        assert guarded(snapshot, 9).grants.tolist() == [9]

    def test_also_from_a_hold(self) -> None:
        snapshot = snapshot_of(Service(committed=9, started=0, draining_watts=900.0))
        assert hold(snapshot, warm=True, demand_known=np.ones(1, dtype=np.bool_)).grants.tolist() == [1]

    def test_only_in_domains_without_room(self) -> None:
        snapshot = snapshot_of(
            Service(committed=5, started=0, unit_watts=(100.0, 0.0), draining_watts=(800.0, 0.0)),
            Service(committed=5, started=0, unit_watts=(0.0, 100.0)),
            limit_watts=[1000.0, 1000.0],
        )
        assert guarded(snapshot, 5, 5).grants.tolist() == [2, 5]


class TestWhatStillExceedsALimitIsCut:
    def test_lowest_priority_first(self) -> None:
        snapshot = snapshot_of(Service(active=5), Service(active=5, priority=1), limit_watts=[700.0])
        assert guarded(snapshot, 5, 5).grants.tolist() == [2, 5]

    def test_down_to_floors_and_then_the_next_priority(self) -> None:
        snapshot = snapshot_of(Service(active=5, floor=3), Service(active=5, priority=1), limit_watts=[700.0])
        assert guarded(snapshot, 5, 5).grants.tolist() == [3, 4]

    def test_the_same_fraction_of_equals_the_later_one_first(self) -> None:
        snapshot = snapshot_of(Service(active=8), Service(active=4), Service(active=4), limit_watts=[800.0])
        assert guarded(snapshot, 8, 4, 4).grants.tolist() == [4, 2, 2]
        snapshot = snapshot_of(Service(active=8), Service(active=4), Service(active=4), limit_watts=[1500.0])
        assert guarded(snapshot, 8, 4, 4).grants.tolist() == [8, 4, 3]

    def test_not_one_replica_more_than_needed(self) -> None:
        snapshot = snapshot_of(Service(active=1000), limit_watts=[77_777.0])
        assert guarded(snapshot, 1000).grants.tolist() == [777]

    def test_in_an_instant_whatever_the_numbers(self) -> None:
        snapshot = snapshot_of(
            Service(active=2, committed=2_000_000_000, ceiling=2_000_000_000), Service(active=9), limit_watts=[1e9]
        )
        assert guarded(snapshot, 2_000_000_000, 9).planned_watts[0] <= 1e9

    def test_only_in_domains_that_are_over(self) -> None:
        snapshot = snapshot_of(
            Service(active=5, unit_watts=(100.0, 0.0)),
            Service(active=5, unit_watts=(0.0, 100.0), priority=-1),
            limit_watts=[300.0, 500.0],
        )
        assert guarded(snapshot, 5, 5).grants.tolist() == [3, 5]

    def test_what_a_rack_loses_helps_its_row(self) -> None:
        snapshot = snapshot_of(
            Service(active=5, unit_watts=(0.0, 100.0)),
            Service(active=5, unit_watts=(100.0, 100.0), priority=1),
            limit_watts=[300.0, 800.0],
        )
        assert guarded(snapshot, 5, 5).grants.tolist() == [5, 3]

    def test_what_saves_nothing_is_not_cut(self) -> None:
        snapshot = snapshot_of(
            Service(active=0, committed=3, unit_watts=0.0),
            Service(active=4, priority=1),
            limit_watts=[300.0],
        )
        assert guarded(snapshot, 3, 4).grants.tolist() == [3, 3]

    def test_what_no_cut_brings_inside_is_unachievable(self) -> None:
        snapshot = snapshot_of(Service(active=5, floor=4), limit_watts=[300.0, 900.0])
        plan = guarded(snapshot, 5)
        assert plan.grants.tolist() == [4]
        assert plan.unachievable.tolist() == [True, False]
        assert plan.over_watts.tolist() == [200.0, 0.0]

    def test_a_hold_is_cut_as_well(self) -> None:
        snapshot = snapshot_of(Service(active=5, previous=4), limit_watts=[300.0])
        plan = hold(snapshot, warm=True, demand_known=np.ones(1, dtype=np.bool_))
        assert plan.grants.tolist() == [3]

    def test_a_hold_keeps_the_lower_of_committed_and_last_grant(self) -> None:
        snapshot = snapshot_of(
            Service(active=3, committed=5, previous=4), Service(active=3, previous=-1), Service(active=2, previous=9)
        )
        plan = hold(snapshot, warm=True, demand_known=np.ones(3, dtype=np.bool_))
        assert plan.grants.tolist() == [4, 3, 2]
