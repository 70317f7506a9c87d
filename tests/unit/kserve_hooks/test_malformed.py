"""What is wrong with one service's objects concerns no other service."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from kserve_hooks import plan
from kserve_hooks.capped import Capped
from kserve_hooks.errors import RestoreError
from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.power_recommendation import Actuation, Brake
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import ScaledObject


async def two_services(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    world.llm(replicas=4)
    await world.recommend(3)
    await world.recommend(3, name="chat-kserve")


@pytest.mark.parametrize("value", ["9" * 5_000, "99999999999", "-1", "two", ""])
async def test_a_pause_of_ours_that_becomes_no_number_is_somebody_s_and_stops_nothing(world: World, value: str) -> None:
    scene = Scene(world)
    await scene.open()
    await world.recommend(0)
    await scene.ask(False, 5)
    scene.annotate(value)
    await scene.ask(False, 6)
    assert scene.braked() == ("False", "BrakePutBack")
    await scene.ask(True, 9)
    assert scene.pause() == value


async def test_a_brake_noted_without_a_field_is_none(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    one = world.recommendation()
    brake = Brake(
        kind="ScaledObject", name="mine", uid=world.get(ScaledObject, "mine").metadata.uid, fields=(), since=""
    )
    status = replace(one.status, actuation=Actuation(autoscaler="", brake=brake))
    world.cluster.replace(replace(one, status=status))
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))  # It does not know yet who answers.
    await world.service.leadership.release()
    for _ in range(8):
        await other.leadership.renew()
        await world.passes(service=other)
    assert world.recommendation().status.actuation is None


async def test_a_defect_that_one_service_meets_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_services(world)
    desired = plan.desired

    def broken(capped: Capped, *given: Any, **named: Any) -> Any:
        if isinstance(capped.service, InferenceService):
            return desired(capped, *given, **named)
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(plan, "desired", broken)
    await world.passes()
    assert world.bounds() == (None, 3)
    assert world.registry.get_sample_value("wattkeeper_actuator_hindered_services") == 1.0


async def test_a_restoration_does_not_end_well_while_it_cannot_plan_for_a_service(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_services(world)
    await world.passes(2)
    reconcile = plan.reconcile

    def broken(capped: Capped, *given: Any) -> Any:
        if isinstance(capped.service, InferenceService):
            return reconcile(capped, *given)
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(plan, "reconcile", broken)
    job = world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await world.clock.forward(200.0)
    with pytest.raises(RestoreError, match="deployment-chat-kserve: nobody foresaw this"):
        await restoring
    assert world.bounds() == (None, 8)
