"""While a budget is over by more than the policy bears, a pause lowers at once what KEDA would lower later."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.brake_scene import OURS
from tests.unit.kserve_hooks.overshoot_scene import Overshooting, violation
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.conditions import message_of
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.api.power_recommendation import Violation
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.objects import ScaledObject, ScaledObjectSpec, ScaledObjectTarget, Trigger


@pytest.fixture
def scene(world: World) -> Overshooting:
    return Overshooting(world)


async def test_a_service_above_its_cap_is_paused_at_it_while_a_budget_is_over(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    assert (scene.pause(), scene.bounds()) == ("5", (3, 20))
    assert scene.braked() == ("True", "Overshoot")
    note = scene.note()
    assert note is not None
    assert (note.kind, note.reason, note.budget) == ("ScaledObject", "Overshoot", "hall")
    labels = {"reason": "Overshoot"}
    assert scene.world.registry.get_sample_value("wattkeeper_actuator_braked_services", labels) == 1.0


async def test_the_event_names_the_budget(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    (told,) = (one.record.note for one in scene.world.cluster.events if one.record.reason == "Braked")
    assert told.startswith("PowerBudget hall is over its limit by more than 5%: the actuator has set ")


async def test_a_policy_that_does_not_ask_for_it_waits_for_keda(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule(None)
    await scene.cut(5, watts=900.0)
    await scene.ask(True, 5)
    assert (scene.pause(), scene.note()) == (None, None)


async def test_an_overshoot_within_the_threshold_waits_for_keda(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5, watts=50.0)
    await scene.ask(True, 5)
    assert (scene.pause(), scene.braked()) == (None, ("", ""))


async def test_a_violation_of_replicas_alone_is_no_overshoot(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.over(900.0)
    await scene.world.recommend(5, violations=(Violation(type="Replicas", since="", budget="hall"),))
    await scene.ask(True, 5)
    assert scene.pause() is None


async def test_a_budget_that_is_not_there_is_no_overshoot(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.world.recommend(5, violations=(violation("gone"),))
    await scene.ask(True, 5)
    assert scene.pause() is None


async def test_a_service_within_its_cap_is_left_alone_though_a_budget_is_over(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(12)
    await scene.ask(True, 5)
    assert (scene.pause(), scene.braked(), scene.world.cluster.written) == (None, ("", ""), [])


async def test_no_service_is_paused_below_its_policy_s_floor(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(2, floor=4)
    await scene.ask(True, 1)
    assert scene.pause() == "4"


async def test_no_service_is_paused_below_the_minimum_that_keda_would_raise_it_to_afterwards(
    scene: Overshooting,
) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(1)
    await scene.ask(True, 1)
    assert scene.pause() == "3"
    scene.scale(3)
    await scene.ask(True, 3)
    assert scene.pause() == "3"


async def test_what_other_triggers_scale_as_well_is_paused_too(scene: Overshooting) -> None:
    await scene.open(OURS, Trigger(type="cpu"))
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    assert scene.pause() == "5"


async def test_a_lower_cap_lowers_the_pause(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.cut(4)
    await scene.ask(True, 1)
    assert scene.pause() == "4"


async def test_the_pause_goes_once_the_budget_has_been_inside_for_a_while(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 5)
    assert scene.pause() == "5"
    await scene.ask(True, 2)
    found = scene.world.recommendation()
    assert (scene.pause(), found.status.actuation, found.metadata.finalizers) == (None, None, ())
    assert scene.braked() == ("", "")
    assert "BrakeReleased" in scene.world.events()


async def test_the_pause_stays_while_pods_end_and_the_budget_is_over_until_they_are_gone(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.world.recommend(5)
    await scene.ask(True, 20)
    assert scene.pause() == "5"
    await scene.over(0.0)
    await scene.ask(True, 8)
    assert scene.pause() is None


async def test_what_the_policy_tolerates_does_not_keep_the_pause(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule(tolerance=0.03)
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.world.recommend(5)
    await scene.over(20.0)
    await scene.ask(True, 8)
    assert scene.pause() is None


async def test_a_budget_that_is_over_again_in_between_keeps_the_pause(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    for _ in range(3):
        await scene.cut(5, watts=0.0)
        await scene.ask(True, 4)
        await scene.cut(5, watts=10.0)
        await scene.ask(True, 1)
    assert scene.pause() == "5"
    assert scene.brakes() == 1


async def test_the_pause_goes_as_soon_as_the_cap_rises_though_the_budget_is_over(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.scale(5)
    await scene.cut(6)
    await scene.ask(True, 2)
    assert (scene.pause(), scene.note()) == (None, None)


async def test_a_policy_that_withdraws_its_threshold_ends_the_pause(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    await scene.rule(None)
    await scene.ask(True, 2)
    assert (scene.pause(), scene.note()) == (None, None)


async def test_a_scaled_object_that_asks_us_no_longer_is_let_go(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    await scene.over(10.0)
    found = scene.world.get(ScaledObject, "mine")
    scene.world.cluster.replace(replace(found, spec=replace(found.spec, triggers=(Trigger(type="cpu"),))))
    await scene.ask(True, 2)
    assert (scene.pause(), scene.note()) == (None, None)


@pytest.mark.parametrize("pause", ["paused", "paused-replicas", "paused-scale-in"])
async def test_a_user_s_pause_stays_and_is_said(scene: Overshooting, pause: str) -> None:
    await scene.open(pause=pause)
    await scene.rule()
    before = scene.world.get(ScaledObject, "mine").metadata.annotations
    await scene.cut(5)
    await scene.ask(True, 3)
    assert scene.world.get(ScaledObject, "mine").metadata.annotations == before
    assert (scene.braked(), scene.note()) == (("False", "PausedByUser"), None)
    assert "BrakeRefused" in scene.world.events()


async def test_a_pause_that_a_user_has_changed_stays_when_the_budget_is_inside_again(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    scene.annotate("3")
    scene.scale(3)
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 8)
    assert (scene.pause(), scene.note()) == ("3", None)


async def test_another_pause_of_a_user_s_does_not_make_ours_forgotten(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 1)
    found = scene.world.get(ScaledObject, "mine")
    both = {**found.metadata.annotations, "autoscaling.keda.sh/paused-scale-in": "true"}
    scene.world.cluster.replace(replace(found, metadata=replace(found.metadata, annotations=both)))
    await scene.ask(True, 2)
    assert scene.note() is not None
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 8)
    left = scene.world.get(ScaledObject, "mine").metadata.annotations
    assert left == {"autoscaling.keda.sh/paused-scale-in": "true"}


async def test_what_kserve_reverts_is_left_to_the_ceiling_and_that_is_said(scene: Overshooting) -> None:
    owner = OwnerReference(api_version="serving.kserve.io/v1beta1", kind="InferenceService", name="chat", uid="u")
    world = scene.world
    service = world.inference_service("keda", maxReplicas=20)
    world.policy()
    target = ScaledObjectTarget(name="chat-predictor")
    meta = ObjectMeta(name="chat-predictor", namespace=service.metadata.namespace, owner_references=(owner,))
    world.cluster.create(
        ScaledObject(
            metadata=meta, spec=ScaledObjectSpec(scale_target_ref=target, max_replica_count=20, triggers=(OURS,))
        )
    )
    await scene.rule()
    scene.scale(12)
    await scene.cut(5)
    await scene.ask(True, 8)
    assert scene.braked() == ("False", "NoLever")
    assert "Only the ceiling is left" in message_of(world.recommendation().status.conditions, "Braked")
    assert (world.bounds(), scene.brakes()) == ((None, 5), 0)


async def test_a_pause_that_somebody_takes_off_is_not_fought_over(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 2)
    scene.annotate(None)
    await scene.ask(True, 10)
    assert (scene.pause(), scene.brakes()) == (None, 1)
    assert (scene.braked(), scene.note()) == (("False", "BrakePutBack"), None)
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 8)
    await scene.cut(5)
    await scene.ask(True, 1)
    assert scene.pause() == "5"


async def test_a_brake_whose_write_fails_at_first_is_not_taken_for_one_that_was_put_back(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.cut(5)
    await scene.ask(True, 2)
    await scene.cut(5, watts=0.0)
    await scene.ask(True, 8)
    scene.world.cluster.failing["brake"] = UnreachableError("no answer")
    await scene.cut(5)
    await scene.ask(True, 2)
    scene.world.cluster.failing.clear()
    await scene.ask(True, 10)
    assert scene.pause() == "5"


async def test_while_nobody_decides_no_pause_begins_and_none_ends(scene: Overshooting) -> None:
    await scene.open()
    await scene.rule()
    await scene.decided_by_nobody(9)
    await scene.cut(5)
    await scene.decided_by_nobody(3)
    assert scene.pause() is None
    await scene.ask(True, 1)
    assert scene.pause() == "5"
    await scene.decided_by_nobody(9)
    await scene.cut(5, watts=0.0)
    await scene.decided_by_nobody(12)
    assert (scene.pause(), scene.braked()) == ("5", ("True", "Overshoot"))
    await scene.ask(True, 8)
    assert scene.pause() is None
