"""What a user had comes back when the policy, its mode, the recommendation or Wattkeeper itself goes."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from kserve_hooks.errors import RestoreError
from kserve_hooks.service import ActuatorOptions
from tests.unit.kserve_hooks.world import NAMESPACE, OPTIONS, World
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.errors import NotFoundError, UnreachableError
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import Deployment, ScaledObject


def called(holder: str) -> ActuatorOptions:
    return dataclasses.replace(OPTIONS, holder=holder)


async def capped(world: World, autoscaler: str = "hpa") -> None:
    world.policy(lower=True)
    world.inference_service(autoscaler, minReplicas=4, maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)


async def test_a_recommendation_that_goes_waits_until_its_bounds_are_back(world: World) -> None:
    await capped(world)
    assert world.bounds() == (3, 3)
    assert world.recommendation().metadata.finalizers == (FINALIZER,)
    await world.cluster.delete(world.recommendation())
    await world.passes()
    assert world.bounds() == (4, 8)
    await world.passes()
    assert world.find(PowerRecommendation, "deployment-chat-predictor") is None
    assert "Restored" in world.events()


@pytest.mark.parametrize("mode", ["Off", "Initial"])
async def test_a_mode_that_enforces_nothing_puts_everything_back(world: World, mode: str) -> None:
    await capped(world)
    await world.recommend(3, mode=mode)
    await world.passes(2)
    assert world.bounds() == (4, 8)
    found = world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())
    assert world.condition() is None


async def test_a_policy_that_is_gone_puts_everything_back_whatever_the_leader_does(world: World) -> None:
    await capped(world)
    await world.cluster.delete(world.get(PowerCappingPolicy, "capped"))
    await world.passes(2)
    assert world.bounds() == (4, 8)


async def test_a_policy_whose_mode_changes_puts_everything_back_whatever_the_leader_does(world: World) -> None:
    await capped(world)
    policy = world.get(PowerCappingPolicy, "capped")
    world.cluster.replace(replace(policy, spec=replace(policy.spec, mode="Off")))
    await world.passes(2)
    assert world.bounds() == (4, 8)


async def test_our_scaled_object_goes_with_the_cap(world: World) -> None:
    await capped(world, "external")
    await world.recommend(3, mode="Off")
    await world.passes(2)
    assert world.find(ScaledObject, "chat-predictor-wk") is None
    assert world.recommendation().metadata.finalizers == ()


async def test_what_was_not_set_is_taken_away_again(world: World) -> None:
    world.policy(lower=True)
    world.inference_service("hpa", minReplicas=4)
    await world.recommend(2)
    await world.passes()
    assert world.bounds() == (2, 2)
    await world.recommend(2, mode="Off")
    await world.passes()
    assert world.bounds() == (4, None)


async def test_what_a_user_has_changed_since_stays(world: World) -> None:
    await capped(world)
    world.edit(min_replicas=1, max_replicas=2)
    await world.recommend(3, mode="Off")
    await world.passes(2)
    assert world.bounds() == (1, 2)
    assert world.recommendation().metadata.finalizers == ()


async def test_a_service_that_is_gone_holds_nothing_up(world: World) -> None:
    await capped(world)
    world.cluster.objects.remove(world.get(InferenceService, "chat"))
    world.cluster.objects.remove(world.get(Deployment, "chat-predictor"))
    await world.cluster.delete(world.recommendation())
    await world.passes(2)
    assert world.find(PowerRecommendation, "deployment-chat-predictor") is None


async def test_nothing_of_a_namesake_is_put_back(world: World) -> None:
    await capped(world)
    old = world.get(InferenceService, "chat")
    world.cluster.objects.remove(old)
    world.cluster.create(replace(old, metadata=replace(old.metadata, uid="younger")))
    await world.recommend(3, mode="Off")
    await world.passes(2)
    assert world.bounds() == (3, 3)


@pytest.mark.parametrize("verb", ["hold", "status", "fields", "let go"])
async def test_a_write_that_fails_is_made_good_by_the_next_leader(world: World, verb: str) -> None:
    world.cluster.failing[verb] = UnreachableError("no answer")
    await capped(world)
    other = world.replica(called("actuator-1"))
    await world.service.leadership.release()
    world.cluster.failing.clear()
    await other.leadership.renew()
    await other.act()
    for _ in range(8):
        await world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert world.bounds() == (3, 3)
    await world.recommend(3, mode="Off")
    for _ in range(3):
        await world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert world.bounds() == (4, 8)
    assert world.recommendation().metadata.finalizers == ()


async def test_a_change_that_was_noted_and_not_made_loses_nothing(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = UnreachableError("no answer")
    await world.recommend(2)
    await world.passes(2)
    assert world.bounds() == (3, 3)
    world.cluster.failing.clear()
    await world.passes(8)
    assert world.bounds() == (2, 2)
    await world.recommend(2, mode="Off")
    await world.passes(2)
    assert world.bounds() == (4, 8)


async def test_putting_everything_back_takes_the_lease_and_keeps_it_for_a_while(world: World) -> None:
    await capped(world)
    job = world.replica(called("restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(10.0)
    await world.service.leadership.renew()
    assert await world.service.act() == "follower"
    assert world.bounds() == (3, 3)
    await world.clock.forward(20.0)
    await restoring
    assert world.bounds() == (4, 8)
    assert world.recommendation().metadata.finalizers == ()
    await world.passes(20)
    assert world.bounds() == (4, 8)


async def test_what_cannot_be_put_back_in_time_is_said(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = UnreachableError("no answer")
    job = world.replica(called("restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(200.0)
    with pytest.raises(RestoreError, match=r"spec\.predictor\.maxReplicas from 3 to 8"):
        await restoring


async def test_a_lease_that_its_holder_renews_at_the_same_moment_is_taken_with_the_next_try(world: World) -> None:
    await capped(world)
    job = world.replica(called("restore"))
    hold, tries = world.cluster.hold_lease, 0

    async def contended(**asked: Any) -> bool:
        nonlocal tries
        tries += bool(asked.get("by_force"))
        return await hold(**asked) if tries != 1 else False

    world.cluster.hold_lease = contended
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(150.0)
    await restoring
    assert world.bounds() == (4, 8)


async def test_a_restoration_does_not_end_well_while_a_service_that_was_changed_cannot_be_seen(world: World) -> None:
    await capped(world)
    world.cluster.objects.remove(world.get(InferenceService, "chat"))
    job = world.replica(called("restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(200.0)
    with pytest.raises(RestoreError, match="InferenceService chat cannot be seen"):
        await restoring


async def test_a_recommendation_that_is_gone_however_long_it_is_shown_keeps_nobody_waiting(world: World) -> None:
    await capped(world)
    world.cluster.failing["status"] = NotFoundError("namespaces not found")
    job = world.replica(called("restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(30.0)
    assert restoring.done()
    await restoring


async def test_a_scaled_object_of_ours_without_a_recommendation_is_removed(world: World) -> None:
    await capped(world, "external")
    one = world.recommendation()
    world.cluster.objects.remove(one)
    await world.passes()
    assert world.cluster.view.get(ScaledObject, NAMESPACE, "chat-predictor-wk") is None
