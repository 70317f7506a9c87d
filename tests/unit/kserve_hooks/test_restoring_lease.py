"""The Lease of a restoration: taken by force, lost and taken again, kept in the end, whatever requests come to."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from kserve_hooks.errors import RestoreError
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.cluster.errors import UnreachableError


async def restoring(world: World) -> asyncio.Task[None]:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(3)
    job = world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    return asyncio.create_task(job.restore())


def spoil(world: World, which: Callable[[dict[str, Any]], bool], *, how: Exception | None = None) -> None:
    """Lets the first request for the Lease fail that is meant: as refused, or as said."""
    hold, spoilt = world.cluster.hold_lease, False

    async def failing(**asked: Any) -> bool:
        nonlocal spoilt
        if spoilt or not which(asked):
            return await hold(**asked)
        spoilt = True
        if how is not None:
            raise how
        return False

    world.cluster.hold_lease = failing


def in_the_end(asked: dict[str, Any]) -> bool:
    return asked["duration_seconds"] > OPTIONS.lease_seconds


async def test_a_renewal_that_is_refused_amid_a_restoration_ends_it_not(world: World) -> None:
    job = await restoring(world)
    world.cluster.failing["fields"] = UnreachableError("no answer")
    await world.clock.forward(20.0)
    spoil(world, lambda asked: asked["holder"] == "restore")
    await world.clock.forward(6.0)
    world.cluster.failing.clear()
    await world.clock.forward(60.0)
    await job
    assert world.bounds() == (None, 8)


@pytest.mark.parametrize("how", [None, UnreachableError("too many requests")])
async def test_the_lease_stays_taken_though_the_first_try_fails(world: World, how: Exception | None) -> None:
    job = await restoring(world)
    spoil(world, in_the_end, how=how)
    await world.clock.forward(60.0)
    await job
    await world.wait(60.0)
    assert await world.service.act() == "follower"


async def test_a_lease_that_cannot_be_kept_is_said(world: World) -> None:
    job = await restoring(world)
    hold = world.cluster.hold_lease

    async def never(**asked: Any) -> bool:
        if in_the_end(asked):
            raise UnreachableError("too many requests")
        return await hold(**asked)

    world.cluster.hold_lease = never
    await world.clock.forward(90.0)
    with pytest.raises(RestoreError, match=r"as it was, but the Lease wattkeeper-actuator .*too many requests"):
        await job
