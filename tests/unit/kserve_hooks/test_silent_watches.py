"""A watch that says nothing any more, as a half-open one does: what it showed last is nothing to act on."""

from __future__ import annotations

from tests.unit.kserve_hooks.world import World
from wattkeeper.api.power_recommendation import PowerRecommendation


async def capped(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(5)
    await world.passes(3)


async def test_a_ceiling_that_is_no_longer_recommended_is_not_put_back(world: World) -> None:
    await capped(world)
    world.cluster.late.stand_still(PowerRecommendation)
    await world.recommend(2)
    world.edit(max_replicas=8)
    await world.passes(8)
    assert world.bounds() == (None, 8)
    world.cluster.late.catch_up()
    await world.passes(2)
    assert world.bounds() == (None, 2)


async def test_a_ceiling_does_not_rise_to_what_is_no_longer_recommended(world: World) -> None:
    await capped(world)
    await world.recommend(7)
    world.cluster.late.stand_still(PowerRecommendation)
    await world.recommend(3)
    await world.passes(30)
    assert world.bounds() == (None, 5)
    world.cluster.late.catch_up()
    await world.passes(2)
    assert world.bounds() == (None, 3)


async def test_what_was_let_go_meanwhile_is_not_taken_hold_of(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(5)
    world.cluster.late.stand_still(PowerRecommendation)
    await world.recommend(5, mode="Off")
    await world.passes(3)
    assert world.bounds() == (None, 8)
    assert world.recommendation().metadata.finalizers == ()
