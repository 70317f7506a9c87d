"""What an API server or a webhook refuses is said, in its words, and left alone for a while."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import NAMESPACE, World
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.errors import ClusterError, ForbiddenError, RefusedError, UnreachableError
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import Deployment, ScaledObject, ScaledObjectSpec, ScaledObjectTarget, Trigger

NO = RefusedError("admission webhook denied the request: no")


async def capped(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes()


@pytest.mark.parametrize("error", [NO, ForbiddenError("cannot patch resource. Grant this")])
async def test_a_refusal_is_a_condition_and_an_event(world: World, error: ClusterError) -> None:
    world.cluster.failing["fields"] = error
    await capped(world)
    await world.passes()
    condition = world.condition()
    assert condition is not None
    assert (condition.status, condition.reason, condition.message) == ("False", "WriteRefused", str(error))
    assert "WriteRefused" in world.events()
    assert world.registry.get_sample_value("wattkeeper_actuator_hindered_services") == 1.0


async def test_nobody_is_told_of_a_write_that_was_refused(world: World) -> None:
    world.cluster.failing["fields"] = NO
    await capped(world)
    await world.passes(10)
    assert "CeilingWritten" not in world.events()


async def test_what_was_found_is_an_event_although_the_write_beside_it_fails(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    world.cluster.failing["fields"] = UnreachableError("no answer")
    await world.recommend(0)
    await world.passes(3)
    assert "OneReplicaStays" in world.events()


async def test_a_restoration_that_is_refused_is_said_and_not_tried_in_every_pass(world: World) -> None:
    await capped(world)
    world.cluster.failing["fields"] = NO
    await world.cluster.delete(world.recommendation())
    asked = count_attempts(world, "fields")
    await world.passes(10)
    assert len(asked) == 1
    assert world.reason() == ("False", "WriteRefused")
    world.cluster.failing.clear()
    await world.wait(60.0)
    await world.passes(2)
    assert world.bounds() == (None, 8)


async def test_a_refusal_that_nothing_waits_for_any_more_is_not_said(world: World) -> None:
    world.cluster.failing["fields"] = NO
    await capped(world)
    await world.passes()
    await world.recommend(3, mode="Off")
    await world.passes(2)
    assert world.condition() is None


async def test_a_refused_bound_does_not_hold_the_brake_up(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    group = "serving.kserve.io/v1beta1"
    kserve = msgspec.convert({"metadata": {"name": "chat", "namespace": NAMESPACE}}, InferenceService)
    service = world.cluster.create(kserve)
    owner = OwnerReference(api_version=group, kind="InferenceService", name="chat", uid=service.metadata.uid)
    workload = world.get(Deployment, "chat-predictor")
    meta = replace(workload.metadata, owner_references=(replace(owner, controller=True),))
    world.cluster.replace(replace(workload, metadata=meta))
    world.edit(max_replicas=20)
    world.cluster.failing["fields"] = NO
    await world.recommend(5)
    await scene.ask(True, 2)
    assert world.reason() == ("False", "WriteRefused")
    await scene.ask(False, 6)
    assert scene.bounds() == (3, 5)


async def test_a_brake_that_is_refused_is_said_and_left_for_a_while(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    world.cluster.failing["brake"] = NO
    asked = count_attempts(world, "brake")
    await world.recommend(5)
    await scene.ask(False, 10)
    assert scene.braked() == ("False", "WriteRefused")
    assert "BrakeRefused" in world.events()
    assert "Braked" not in world.events()
    assert len(asked) == 1


@pytest.mark.parametrize("verb", ["hold", "status"])
async def test_a_recommendation_that_cannot_be_written_is_not_asked_for_in_every_pass(world: World, verb: str) -> None:
    world.cluster.failing[verb] = NO
    asked = count_attempts(world, verb)
    await capped(world)
    await world.passes(10)
    assert len(asked) == 1
    assert world.bounds() == (None, 8)


async def test_a_scaled_object_of_the_user_s_that_has_our_name_is_not_written_over(world: World) -> None:
    world.policy()
    world.inference_service("external")
    world.workload("something-else")
    target = ScaledObjectTarget(name="something-else")
    spec = ScaledObjectSpec(scale_target_ref=target, triggers=(Trigger(type="cron"),))
    mine = world.cluster.create(
        ScaledObject(metadata=ObjectMeta(name="chat-predictor-wk", namespace=NAMESPACE), spec=spec)
    )
    await world.recommend(3)
    await world.passes(3)
    assert world.get(ScaledObject, "chat-predictor-wk") == mine
    assert world.reason() == ("False", "WriteRefused")
    condition = world.condition()
    assert condition is not None
    assert "chat-predictor-wk" in condition.message


def count_attempts(world: World, verb: str) -> list[str]:
    """Returns a list that grows by each write that fails."""
    attempts: list[str] = []

    class Counted(dict[str, ClusterError]):
        def __getitem__(self, key: str) -> ClusterError:
            attempts.append(key)
            return super().__getitem__(key)

    world.cluster.failing = Counted({verb: world.cluster.failing[verb]})
    return attempts
