"""Whatever goes wrong, a migration is taken back: costs, bounds and finalizer, and no pod is lost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.migrate_scene import Scene
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.errors import RefusedError
from wattkeeper.cluster.objects import Pod


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


async def settled(scene: Scene) -> tuple[str, str]:
    """Returns how the migration ends, and looks that nothing of it is left."""
    scene.hot = False
    for _ in range(400):
        if scene.phase() in ("Failed", "Succeeded"):
            break
        await scene.turns()
    await scene.turns(3)
    assert scene.leaks() == []
    return scene.phase(), scene.reason()


async def test_a_refused_reservation_changes_nothing(scene: Scene) -> None:
    scene.reserves = "Refused"
    await scene.open()
    await scene.turns(3)
    assert await settled(scene) == ("Failed", "ReservationRefused")
    assert (len(scene.on("a1")), scene.replicas()) == (3, 3)


async def test_a_leader_that_says_nothing_is_waited_for_and_not_for_ever(scene: Scene) -> None:
    scene.reserves = ""
    await scene.open()
    await scene.until("Pending")
    await scene.turns(50)
    assert scene.phase() == "Pending"
    assert await settled(scene) == ("Failed", "NotReserved")


@pytest.mark.parametrize("phase", ["Surging", "Waiting"])
@pytest.mark.parametrize("autoscaler", ["external", "none"])
async def test_a_reservation_that_is_withdrawn_rolls_back(scene: Scene, phase: str, autoscaler: str) -> None:
    await scene.open(autoscaler)
    await scene.until(phase)
    scene.reserves = "Refused"
    assert await settled(scene) == ("Failed", "ReservationWithdrawn")
    assert (scene.replicas(), scene.least) == (3, 3)


@pytest.mark.parametrize("phase", ["Surging", "Waiting", "Shrinking"])
async def test_a_rollout_that_begins_rolls_back(scene: Scene, phase: str) -> None:
    await scene.open()
    await scene.until(phase)
    scene.roll()
    assert await settled(scene) == ("Failed", "RolloutBegan")


@pytest.mark.parametrize("phase", ["Pending", "Surging", "Waiting", "Shrinking"])
async def test_a_mode_that_is_lowered_rolls_back(scene: Scene, phase: str) -> None:
    await scene.open("none")
    await scene.until(phase)
    scene.mode = "Scale"
    assert await settled(scene) == ("Failed", "ModeForbids")
    assert scene.replicas() == 3


@pytest.mark.parametrize("phase", ["Surging", "Waiting"])
async def test_a_policy_that_goes_rolls_back(scene: Scene, phase: str) -> None:
    await scene.open("none")
    await scene.until(phase)
    await scene.world.cluster.delete(scene.world.get(PowerCappingPolicy, "capped"))
    assert await settled(scene) == ("Failed", "ModeForbids")
    assert scene.world.bounds() == (3, None)


@pytest.mark.parametrize("phase", ["Pending", "Surging", "Waiting", "Shrinking"])
async def test_a_migration_that_somebody_deletes_is_taken_back_before_it_goes(scene: Scene, phase: str) -> None:
    await scene.open("none")
    await scene.until(phase)
    scene.hot = False
    await scene.world.cluster.delete(scene.migration())
    await scene.turns(20)
    assert (scene.migrations(), scene.leaks(), scene.replicas()) == ([], [], 3)


@pytest.mark.parametrize("phase", ["Pending", "Surging", "Waiting"])
async def test_an_old_pod_that_goes_by_itself_leaves_nothing_to_move(scene: Scene, phase: str) -> None:
    await scene.open()
    await scene.until(phase)
    old = scene.old()
    assert old is not None
    scene.kill_pod(old)
    assert await settled(scene) == ("Succeeded", "PodGone")


async def test_a_phase_that_another_version_wrote_rolls_back(scene: Scene) -> None:
    await scene.open("none")
    await scene.until("Waiting")
    found = scene.migration()
    scene.world.cluster.replace(replace(found, status=replace(found.status, phase="Resting")))
    assert await settled(scene) == ("Failed", "PhaseUnknown")


async def test_a_new_pod_that_dies_rolls_back(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    new = scene.migration().status.new_pod
    assert new is not None
    scene.kill_pod(scene.world.cluster.objects.all(Pod)[new.uid])
    assert await settled(scene) == ("Failed", "NewPodGone")
    assert scene.least == 3


async def test_no_new_pod_within_the_deadline_rolls_back(scene: Scene) -> None:
    await scene.open("none")
    scene.scales = False
    await scene.until("Surging")
    await scene.later(1800.0)
    assert await settled(scene) == ("Failed", "DeadlinePassed")
    assert scene.world.bounds() == (3, None)


async def fallen(scene: Scene) -> None:
    """Demand falls by a pod while the one more is asked for and not there yet."""
    await scene.open()
    scene.scales = False
    await scene.until("Surging")
    scene.scales, scene.demand, scene.hot = True, 2, False


async def test_demand_that_falls_before_there_is_a_new_pod_rolls_back_long_before_the_deadline(scene: Scene) -> None:
    await fallen(scene)
    await scene.turns(80)
    assert (scene.phase(), scene.reason()) == ("Failed", "DemandFell")
    assert (scene.replicas(), scene.leaks()) == (2, [])


async def test_demand_that_falls_for_a_moment_does_not_stop_a_move(scene: Scene) -> None:
    await fallen(scene)
    await scene.turns(40)
    scene.demand = 3
    assert await settled(scene) == ("Succeeded", "Moved")


async def test_demand_that_falls_once_the_new_pod_is_ready_takes_the_old_one(scene: Scene) -> None:
    scene.protect(1)
    await scene.open()
    await scene.until("Waiting")
    scene.protect(0)
    await scene.turns(10)
    scene.demand, scene.hot = 2, False
    await scene.turns(10)
    assert (scene.phase(), scene.reason(), scene.old()) == ("Succeeded", "PodGone", None)
    assert len(scene.on("b1")) == 1


async def stuck(scene: Scene) -> None:
    """The old pod is about to end, and its node does not say that it has."""
    await scene.until("Verifying")
    old = scene.old()
    assert old is not None
    scene.kubelet.running.pop(old.metadata.uid)


async def test_an_old_pod_that_never_comes_to_its_end_keeps_others_waiting_no_longer_than_the_deadline(
    scene: Scene,
) -> None:
    await scene.open()
    await stuck(scene)
    scene.hot = False
    await scene.later(1800.0)
    await scene.turns(20)
    assert (scene.phase(), scene.reason(), scene.migration().metadata.finalizers) == ("Failed", "DeadlinePassed", ())


async def test_a_migration_whose_old_pod_never_comes_to_its_end_can_be_deleted(scene: Scene) -> None:
    await scene.open()
    await stuck(scene)
    scene.hot = False
    await scene.world.cluster.delete(scene.migration())
    await scene.turns(20)
    assert scene.migrations() == []


async def test_another_pod_that_goes_instead_is_not_made_up_for_by_an_eviction(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    scene.scale(3)
    for pod in scene.on("a1"):
        if pod.metadata.uid != scene.migration().spec.pod.uid:
            scene.kill_pod(pod)
            break
    assert await settled(scene) == ("Failed", "AnotherPodWent")
    assert "evict" not in scene.world.cluster.written


async def test_a_pod_disruption_budget_that_forbids_late_keeps_the_old_pod(scene: Scene) -> None:
    scene.protect(1)
    await scene.open()
    await scene.until("Waiting")
    scene.protect(0)
    await scene.turns(10)
    assert scene.phase() == "Waiting"
    assert "PodDisruptionBudget chat allows no disruption" in scene.migration().status.message
    await scene.later(1800.0)
    assert await settled(scene) == ("Failed", "DeadlinePassed")


async def test_a_deletion_cost_that_shows_late_is_taken_back_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.open()
    await scene.until("Waiting")
    cost = scene.world.cluster.set_deletion_cost

    async def lost(pod: Pod, value: int | None) -> None:
        scene.world.cluster.late.stand_still(Pod)
        await cost(pod, value)

    with monkeypatch.context() as patch:
        patch.setattr(scene.world.cluster, "set_deletion_cost", lost)
        while not scene.costs():
            await scene.turns()
    scene.mode = "Scale"
    await scene.turns(6)
    assert scene.phase() == "RollingBack"
    scene.world.cluster.late.catch_up()
    assert await settled(scene) == ("Failed", "ModeForbids")


async def test_a_deletion_cost_of_the_user_s_own_comes_back(scene: Scene) -> None:
    await scene.open()
    await scene.until("Surging")
    old = scene.old()
    assert old is not None
    annotations = {**old.metadata.annotations, DELETION_COST: "7"}
    scene.world.cluster.replace(replace(old, metadata=replace(old.metadata, annotations=annotations)))
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    scene.mode = "Scale"
    scene.hot = False
    await scene.turns(5)
    assert (scene.phase(), scene.costs()) == ("Failed", ["7"])


@pytest.mark.parametrize("phase", ["Pending", "Surging", "Waiting", "Shrinking", "Verifying"])
async def test_putting_everything_back_takes_a_migration_back_too(scene: Scene, phase: str) -> None:
    await scene.open("none")
    await scene.until(phase)
    scene.hot = False
    job = scene.world.replica(dataclasses.replace(OPTIONS, holder="restore"))
    restoring = asyncio.create_task(job.restore())
    await restored(scene, restoring.done)
    await restoring
    assert (scene.phase(), scene.leaks(), scene.world.bounds()) == ("Failed", [], (3, None))


async def restored(scene: Scene, done: Callable[[], bool]) -> None:
    for _ in range(60):
        if done():
            return
        await scene.world.clock.forward(2.0)
        scene.autoscale()
        scene.run()


async def unready(scene: Scene) -> None:
    """Lets a pod that does not move be ill."""
    status = scene.migration().status
    moving = {scene.migration().spec.pod.uid, "" if status.new_pod is None else status.new_pod.uid}
    ill = next(pod for pod in scene.pods() if pod.metadata.uid not in moving)
    scene.world.cluster.replace(replace(ill, status=replace(ill.status, conditions=())))


async def test_the_old_pod_stays_while_another_one_is_ill(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    await unready(scene)
    await scene.turns(20)
    assert (scene.phase(), scene.costs()) == ("Waiting", [])


async def test_the_old_pod_is_not_evicted_while_another_one_is_ill(scene: Scene) -> None:
    await scene.open()
    await scene.until("Waiting")
    scene.scales = False
    await scene.until("Shrinking")
    await unready(scene)
    await scene.turns(200)
    assert (scene.phase(), "evict" in scene.world.cluster.written) == ("Shrinking", False)


async def test_a_migration_has_not_succeeded_before_bounds_are_back(scene: Scene) -> None:
    await scene.open("none")
    await scene.until("Shrinking")
    scene.world.cluster.failing["fields"] = RefusedError("not now")
    await scene.turns(230)
    assert (scene.phase(), scene.world.bounds()) == ("Verifying", (4, None))
    scene.world.cluster.failing.clear()
    assert await settled(scene) == ("Succeeded", "Moved")


async def test_a_migration_is_not_rolled_back_before_bounds_are(scene: Scene) -> None:
    await scene.open("none")
    await scene.until("Waiting")
    scene.reserves = "Refused"
    scene.world.cluster.failing["fields"] = RefusedError("not now")
    await scene.turns(20)
    assert (scene.phase(), scene.world.bounds()) == ("RollingBack", (4, None))
    scene.world.cluster.failing.clear()
    await scene.turns(30)
    assert await settled(scene) == ("Failed", "ReservationWithdrawn")


async def test_the_lowest_cost_of_all_that_is_the_user_s_own_is_left_alone(scene: Scene) -> None:
    await scene.open()
    await scene.until("Surging")
    old = scene.old()
    assert old is not None
    annotations = {**old.metadata.annotations, DELETION_COST: str(-(2**31))}
    scene.world.cluster.replace(replace(old, metadata=replace(old.metadata, annotations=annotations)))
    await scene.until("Waiting")
    scene.scales = False
    scene.mode = "Scale"
    scene.hot = False
    await scene.turns(5)
    assert (scene.phase(), scene.costs()) == ("Failed", [str(-(2**31))])
