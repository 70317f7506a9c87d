"""Somebody who puts back what the actuator writes is seen and named, and not fought for ever."""

from __future__ import annotations

from tests.unit.kserve_hooks.world import World
from wattkeeper.api.conditions import holds, message_of


async def capped(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)


async def put_back(world: World, times: int) -> None:
    for _ in range(times):
        world.edit(max_replicas=8)
        await world.passes(2)


async def test_a_revert_is_written_over_and_named(world: World) -> None:
    await capped(world)
    await put_back(world, 1)
    assert world.bounds() == (None, 3)
    message = message_of(world.recommendation().status.conditions, "Reverted")
    assert message.startswith("argocd put back spec.predictor.maxReplicas of InferenceService chat once")
    assert "PutBack" in world.events()


async def test_somebody_quicker_than_a_pass_is_counted_too(world: World) -> None:
    await capped(world)
    for _ in range(3):
        world.edit(max_replicas=8)
        await world.passes()
    assert world.reason() == ("False", "Reverted")
    assert world.bounds() == (None, 8)


async def test_after_some_reverts_the_actuator_stops_and_says_so(world: World) -> None:
    await capped(world)
    await put_back(world, 3)
    world.cluster.written.clear()
    await world.passes(20)
    assert world.bounds() == (None, 8)
    assert world.cluster.written == []
    assert world.reason() == ("False", "Reverted")
    assert "ignoreDifferences" in message_of(world.recommendation().status.conditions, "Reverted")


async def test_after_a_pause_it_tries_once_more(world: World) -> None:
    await capped(world)
    await put_back(world, 3)
    await world.wait(600.0)
    await world.passes()
    assert world.bounds() == (None, 3)


async def test_a_value_that_stays_makes_reverts_forgotten(world: World) -> None:
    await capped(world)
    await put_back(world, 1)
    await world.wait(600.0)
    await world.passes(2)
    assert not holds(world.recommendation().status.conditions, "Reverted")


async def test_a_new_leader_goes_on_counting(world: World) -> None:
    await capped(world)
    await put_back(world, 2)
    await world.service.leadership.release()
    await world.service.act()
    await world.service.leadership.renew()
    await world.passes(10)
    await put_back(world, 1)
    assert world.reason() == ("False", "Reverted")


async def test_when_the_cap_is_over_after_reverts_nothing_is_written(world: World) -> None:
    await capped(world)
    await put_back(world, 3)
    await world.recommend(3, mode="Off")
    await world.passes(2)
    assert world.bounds() == (None, 8)
    assert world.recommendation().status.actuation is None
