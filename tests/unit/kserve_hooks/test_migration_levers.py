"""Who gives a service one pod more for a while, and where nobody can."""

from __future__ import annotations

import pytest

from kserve_hooks.capped import find_capped
from kserve_hooks.migrate_levers import missing_lever
from tests.unit.kserve_hooks.world import NAMESPACE, OPTIONS, World
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationSpec
from wattkeeper.cluster.objects import ScaledObject, ScaledObjectSpec, ScaledObjectTarget, Trigger


def why(world: World) -> str:
    (one,) = find_capped(world.cluster.view)
    found = missing_lever(one, 3, OPTIONS.plan.trigger)
    return "" if found is None else found.reason


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"scalerAddress": "wattkeeper.power.svc:9090"}, ""),
        ({"scalerAddress": "wattkeeper.power.svc:9090", "metric": "cap"}, "NoLever"),
        ({"scalerAddress": "somebody.else.svc:9090"}, "NoLever"),
    ],
)
async def test_a_scaled_object_that_is_told_the_number_is_a_lever(
    world: World, metadata: dict[str, str], reason: str
) -> None:
    world.policy(mode="Migrate")
    world.workload("chat-predictor")
    await world.recommend(3, mode="Migrate")
    target = ScaledObjectTarget(name="chat-predictor")
    spec = ScaledObjectSpec(scale_target_ref=target, triggers=(Trigger(type="external", metadata=metadata),))
    world.cluster.create(ScaledObject(metadata=ObjectMeta(name="mine", namespace=NAMESPACE), spec=spec))
    assert why(world) == reason


async def test_a_deployment_that_nothing_of_ours_scales_has_no_lever(world: World) -> None:
    world.policy(mode="Migrate")
    world.workload("chat-predictor")
    await world.recommend(3, mode="Migrate")
    assert why(world) == "NoLever"


async def test_groups_of_a_leader_worker_set_stay(world: World) -> None:
    world.policy(mode="Migrate")
    reference = ScaleTargetRef(kind="LeaderWorkerSet", name="llm")
    meta = ObjectMeta(name="leaderworkerset-llm", namespace=NAMESPACE)
    spec = PowerRecommendationSpec(scale_target_ref=reference, policy="capped")
    await world.cluster.apply(PowerRecommendation(metadata=meta, spec=spec))
    assert why(world) == "GroupsStay"
