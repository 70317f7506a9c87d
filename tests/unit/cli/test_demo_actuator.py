"""What the demo tells of the actuator: pods that move, and the brake."""

from __future__ import annotations

from msgspec.structs import replace

from kserve_hooks.events import braked
from kserve_hooks.migrate_events import phase_begun
from tests.unit.cli.demo_scene import SECONDS, drawn, made
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_migration import PodReference, PowerMigration, PowerMigrationSpec, PowerMigrationStatus
from wattkeeper.api.power_recommendation import (
    Actuation,
    Brake,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cli.demo_view import DayLog
from wattkeeper.simulation.story import NAMESPACE, plan_story
from wattkeeper.simulation.world import World


def _migration(world: World) -> PowerMigration:
    """Begins to move the first pod of chat."""
    made(world, "chat-new", gated=False)
    return world.cluster.create(
        PowerMigration(
            metadata=ObjectMeta(name="chat-0001", namespace=NAMESPACE),
            spec=PowerMigrationSpec(
                scale_target_ref=ScaleTargetRef(kind="Deployment", name="chat"),
                pod=PodReference(name="chat-old", uid="0001", node="rack-b-2"),
                budget="rack-b",
            ),
            status=PowerMigrationStatus(phase="Waiting", new_pod=PodReference(name="chat-new", uid="0002")),
        )
    )


async def test_a_pod_that_moves_has_a_line_until_it_has_moved() -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    moving = _migration(world)
    shown = drawn(world, log, 120, 40)
    world.cluster.replace(replace(moving, status=PowerMigrationStatus(phase="Succeeded")))

    assert "moves  chat-old  rack-b-2 -> at the gate  Waiting" in shown
    assert "chat-old" not in drawn(world, log, 120, 40)


async def test_the_log_tells_each_phase_of_a_move() -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    await world.cluster.record(phase_begun(_migration(world), "Waiting", "Waits for traffic.", warns=False))
    log.look(world)

    assert [text for _, _, text in log.lines][1:] == ["chat: chat-old moves away from rack-b: Waits for traffic."]


async def test_a_service_that_is_braked_says_so() -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    brake = Brake(kind="HorizontalPodAutoscaler", name="keda-hpa-chat", uid="1", fields=(), since="")
    one = world.cluster.create(
        PowerRecommendation(
            metadata=ObjectMeta(name="deployment-chat", namespace=NAMESPACE),
            spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name="chat")),
            status=PowerRecommendationStatus(
                mode="Scale", reason="BudgetBinds", actuation=Actuation(autoscaler="", brake=brake)
            ),
        )
    )
    await world.cluster.record(braked(one, "lowered it", "Nothing answers"))
    log.look(world)

    assert "braked, budget binds" in drawn(world, log, 120, 40)
    assert log.lines[-1][2] == "chat: Nothing answers: the actuator has lowered it."
