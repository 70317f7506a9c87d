"""Whoever leads goes on leading through a renewal that hangs, and no longer than it can be sure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.scaler.hand_clock import HandClock, settle
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.leadership import Leadership
from wattkeeper.simulation.cluster import TwinCluster

HANG_SECONDS = 5.0
DURATION_SECONDS = 15


class HangingCluster(TwinCluster):
    """A cluster some of whose connections are half-open: a request for the Lease hangs, then gets no answer."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.hand_clock = clock
        self.hanging = 0
        self.asked = 0

    async def hold_lease(self, **asked: Any) -> bool:
        self.asked += 1
        if self.hanging > 0:
            self.hanging -= 1
            await self.hand_clock.sleep(HANG_SECONDS)
            raise UnreachableError("no answer in time")
        return await super().hold_lease(**asked)


@pytest.fixture
def cluster() -> HangingCluster:
    return HangingCluster(HandClock(1_800_000_000.0))


async def leading(cluster: HangingCluster) -> tuple[Leadership, asyncio.Task[None]]:
    leadership = Leadership(
        cluster, cluster.hand_clock, namespace="w", name="l", holder="a", duration_seconds=DURATION_SECONDS
    )
    running = asyncio.create_task(leadership.run())
    await settle()
    assert leadership.holds(cluster.hand_clock.now())
    return leadership, running


async def test_one_renewal_that_hangs_costs_nobody_the_lease(cluster: HangingCluster) -> None:
    leadership, running = await leading(cluster)
    cluster.hanging = 1
    for _ in range(30):
        await cluster.hand_clock.forward(1.0)
        assert leadership.holds(cluster.hand_clock.now())
    assert leadership.term == 1
    running.cancel()


async def test_renewals_that_go_on_hanging_do(cluster: HangingCluster) -> None:
    leadership, running = await leading(cluster)
    cluster.hanging = 10
    await cluster.hand_clock.forward(13.0)
    assert not leadership.holds(cluster.hand_clock.now())
    running.cancel()


async def test_renewals_that_are_answered_come_four_times_within_the_duration(cluster: HangingCluster) -> None:
    _, running = await leading(cluster)
    await cluster.hand_clock.forward(15.0)
    assert cluster.asked == 5
    running.cancel()
