"""A pod moves to a rack with headroom, by every lever, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kserve_hooks.rates import Rates
from kserve_hooks.service import Rehearsal
from tests.unit.kserve_hooks.migrate_scene import Scene
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus, Reservation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.errors import UnreachableError


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


@pytest.mark.parametrize(("autoscaler", "bounds"), [("external", {}), ("hpa", {"maxReplicas": 8}), ("none", {})])
async def test_a_pod_moves_to_the_rack_with_headroom_and_there_are_never_fewer_ready(
    scene: Scene, autoscaler: str, bounds: dict[str, Any]
) -> None:
    await scene.open(autoscaler, **bounds)
    await scene.until("Pending")
    scene.hot = False
    await scene.until("Succeeded")
    assert (len(scene.on("a1")), len(scene.on("b1")), scene.least) == (2, 1, 3)
    await scene.turns(3)
    assert (scene.reason(), scene.replicas(), scene.leaks()) == ("Moved", 3, [])


async def test_a_pod_that_does_not_end_keeps_no_other_from_moving(scene: Scene) -> None:
    await scene.open()
    lost = pod("lost", template="t0", deleting=True)
    long_ago = format_instant(scene.world.clock.now() - 1000.0)
    meta, spec = replace(lost.metadata, deletion_timestamp=long_ago), replace(lost.spec, node_name="a1")
    scene.world.cluster.create(replace(lost, metadata=meta, spec=spec))
    await scene.until("Succeeded")
    assert (len(scene.on("b1")), scene.least) == (1, 3)


async def test_what_a_migration_does_is_told_phase_by_phase(scene: Scene) -> None:
    await scene.open()
    await scene.until("Succeeded")
    told = [one for one in scene.world.events() if one.startswith("Migration")]
    phases = ("Pending", "Surging", "Waiting", "Shrinking", "Verifying", "Succeeded")
    assert told == ["MigrationBegun", *(f"Migration{phase}" for phase in phases)]


async def test_a_migration_belongs_to_its_recommendation_and_names_pod_node_and_budget(scene: Scene) -> None:
    await scene.open()
    await scene.until("Pending")
    one = scene.migration()
    assert [owner.uid for owner in one.metadata.owner_references] == [scene.world.recommendation().metadata.uid]
    assert (one.spec.budget, one.spec.pod.node, one.status.replicas) == ("rack-a", "a1", 3)
    assert one.metadata.name == f"chat-predictor-{one.spec.pod.uid[:8]}"


async def test_the_old_pod_is_marked_to_go_before_the_service_has_one_pod_less(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    old = scene.old()
    assert old is not None
    assert old.metadata.annotations[DELETION_COST] == str(-(2**31))
    assert len(scene.costs()) == 1


async def test_a_new_pod_that_gets_no_traffic_yet_replaces_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.open()
    olds = frozenset(pod.metadata.uid for pod in scene.pods())

    async def serving(_: str) -> frozenset[str]:
        return olds

    monkeypatch.setattr(scene.world.cluster, "serving_pods", serving)
    await scene.until("Waiting")
    await scene.turns(20)
    assert (scene.phase(), scene.costs()) == ("Waiting", [])
    monkeypatch.undo()
    await scene.until("Succeeded")


async def test_while_nobody_can_say_who_gets_traffic_nothing_is_replaced(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.open()

    async def serving(_: str) -> frozenset[str]:
        raise UnreachableError("no answer")

    monkeypatch.setattr(scene.world.cluster, "serving_pods", serving)
    await scene.until("Waiting")
    await scene.turns(20)
    assert (scene.phase(), scene.costs()) == ("Waiting", [])


async def test_an_autoscaler_that_removes_nothing_has_the_old_pod_evicted_while_there_is_one_more(
    scene: Scene,
) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Succeeded")
    assert scene.world.cluster.written.count("evict") == 1
    assert (len(scene.on("a1")), scene.least) == (2, 3)


async def test_nothing_is_evicted_before_an_hpa_has_looked_back_over_its_window(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    await scene.turns(170)  # 340 s; its window is 300 s.
    assert (scene.phase(), "evict" in scene.world.cluster.written) == ("Shrinking", False)


async def test_nothing_is_evicted_while_nobody_decides(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    for _ in range(200):
        await scene.world.clock.forward(2.0)
        await scene.world.service.leadership.renew()
        await scene.world.service.act()
    assert (scene.phase(), "evict" in scene.world.cluster.written) == ("Shrinking", False)
    await scene.until("Succeeded")
    assert scene.world.cluster.written.count("evict") == 1


async def test_nothing_is_evicted_once_the_last_budget_is_gone(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    for budget in list(scene.world.cluster.objects.all(PowerBudget).values()):
        scene.world.cluster.objects.remove(budget)
    for _ in range(200):
        await scene.world.clock.forward(2.0)
        await scene.world.service.leadership.renew()
        await scene.world.service.act()
    assert (scene.phase(), "evict" in scene.world.cluster.written) == ("Shrinking", False)


async def test_a_pod_that_was_made_to_go_without_an_answer_counts_for_the_limits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.open()
    await scene.until("Waiting")
    counted: list[str] = []
    spend, write = Rates.spend, scene.world.cluster.write_migration

    def spent(rates: Rates, service: ServiceKey, per_hour: float, budget: str, now: float) -> None:
        counted.append(budget)
        spend(rates, service, per_hour, budget, now)

    async def lost(one: PowerMigration, status: PowerMigrationStatus) -> None:
        await write(one, status)
        raise UnreachableError("no answer")

    monkeypatch.setattr(Rates, "spend", spent)
    monkeypatch.setattr(scene.world.cluster, "write_migration", lost)
    await scene.until("Shrinking")
    assert counted == ["rack-a"]


async def test_minimum_replicas_are_raised_only_while_the_new_pod_is_awaited(scene: Scene) -> None:
    await scene.open("hpa", minReplicas=2, maxReplicas=8)
    await scene.until("Surging")
    await scene.turns(2)
    assert scene.world.bounds() == (4, 8)
    await scene.until("Verifying")
    assert scene.world.bounds() == (2, 8)


async def test_a_ceiling_that_is_too_low_yet_is_waited_for_and_not_overrun(scene: Scene) -> None:
    await scene.open("hpa", minReplicas=2, maxReplicas=8)
    scene.ceiling = 3
    await scene.turns(2)
    await scene.until("Surging")
    await scene.turns(3)
    assert scene.world.bounds() == (2, 3)
    scene.ceiling = 8
    await scene.until("Succeeded")


async def test_a_migration_made_by_a_person_is_carried_out_alike(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    scene.make(scene.on("a1")[1])
    await scene.until("Succeeded")
    assert (len(scene.on("a1")), scene.migration().spec.pod.uid in {pod.metadata.uid for pod in scene.pods()}) == (
        2,
        False,
    )


async def test_of_two_migrations_of_one_service_the_later_fails(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    first, second = scene.on("a1")[:2]
    scene.make(first, name="a-first")
    await scene.turns(2)
    scene.make(second, name="b-second")
    await scene.turns(2)
    one, other = scene.migrations()
    assert (one.status.phase != "Failed", other.status.phase) == (True, "Failed")


async def test_mode_kill_moves_pods_as_well(scene: Scene) -> None:
    await scene.open(mode="Kill")
    await scene.until("Succeeded")


async def test_a_pod_that_hangs_in_its_end_is_waited_for(scene: Scene) -> None:
    await scene.open()
    await scene.until("Verifying")
    assert scene.old() is not None


async def test_watts_that_others_took_are_said_and_the_pod_has_moved(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    await scene.until("Shrinking")
    scene.others_watts = 5000.0
    await scene.until("Succeeded")
    assert (scene.reason(), scene.leaks()) == ("WattsTaken", [])


async def test_ended_migrations_are_deleted_after_a_day(scene: Scene) -> None:
    await scene.open()
    await scene.until("Pending")
    scene.hot = False
    await scene.until("Succeeded")
    await scene.later(86_000.0)
    await scene.turns(8)
    assert len(scene.migrations()) == 1
    await scene.later(600.0)
    await scene.turns(8)
    assert scene.migrations() == []


async def test_figures_say_how_far_migrations_are_and_how_they_ended(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    await scene.turns()
    value = scene.world.registry.get_sample_value
    assert value("wattkeeper_actuator_migrations", {"phase": "Waiting"}) == 1.0
    await scene.until("Succeeded")
    await scene.turns(3)
    ended = {"phase": "Succeeded", "reason": "Moved"}
    assert value("wattkeeper_actuator_migrations_ended_total", ended) == 1.0
    assert value("wattkeeper_actuator_migrations_refused", {"reason": "CoolingDown"}) == 1.0


async def test_a_rehearsal_says_what_would_move_and_moves_nothing(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    scene.hot = True
    await scene.decide()
    said: list[str] = []
    rehearsal = Rehearsal(
        cluster=scene.world.cluster,
        clock=scene.world.clock,
        options=OPTIONS,
        scaler_answers=scene.world.answers,
        say=said.append,
    )
    rehearsal.rehearse({})
    await scene.world.wait(6.0)
    rehearsal.rehearse({})
    assert any(line.startswith("would make PowerMigration llm/chat-predictor-") for line in said)
    assert scene.migrations() == []


async def test_a_surge_that_its_controller_has_not_seen_yet_is_taken_for_no_rollout(scene: Scene) -> None:
    await scene.open()
    await scene.until("Surging")
    scene.late = 1
    await scene.turns(3)
    assert scene.phase() in ("Surging", "Waiting")
    scene.late = 0
    await scene.until("Succeeded")


def test_what_the_leader_says_of_a_migration_is_its_reservation_alone() -> None:
    """Else it would write a default over what the actuator says of the same migration."""
    said = PowerMigrationStatus(reservation=Reservation(state="Refused"))
    assert set(written(said)) == {"reservation"}


async def test_a_surge_never_lowers_a_bound(scene: Scene) -> None:
    scene.hot = False
    await scene.open("none")
    one = scene.make(scene.on("a1")[0])
    await scene.until("Surging")
    found = scene.migration()
    scene.world.cluster.replace(replace(found, status=replace(found.status, replicas=0)))
    await scene.turns(2)
    assert (one.metadata.name, scene.world.bounds(), scene.least) == ("mine", (3, None), 3)
