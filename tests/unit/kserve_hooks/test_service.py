"""One replica acts, with warm caches and its Lease in hand; a rehearsal does nothing."""

from __future__ import annotations

import asyncio
import dataclasses

from prometheus_client import CollectorRegistry

from kserve_hooks.service import Rehearsal
from tests.unit.kserve_hooks.world import OPTIONS, World
from tests.unit.scaler.hand_clock import settle
from wattkeeper.cluster.errors import ConflictError, UnreachableError


async def capped(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


async def test_nothing_is_written_before_caches_were_complete_for_a_while() -> None:
    world = World()
    await world.cluster.start()
    await capped(world)
    await world.service.leadership.renew()
    assert await world.service.act() == "warming-up"
    await world.clock.forward(9.0)
    assert await world.service.act() == "warming-up"
    assert world.cluster.written == []
    await world.clock.forward(1.0)
    await world.service.leadership.renew()
    assert await world.service.act() == "made"
    assert world.bounds() == (None, 3)


async def test_nothing_is_written_while_the_view_is_incomplete(world: World) -> None:
    await capped(world)
    world.cluster.objects.set_synced(synced=False)
    await world.clock.forward(2.0)
    await world.service.leadership.renew()
    assert await world.service.act() == "stale"
    world.cluster.objects.set_synced(synced=True)
    assert await world.service.act() == "warming-up"
    assert world.cluster.written == []


async def test_a_follower_writes_nothing(world: World) -> None:
    await capped(world)
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await other.leadership.renew()
    assert await other.act() == "follower"
    assert world.cluster.written == []


async def test_a_leader_whose_lease_ran_out_writes_nothing(world: World) -> None:
    await capped(world)
    await world.clock.forward(60.0)
    assert await world.service.act() == "follower"
    assert world.cluster.written == []


async def test_a_leader_that_is_deposed_amid_a_pass_stops_before_the_next_write(world: World) -> None:
    await capped(world)
    hold = world.cluster.hold_recommendation

    async def slow(one: object, *, held: bool) -> None:
        await hold(one, held=held)  # pyright: ignore[reportArgumentType]
        await world.clock.forward(60.0)

    world.cluster.hold_recommendation = slow  # pyright: ignore[reportAttributeAccessIssue]
    await world.passes()
    assert world.cluster.written == ["hold"]
    assert world.bounds() == (None, 8)
    assert value(world.registry, "wattkeeper_actuator_writes_total", what="Publish", outcome="not-leading") == 1.0


async def test_a_failing_service_stops_no_other(world: World) -> None:
    await capped(world)
    world.llm()
    await world.recommend(3, name="chat-kserve")
    world.cluster.failing["fields"] = UnreachableError("no answer")
    await world.passes()
    assert "apply" in world.cluster.written
    world.cluster.failing.clear()
    await world.passes(6)
    assert world.bounds() == (None, 3)


async def test_somebody_who_was_quicker_is_not_overwritten(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = ConflictError("has changed")
    await world.passes()
    assert value(world.registry, "wattkeeper_actuator_writes_total", what="SetFields", outcome="outdated") == 1.0
    world.cluster.failing.clear()
    await world.passes()
    assert world.bounds() == (None, 3)


async def test_figures_say_who_is_capped_how_and_who_is_not(world: World) -> None:
    await capped(world)
    await world.passes()
    assert value(world.registry, "wattkeeper_actuator_services", autoscaler="hpa") == 1.0
    await world.recommend(0)
    await world.passes()
    assert value(world.registry, "wattkeeper_actuator_hindered_services") == 1.0
    assert value(world.registry, "wattkeeper_actuator_leader") == 1.0


async def test_the_loop_acts_by_itself_and_gives_the_lease_up_in_the_end(world: World) -> None:
    await capped(world)
    running = asyncio.create_task(world.service.run())
    await world.clock.forward(20.0)
    assert world.bounds() == (None, 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await other.leadership.renew()
    assert other.leadership.holds(world.clock.now())


async def test_a_rehearsal_says_each_action_once_and_does_none(world: World) -> None:
    await capped(world)
    said: list[str] = []
    rehearsal = Rehearsal(
        cluster=world.cluster,
        clock=world.clock,
        options=OPTIONS,
        scaler_answers=world.answers,
        say=said.append,
    )
    running = asyncio.create_task(rehearsal.run())
    await settle()
    await world.clock.forward(10.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "would set spec.predictor.maxReplicas from 8 to 3 of InferenceService llm/chat" in said
    assert len(said) == len(set(said))
    assert world.cluster.written == []
    assert world.events() == []
