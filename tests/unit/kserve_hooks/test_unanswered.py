"""Writes without an answer: tried again with patience, told of once, and as what became of them."""

from __future__ import annotations

import pytest

from tests.unit.kserve_hooks.world import World
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import ScaledObject

NO_ANSWER = UnreachableError("no answer in time")


def lose_answers(world: World, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Lets a verb do its work, and its answer get lost."""
    do = getattr(world.cluster, verb)

    async def done(*args: object, **named: object) -> None:
        await do(*args, **named)
        raise NO_ANSWER

    monkeypatch.setattr(world.cluster, verb, done)


async def capped(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)


def failed(world: World, what: str = "SetFields") -> float:
    labels = {"what": what, "outcome": "failed"}
    return world.registry.get_sample_value("wattkeeper_actuator_writes_total", labels) or 0.0


async def test_a_change_whose_answer_was_lost_is_made_once_and_told_of_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await capped(world)
    lose_answers(world, monkeypatch, "set_replica_fields")
    await world.passes(6)
    assert world.bounds() == (None, 3)
    assert failed(world) == 1.0
    assert world.events() == ["CeilingWritten"]


async def test_a_change_that_got_no_answer_and_was_not_made_is_told_of_when_it_is(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = NO_ANSWER
    await world.passes()
    assert world.events() == []
    world.cluster.failing.clear()
    await world.passes(3)
    assert world.events() == ["CeilingWritten"]


async def test_a_change_that_is_not_shown_yet_is_not_told_of_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await capped(world)
    with monkeypatch.context() as lost:
        lose_answers(world, lost, "set_replica_fields")
        world.cluster.late.stand_still(InferenceService)
        await world.passes()
    await world.passes(2)
    world.cluster.late.catch_up()
    await world.passes(3)
    assert world.bounds() == (None, 3)
    assert world.events() == ["CeilingWritten"]


@pytest.mark.parametrize("late", [True, False])
async def test_a_scaled_object_whose_answer_was_lost_is_told_of_once(
    world: World, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    world.policy()
    world.llm()
    await world.recommend(3, name="chat-kserve")
    with monkeypatch.context() as lost:
        lose_answers(world, lost, "apply_scaled_object")
        if late:
            world.cluster.late.stand_still(ScaledObject)
        await world.passes()
    await world.passes(2)
    world.cluster.late.catch_up()
    await world.passes(2)
    assert world.events() == ["ScaledObjectWritten"]


async def test_a_recommendation_s_part_whose_answer_was_lost_is_told_of_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy()
    world.inference_service("hpa", minReplicas=4, maxReplicas=8)
    await world.recommend(3)
    lose_answers(world, monkeypatch, "write_actuation")
    await world.passes(6)
    assert world.events().count("MinReplicasAboveCeiling") == 1


async def test_what_is_done_is_told_of_though_a_later_write_of_the_same_service_fails(world: World) -> None:
    await capped(world)
    await world.passes(2)
    world.edit(max_replicas=8)
    world.cluster.failing["fields"] = NO_ANSWER
    await world.passes()
    assert world.events() == ["CeilingWritten", "PutBack"]


async def test_a_service_is_left_alone_for_as_long_as_the_api_server_asks(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = UnreachableError("too many requests", retry_after_seconds=21.0)
    await world.passes(11)
    assert failed(world) == 1.0
    world.cluster.failing.clear()
    await world.passes()
    assert world.bounds() == (None, 3)


async def test_nobody_is_left_alone_for_longer_than_a_minute(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = UnreachableError("too many requests", retry_after_seconds=86_400.0)
    await world.passes()
    world.cluster.failing.clear()
    await world.passes(30)
    assert world.bounds() == (None, 3)


async def test_an_api_server_in_trouble_is_asked_ever_more_seldom(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = NO_ANSWER
    await world.passes(20)  # At 0, 2, 4, 8, 16 and 32 s.
    assert failed(world) == 6.0


async def test_answers_that_are_all_lost_cost_a_pass_each_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await capped(world)
    for verb in ("hold_recommendation", "write_actuation", "set_replica_fields"):
        lose_answers(world, monkeypatch, verb)
    await world.passes(3)
    assert world.bounds() == (None, 3)
    await world.recommend(2)
    await world.passes(2)
    assert world.bounds() == (None, 2)


async def test_trouble_that_is_over_is_forgotten(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = NO_ANSWER
    await world.passes(4)
    world.cluster.failing.clear()
    await world.passes(4)
    assert world.bounds() == (None, 3)
    await world.recommend(2)
    world.cluster.failing["fields"] = NO_ANSWER
    await world.passes()
    world.cluster.failing.clear()
    await world.passes()
    assert world.bounds() == (None, 2)


async def test_trouble_with_one_service_holds_up_no_other(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = UnreachableError("too many requests", retry_after_seconds=60.0)
    await world.passes()
    world.llm()
    await world.recommend(3, name="chat-kserve")
    await world.passes()
    assert world.find(ScaledObject, "chat-kserve-wk") is not None
