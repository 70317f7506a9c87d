"""Whoever goes on after a leader that died between two writes evicts no pod twice and leaves no cost behind."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.objects import Pod


@pytest.fixture
async def scene() -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    return made


def die_after(world: World, count: int) -> None:
    """Has no write of the leader's reach the cluster once there were so many."""
    world.cluster.most_writes = count


async def successor(world: World, *, holder: str = "actuator-1") -> ActuatorService:
    world.cluster.most_writes = None
    await world.service.leadership.release()
    other = world.replica(dataclasses.replace(FAST, holder=holder))
    await other.leadership.renew()
    return other


async def lead(world: World, service: ActuatorService, seconds: float) -> None:
    for _ in range(int(seconds // 2)):
        await world.wait(2.0)
        await service.leadership.renew()
        await service.act()


@pytest.mark.parametrize("writes", range(7))
async def test_the_next_leader_finishes_what_was_begun(scene: KillScene, writes: int) -> None:
    world = scene.world
    die_after(world, writes)
    await scene.violate(scene.violation("Budget", "p2", watts=900.0))
    await scene.passes(LASTS + 10)
    other = await successor(world)
    await lead(world, other, LASTS + 30)
    assert scene.there() == ["p0", "p1", "p3"]
    assert world.cluster.written.count("evict") == 1
    world.cluster.create(pod("p4"))
    await scene.violate(target=4)
    await lead(world, other, 60)
    assert [scene.cost(name) for name in scene.there()] == ["", "", "", ""]
    assert scene.note() is None
    assert world.cluster.written.count("evict") == 1


@pytest.mark.parametrize("writes", range(7))
async def test_no_cost_is_left_behind_where_the_violation_ends_meanwhile(scene: KillScene, writes: int) -> None:
    world = scene.world
    die_after(world, writes)
    await scene.violate(scene.violation("Replicas", "p2", "p0"))
    await scene.passes(10)
    await scene.violate(target=4)
    await scene.passes(10)
    other = await successor(world)
    await lead(world, other, 60)
    assert [scene.cost(name) for name in scene.there()] == ["", "", "", ""]
    assert scene.note() is None
    assert "evict" not in world.cluster.written


async def test_an_eviction_that_was_noted_and_not_made_is_made_once(scene: KillScene) -> None:
    world = scene.world
    world.cluster.failing["evict"] = UnreachableError("no answer")
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(6)
    note = scene.note()
    assert note is not None
    assert note.evicted is not None
    world.cluster.failing.clear()
    other = await successor(world)
    await lead(world, other, 30)
    assert "p2" not in scene.there()
    assert world.cluster.written.count("evict") == 1


async def test_an_eviction_that_is_not_shown_yet_is_not_made_again(scene: KillScene) -> None:
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    scene.world.cluster.late.stand_still(Pod)
    await scene.passes(12)
    assert scene.world.cluster.written.count("evict") == 1


async def test_a_cost_that_shows_only_after_its_violation_is_over_comes_off(scene: KillScene) -> None:
    await scene.violate(scene.violation("Replicas", "p2"))
    scene.world.cluster.late.stand_still(Pod)
    await scene.passes(40)
    assert scene.cost("p2") == "-1"
    await scene.violate(target=4)
    await scene.passes(6)
    scene.world.cluster.late.catch_up()
    await scene.passes(40)
    assert (scene.cost("p2"), scene.note()) == ("", None)


async def test_restoring_takes_all_costs_off_and_evicts_nobody(scene: KillScene) -> None:
    world = scene.world
    scene.set_cost("p2", "7")
    await scene.violate(scene.violation("Budget", "p2", "p0", watts=900.0, ago=LASTS))
    await scene.passes(6)
    assert (scene.cost("p2"), scene.cost("p0")) == ("-2", "-1")
    job = world.replica(dataclasses.replace(FAST, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(90.0)
    assert restoring.done()
    await restoring
    assert (scene.cost("p2"), scene.cost("p0")) == ("7", "")
    assert len(scene.there()) == 4
    assert world.recommendation().metadata.finalizers == ()


async def test_a_mode_that_is_lowered_takes_all_costs_off(scene: KillScene) -> None:
    await scene.violate(scene.violation("Budget", "p2", watts=900.0))
    await scene.passes(6)
    assert scene.cost("p2") == "-1"
    scene.mode = "Scale"
    await scene.violate(scene.violation("Budget", "p2", watts=900.0))
    await scene.passes(40)
    assert scene.cost("p2") == ""
    assert scene.note() is None
