"""The snapshot's formula: what replicas would draw, and what is committed already."""

from __future__ import annotations

import numpy as np
import pytest

from wattkeeper.api.snapshot import (
    History,
    Snapshot,
    committed_watts,
    drawing_watts,
    planned_watts,
    running_grants,
)


def snapshot(
    *, active: list[int], committed: list[int], draining: float = 0.0, gated: bool = False, surge: int = 0
) -> Snapshot:
    """Two services in one domain: replicas of the first draw 100 W now and 150 W when new, of the second 10 and 20."""
    counts = np.array(active, dtype=np.int64)
    zeros = np.zeros(2, dtype=np.int64)
    return Snapshot(
        now=0.0,
        services=("first", "second"),
        domains=("rack",),
        limit_watts=np.array([1000.0]),
        base_watts=np.array([50.0]),
        frozen=np.array([False]),
        priority=zeros,
        floor=zeros,
        ceiling=np.array([10, 10]),
        demand=zeros,
        wanted=zeros,
        gated=np.array([gated, False]),
        surge=np.array([surge, 0], dtype=np.int64),
        active=counts,
        started=counts,
        committed=np.array(committed, dtype=np.int64),
        unit_watts=np.array([[150.0], [20.0]]),
        active_watts=np.array([[100.0], [10.0]]) * counts[:, None].astype(np.float64),
        draining_watts=np.array([[draining], [0.0]]),
        tokens_per_second=np.full(2, np.nan),
        previous=zeros,
        history=History(
            times=np.zeros(0), demand=np.zeros((0, 2)), guarded_watts=np.zeros((0, 1)), meter_watts=np.zeros((0, 1))
        ),
    )


@pytest.mark.parametrize(
    ("replicas", "watts"),
    [
        ([2, 0], 50 + 200),  # As it stands.
        ([1, 0], 50 + 100),  # Fewer: their share of what is drawn.
        ([0, 0], 50),
        ([3, 0], 50 + 200 + 150),  # More: new ones at their worst.
        ([2, 2], 50 + 200 + 2 * 20),  # A service without replicas has no share to lose.
    ],
)
def test_planned_watts_follow_the_formula(replicas: list[int], watts: float) -> None:
    picture = snapshot(active=[2, 0], committed=[2, 0], draining=300.0)
    assert planned_watts(picture, np.array(replicas)) == pytest.approx([watts])


def test_committed_watts_count_what_drains_and_what_is_still_to_come() -> None:
    picture = snapshot(active=[2, 1], committed=[4, 1], draining=300.0)
    assert committed_watts(picture) == pytest.approx([50 + 200 + 10 + 300 + 2 * 150])


def test_fewer_committed_than_active_frees_nothing() -> None:
    picture = snapshot(active=[2, 0], committed=[1, 0])
    assert committed_watts(picture) == pytest.approx([50 + 200])


@pytest.mark.parametrize(
    ("replicas", "watts"),
    [
        (3, 50 + 300 + 150),  # Its fourth replica is a further one.
        (2, 50 + 300),  # The surge is among those that run.
        (1, 50 + 200),
        (0, 50 + 100),
    ],
)
def test_a_surge_draws_beside_the_grant(replicas: int, watts: float) -> None:
    picture = snapshot(active=[3, 0], committed=[3, 0], gated=True, surge=1)
    assert planned_watts(picture, np.array([replicas, 0])) == pytest.approx([watts])
    assert running_grants(picture).tolist() == [2, 0]


def test_what_is_committed_behind_a_gate_is_reserved_and_does_not_draw() -> None:
    picture = snapshot(active=[2, 1], committed=[4, 2], draining=300.0, gated=True)
    assert committed_watts(picture) == pytest.approx([50 + 200 + 10 + 300 + 2 * 150 + 20])
    assert drawing_watts(picture) == pytest.approx([50 + 200 + 10 + 300 + 20])


def test_a_surge_is_reserved_until_it_is_there() -> None:
    waiting = snapshot(active=[2, 0], committed=[2, 0], gated=True, surge=1)
    there = snapshot(active=[3, 0], committed=[2, 0], gated=True, surge=1)
    assert committed_watts(waiting) == pytest.approx([50 + 200 + 150])
    assert committed_watts(there) == pytest.approx([50 + 300])
