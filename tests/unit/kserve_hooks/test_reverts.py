"""Somebody who puts back what the actuator writes is seen and named, and not fought for ever."""

from __future__ import annotations

from msgspec.structs import replace

from tests.unit.kserve_hooks.world import World
from wattkeeper.api.conditions import holds, message_of
from wattkeeper.cluster.objects import ScaledObject


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


async def with_scaled_object(world: World) -> None:
    world.policy()
    world.inference_service("external")
    await world.recommend(3)
    await world.passes(2)


def change_back(world: World) -> None:
    made = world.get(ScaledObject, "chat-predictor-wk")
    world.cluster.replace(replace(made, spec=replace(made.spec, polling_interval=5)))


async def test_somebody_who_changes_our_scaled_object_back_is_not_fought_for_ever(world: World) -> None:
    await with_scaled_object(world)
    for _ in range(8):
        change_back(world)
        await world.passes()
    world.cluster.written.clear()
    await world.passes(20)
    assert world.cluster.written == []
    assert world.reason() == ("False", "Reverted")
    assert "ScaledObject chat-predictor-wk" in message_of(world.recommendation().status.conditions, "Reverted")
    assert "PutBack" in world.events()


async def test_a_webhook_that_changes_our_scaled_object_as_it_is_written_is_said(world: World) -> None:
    apply = world.cluster.apply_scaled_object

    async def changed(wanted: ScaledObject) -> None:
        await apply(replace(wanted, spec=replace(wanted.spec, polling_interval=5)))

    world.cluster.apply_scaled_object = changed
    await with_scaled_object(world)
    await world.passes(60)
    assert world.reason() == ("False", "Reverted")
    world.cluster.written.clear()
    await world.passes(60)
    assert world.cluster.written == []


async def test_a_scaled_object_that_was_changed_once_is_brought_back_and_that_is_forgotten(world: World) -> None:
    await with_scaled_object(world)
    change_back(world)
    await world.passes(2)
    assert world.get(ScaledObject, "chat-predictor-wk").spec.polling_interval == 15
    assert holds(world.recommendation().status.conditions, "Reverted")
    await world.wait(600.0)
    await world.passes(2)
    assert not holds(world.recommendation().status.conditions, "Reverted")
    assert world.reason() == ("True", "ScaledObjectMade")


async def test_a_scaled_object_is_tried_once_more_after_the_pause(world: World) -> None:
    await with_scaled_object(world)
    for _ in range(8):
        change_back(world)
        await world.passes()
    await world.wait(600.0)
    await world.passes(2)
    assert world.get(ScaledObject, "chat-predictor-wk").spec.polling_interval == 15
