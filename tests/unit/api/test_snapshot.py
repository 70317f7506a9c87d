"""The snapshot's formula: what replicas would draw, and what is committed already."""

from __future__ import annotations

import numpy as np
import pytest

from wattkeeper.api.snapshot import History, Snapshot, committed_watts, planned_watts


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
