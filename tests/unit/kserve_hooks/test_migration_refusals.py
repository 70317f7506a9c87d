"""No migration begins where anything speaks against it, and the recommendation says what."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kserve_hooks.disruptions import Disruptions, Refusal
from tests.unit.kserve_hooks.migrate_scene import Scene
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.meta import ScaleTargetRef
from wattkeeper.api.power_capping_policy import Disruption, Mode, PowerCappingPolicy
from wattkeeper.api.power_migration import PowerMigrationStatus


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def refused(scene: Scene) -> str:
    found = scene.world.condition("MigrationRefused")
    return "" if found is None else found.reason


@pytest.mark.parametrize("mode", ["Off", "Initial", "Scale"])
async def test_modes_below_migrate_move_nothing(scene: Scene, mode: Mode) -> None:
    await scene.open(mode=mode)
    await scene.turns(10)
    assert (scene.migrations(), refused(scene)) == ([], "")


async def test_a_mode_that_was_lowered_counts_before_the_leader_has_seen_it(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    policy = scene.world.get(PowerCappingPolicy, "capped")
    scene.world.cluster.replace(replace(policy, spec=replace(policy.spec, mode="Scale")))
    scene.hot = True
    await scene.turns(10)
    assert scene.migrations() == []


async def test_a_pod_disruption_budget_that_allows_nothing_keeps_a_pod_where_it_is(scene: Scene) -> None:
    scene.protect(0)
    await scene.open()
    await scene.turns(3)
    assert (scene.migrations(), refused(scene)) == ([], "Protected")
    (event,) = [seen for seen in scene.world.cluster.events if seen.record.reason == "MigrationRefused"]
    assert "PodDisruptionBudget chat allows no disruption" in event.record.note
    scene.protect(1)
    await scene.turns(2)
    assert (len(scene.migrations()), refused(scene)) == (1, "")


async def test_a_budget_over_its_limit_sheds_before_anything_moves(scene: Scene) -> None:
    await scene.open()
    scene.over = True
    await scene.turns(3)
    assert (scene.migrations(), refused(scene)) == ([], "BudgetExceeded")


async def ask_scaler(scene: Scene, answers: bool) -> None:
    """Asks the scaler for long enough to believe it."""
    scene.world.scaler_answers = answers
    for _ in range(8):
        await scene.world.service.ask_scaler()
        await scene.turns()


async def test_nothing_that_asks_the_scaler_moves_while_that_is_unreachable(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    await ask_scaler(scene, answers=False)
    scene.hot = True
    await scene.turns(3)
    assert (scene.migrations(), refused(scene)) == ([], "ScalerUnreachable")
    await ask_scaler(scene, answers=True)
    assert len(scene.migrations()) == 1


async def test_nothing_moves_in_the_middle_of_a_rollout(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    scene.hot = True
    scene.roll()
    await scene.turns(1)
    assert (scene.migrations(), refused(scene)) == ([], "RollingOut")


async def test_nothing_moves_while_a_pod_is_not_ready(scene: Scene) -> None:
    await scene.open()
    scene.demand = 4
    scene.world.cluster.objects.update(replace(scene.pods()[0], status=replace(scene.pods()[0].status, conditions=())))
    await scene.turns(1)
    assert (scene.migrations(), refused(scene)) == ([], "PodsNotReady")


@pytest.mark.parametrize(
    ("autoscaler", "raises", "bounds", "reason"),
    [
        ("hpa", False, {"maxReplicas": 8}, "RaisingForbidden"),
        ("keda", False, {"maxReplicas": 8}, "RaisingForbidden"),
        ("none", False, {}, "RaisingForbidden"),
        ("hpa", True, {"minReplicas": 3, "maxReplicas": 3}, "MaximumReached"),
    ],
)
async def test_without_a_lever_nothing_moves(
    scene: Scene, autoscaler: str, raises: bool, bounds: dict[str, Any], reason: str
) -> None:
    await scene.open(autoscaler, raises=raises, **bounds)
    await scene.turns(3)
    assert (scene.migrations(), refused(scene)) == ([], reason)


async def test_after_a_migration_none_follows_for_five_minutes(scene: Scene) -> None:
    await scene.open()
    await scene.until("Succeeded")
    await scene.turns(140)
    assert (len(scene.migrations()), refused(scene)) == (1, "CoolingDown")
    await scene.turns(20)
    assert len(scene.migrations()) == 2


async def test_a_migration_that_nobody_could_begin_keeps_no_other_service_from_moving(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    made = scene.make(scene.pods()[0])
    nobody_s = replace(made.spec, scale_target_ref=ScaleTargetRef(kind="Deployment", name="nobody-s"))
    scene.world.cluster.replace(replace(made, spec=nobody_s))
    await scene.turns(2)
    assert (scene.phase(), scene.reason()) == ("Failed", "ModeForbids")
    scene.hot = True
    await scene.turns(2)
    assert len(scene.migrations()) == 2


async def test_a_migration_waits_where_the_api_server_has_just_failed_to_evict_a_pod_of_its_service(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.hot = False
    await scene.open()

    def fails(*_: object, **__: object) -> Refusal:
        return Refusal(reason="EvictionFailed", message="failed calling webhook (HTTP 500)")

    with monkeypatch.context() as failing:
        failing.setattr(Disruptions, "forbids", fails)
        scene.make(scene.pods()[0])
        await scene.turns(4)
        assert scene.phase() == ""
    await scene.until("Surging")


async def test_a_migration_that_limits_hold_back_takes_up_its_place_no_longer_than_its_deadline(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    policy = scene.world.get(PowerCappingPolicy, "capped")
    none = replace(policy.spec, disruption=Disruption(max_per_hour=0))
    scene.world.cluster.replace(replace(policy, spec=none))
    scene.make(scene.pods()[0])
    await scene.turns(10)
    assert scene.phase() == ""
    await scene.later(1800.0)
    await scene.turns(10)
    assert (scene.phase(), scene.reason()) == ("Failed", "RateLimited")


async def test_each_failure_in_a_row_doubles_the_pause(scene: Scene) -> None:
    scene.reserves = "Refused"
    await scene.open()
    counts: list[int] = []
    for _ in range(4):
        await scene.world.wait(310.0)
        await scene.turns(8)
        counts.append(len(scene.migrations()))
    assert counts == [1, 2, 2, 3]
    first, *_ = scene.migrations()
    assert [one.metadata.name.removeprefix(first.metadata.name) for one in scene.migrations()] == ["", "-2", "-3"]


async def test_nothing_begins_on_old_decisions(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    scene.hot = True
    await scene.decide()
    await scene.world.clock.forward(20.0)
    await scene.world.service.leadership.renew()
    await scene.world.service.act()
    assert scene.migrations() == []


async def test_a_person_s_migration_of_a_pod_that_is_not_there_fails_and_says_so(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    pod = scene.on("a1")[0]
    scene.make(replace(pod, metadata=replace(pod.metadata, uid="another")))
    await scene.turns(2)
    assert (scene.phase(), scene.reason(), scene.leaks()) == ("Failed", "PodGone", [])


async def test_a_person_s_migration_in_a_mode_that_moves_nothing_fails(scene: Scene) -> None:
    await scene.open(mode="Scale")
    scene.make(scene.on("a1")[0])
    await scene.turns(2)
    assert (scene.phase(), scene.reason(), scene.leaks()) == ("Failed", "ModeForbids", [])


async def test_a_person_s_migration_from_an_unknown_budget_fails(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    scene.make(scene.on("a1")[0], budget="rack-z")
    await scene.turns(2)
    assert (scene.phase(), scene.reason()) == ("Failed", "BudgetUnknown")


async def test_one_pod_at_a_time_leaves_the_nodes_of_a_budget(scene: Scene) -> None:
    scene.hot = False
    await scene.open()
    other = scene.make(scene.on("a1")[0])
    target = ScaleTargetRef(kind="Deployment", name="other")
    status = PowerMigrationStatus(phase="Verifying")
    scene.world.cluster.replace(replace(other, spec=replace(other.spec, scale_target_ref=target), status=status))
    scene.hot = True
    await scene.turns(1)
    assert (len(scene.migrations()), refused(scene)) == (1, "OthersMove")


@pytest.mark.parametrize("count", [3, 4])
async def test_no_more_migrations_run_at_once_than_the_setting_says(scene: Scene, count: int) -> None:
    scene.hot = False
    await scene.open()
    for number in range(count):
        other = scene.make(scene.on("a1")[0], name=f"other-{number}", budget=f"row-{number}")
        target = ScaleTargetRef(kind="Deployment", name=f"other-{number}")
        status = PowerMigrationStatus(phase="Verifying")
        scene.world.cluster.replace(replace(other, spec=replace(other.spec, scale_target_ref=target), status=status))
    scene.hot = True
    await scene.turns(1)
    assert len(scene.migrations()) == (4 if count == 3 else count)
