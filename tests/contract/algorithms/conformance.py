"""What every algorithm owes, built in or not, as checks that any implementation can be run through.

Each takes an algorithm and raises AssertionError; `CHECKS` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from tests.unit.algorithms.snapshots import Service, big_snapshot, random_snapshot, read_only, snapshot_of
from wattkeeper.algorithms.contract import Algorithm
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Ints
from wattkeeper.api.snapshot import MAX_STATE_BYTES, History, Snapshot, committed_watts
from wattkeeper.guard.guard import guard

SEEDS = range(60)


def check(algorithm: Algorithm) -> None:
    """Runs every check."""
    for one in CHECKS:
        one(algorithm)


def accepts_nothing_at_all(algorithm: Algorithm) -> None:
    for snapshot in (
        snapshot_of(limit_watts=[]),
        snapshot_of(limit_watts=[1000.0]),
        snapshot_of(Service(active=2, demand=3), limit_watts=[]),
    ):
        well_formed(snapshot, algorithm.decide(snapshot))


def serves_one_service_that_fits(algorithm: Algorithm) -> None:
    assert algorithm.decide(snapshot_of(Service(active=2, demand=4))).grants.tolist() == [4]


def survives_extremes(algorithm: Algorithm) -> None:
    for snapshot in (
        snapshot_of(Service(active=3), Service(active=2, floor=1), limit_watts=[0.0]),
        snapshot_of(Service(active=3, demand=0)),
        snapshot_of(Service(active=3, floor=5, ceiling=2)),
        snapshot_of(Service(active=3, demand=9, unit_watts=0.0), limit_watts=[0.0]),
        snapshot_of(Service(active=0, demand=1000, ceiling=10**9, wanted=10**9)),
        snapshot_of(Service(active=3, demand=5), limit_watts=[np.inf]),
        snapshot_of(Service(active=3, demand=5), base_watts=[1e9]),
        snapshot_of(Service(active=3, demand=5, previous=-1), frozen=[True]),
        snapshot_of(*[Service(active=1, priority=p) for p in (-(2**31), 0, 2**31)]),
    ):
        well_formed(snapshot, algorithm.decide(snapshot))


def returns_a_plan_that_the_guard_takes(algorithm: Algorithm) -> None:
    for seed in SEEDS:
        snapshot = random_snapshot(seed)
        plan = algorithm.decide(snapshot)
        well_formed(snapshot, plan)
        known = np.ones(len(snapshot.services), dtype=np.bool_)
        guarded = guard(snapshot, plan, warm=True, demand_known=known)
        before = committed_watts(snapshot)
        assert (guarded.guarded_watts <= np.maximum(before, snapshot.limit_watts) + 1e-4).all()


def gives_the_same_plan_twice(algorithm: Algorithm) -> None:
    for seed in SEEDS:
        first, second = algorithm.decide(random_snapshot(seed)), algorithm.decide(random_snapshot(seed))
        assert first.grants.tolist() == second.grants.tolist()
        assert first.state == second.state


def remembers_nothing_but_its_state(algorithm: Algorithm) -> None:
    expected = [algorithm.decide(random_snapshot(seed)).grants.tolist() for seed in SEEDS]
    backwards = [algorithm.decide(random_snapshot(seed)).grants.tolist() for seed in reversed(SEEDS)]
    assert backwards[::-1] == expected


def changes_nothing_it_was_given(algorithm: Algorithm) -> None:
    for seed in SEEDS:
        snapshot, untouched = random_snapshot(seed), random_snapshot(seed)
        algorithm.decide(snapshot)
        for field in fields(snapshot):
            given: object = getattr(snapshot, field.name)
            if isinstance(given, np.ndarray):
                assert given.tobytes() == getattr(untouched, field.name).tobytes()


def takes_its_own_state_back(algorithm: Algorithm) -> None:
    snapshot = random_snapshot(1, services=4, domains=3)
    for _ in range(5):
        plan = algorithm.decide(snapshot)
        well_formed(snapshot, plan)
        snapshot = replace(snapshot, state=plan.state, previous=plan.grants)


def survives_state_of_another_version(algorithm: Algorithm) -> None:
    snapshot = random_snapshot(1, services=4, domains=3)
    for state in (b"\x00" * MAX_STATE_BYTES, b"{}", b"\xff"):
        well_formed(snapshot, algorithm.decide(replace(snapshot, state=state)))


def copes_with_an_unknown_past(algorithm: Algorithm) -> None:
    for seed in SEEDS:
        snapshot = random_snapshot(seed)
        services, domains = len(snapshot.services), len(snapshot.domains)
        history = History(
            times=snapshot.now - np.arange(5.0)[::-1],
            demand=np.full((5, services), np.nan),
            guarded_watts=np.full((5, domains), np.nan),
            meter_watts=np.full((5, domains), np.nan),
        )
        blind = replace(snapshot, history=history, tokens_per_second=np.full(services, np.nan))
        well_formed(snapshot, algorithm.decide(read_only(blind)))


def depends_on_names_rather_than_on_places(algorithm: Algorithm) -> None:
    for seed in SEEDS:
        snapshot = random_snapshot(seed)
        order = np.random.default_rng(seed).permutation(len(snapshot.services))
        straight = algorithm.decide(snapshot).grants[order]
        permuted = algorithm.decide(_reordered(snapshot, order)).grants
        # Sums differ by rounding, so that a replica may go to another of two equals.
        assert np.abs(straight - permuted).max(initial=0) <= 1


def gives_more_of_the_first_class_for_more_watts(algorithm: Algorithm) -> None:
    def first_class(limit_watts: float) -> int:
        snapshot = snapshot_of(
            Service(active=6, priority=1),
            Service(active=3, demand=9, priority=1),
            Service(active=9),
            limit_watts=[limit_watts],
        )
        return int(algorithm.decide(snapshot).grants[:2].sum())

    served = [first_class(limit) for limit in np.linspace(0.0, 3000.0, 31)]
    assert served == sorted(served)


def serves_a_big_cluster(algorithm: Algorithm) -> None:
    snapshot = big_snapshot(400, 200, 1)
    well_formed(snapshot, algorithm.decide(snapshot))


def well_formed(snapshot: Snapshot, plan: Plan) -> None:
    assert plan.grants.dtype == np.int64
    assert plan.grants.shape == (len(snapshot.services),)
    assert (plan.grants >= np.minimum(snapshot.floor, snapshot.ceiling)).all()
    assert (plan.grants <= snapshot.ceiling).all()
    assert len(plan.state) <= MAX_STATE_BYTES


def _reordered(snapshot: Snapshot, order: Ints) -> Snapshot:
    def rows(name: str) -> Ints:
        return getattr(snapshot, name)[order]

    by_service = (
        "priority",
        "floor",
        "ceiling",
        "demand",
        "wanted",
        "gated",
        "surge",
        "active",
        "started",
        "committed",
        "unit_watts",
        "active_watts",
        "draining_watts",
        "tokens_per_second",
        "previous",
    )
    places: list[int] = order.tolist()
    history = replace(snapshot.history, demand=snapshot.history.demand[:, order])
    return read_only(
        replace(
            snapshot,
            services=tuple(snapshot.services[row] for row in places),
            history=history,
            **{name: rows(name) for name in by_service},
        )
    )


CHECKS: tuple[Callable[[Algorithm], None], ...] = (
    accepts_nothing_at_all,
    serves_one_service_that_fits,
    survives_extremes,
    returns_a_plan_that_the_guard_takes,
    gives_the_same_plan_twice,
    remembers_nothing_but_its_state,
    changes_nothing_it_was_given,
    takes_its_own_state_back,
    survives_state_of_another_version,
    copes_with_an_unknown_past,
    depends_on_names_rather_than_on_places,
    gives_more_of_the_first_class_for_more_watts,
    serves_a_big_cluster,
)
