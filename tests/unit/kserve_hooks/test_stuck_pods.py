"""Pods that were made to go and do not come to their end: people are told, and nothing waits for them."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.test_replacing import BLOCKED, Rollout
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.instants import format_instant

GRACE = 30.0
MARGIN = 60.0


@pytest.fixture
async def scene() -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    made.hang(GRACE)
    return made


async def name(scene: KillScene, *names: str) -> None:
    await scene.violate(scene.violation("Slipped", *names, ago=LASTS), slipped=len(names))


async def test_a_pod_that_does_not_end_holds_up_no_other(scene: KillScene) -> None:
    await name(scene, "p2", "p0")
    await scene.passes(GRACE + MARGIN)
    assert scene.ending() == ["p2"]
    await scene.passes(10)
    assert scene.ending() == ["p0", "p2"]


async def test_it_is_named_with_its_node_and_what_to_do_once_its_time_is_over(scene: KillScene) -> None:
    await name(scene, "p2")
    await scene.passes(GRACE + MARGIN)
    assert scene.blocked() == ("", "")
    await scene.passes(8)
    reason, message = scene.blocked()
    assert (reason, "pod p2 on node n1" in message) == ("StillTerminating", True)
    assert "kubectl delete pod p2 --namespace llm --grace-period=0 --force" in message
    assert scene.said("KillRefused") == [message]
    assert scene.world.registry.get_sample_value("wattkeeper_actuator_kill_blocked_services") == 1.0


async def test_a_long_grace_period_is_waited_for(scene: KillScene) -> None:
    scene.hang(600.0)
    await name(scene, "p2", "p0")
    await scene.passes(500)
    assert (scene.ending(), scene.blocked()) == (["p2"], ("", ""))


async def test_once_it_is_gone_nothing_is_said_of_it_any_more(scene: KillScene) -> None:
    await name(scene, "p2")
    await scene.passes(GRACE + MARGIN + 10)
    scene.lose("p2")
    await scene.passes(4)
    assert scene.blocked() == ("", "")


async def test_pods_that_end_without_an_eviction_are_told_of_as_well(scene: KillScene) -> None:
    for number in range(5):
        scene.world.cluster.create(pod(f"old{number}", deleting=True))
    await name(scene, "p2")
    await scene.passes(MARGIN + 10)
    message = scene.blocked()[1]
    assert "pod old0 on node n1, pod old1 on node n1, pod old2 on node n1 and 2 more" in message


async def test_after_three_that_do_not_end_no_more_are_evicted(scene: KillScene) -> None:
    await name(scene, "p0", "p1", "p2", "p3")
    await scene.passes(600)
    assert scene.ending() == ["p0", "p1", "p2"]
    reason, message = scene.blocked()
    assert (reason, "3 evictions in a row" in message, "pod p0 on node n1" in message) == ("NoEffect", True, True)


async def test_what_else_keeps_a_pod_is_said_beside_it(scene: KillScene) -> None:
    await name(scene, "p2", "p0")
    scene.floor = 3
    await name(scene, "p2", "p0")
    await scene.passes(GRACE + MARGIN + 20)
    reason, message = scene.blocked()
    assert scene.ending() == ["p2"]
    assert (reason, "pod p2 on node n1" in message, "floor is 3" in message) == ("StillTerminating", True, True)


async def test_the_next_leader_does_not_wait_for_it_either(scene: KillScene) -> None:
    world = scene.world
    await name(scene, "p2", "p0")
    await scene.passes(20)
    await world.service.leadership.release()
    other = world.replica(dataclasses.replace(FAST, holder="actuator-1"))
    await other.leadership.renew()
    for _ in range(50):
        await world.wait(2.0)
        await other.leadership.renew()
        await other.act()
    assert scene.ending() == ["p0", "p2"]
    assert world.cluster.written.count("evict") == 2


async def test_a_pod_of_a_former_template_that_does_not_end_is_no_rollout(scene: KillScene) -> None:
    scene.world.cluster.create(pod("old", template="t0", deleting=True))
    await name(scene, "p2")
    await scene.passes(MARGIN - 30)
    assert (scene.ending(), scene.blocked()[0]) == (["old"], "RollingOut")
    await scene.passes(40)
    assert scene.ending() == ["old", "p2"]


async def replacing() -> Rollout:
    world = World(FAST)
    await world.start()
    made = Rollout(world)
    await made.open(mode="Kill")
    made.hang(GRACE)
    await made.begin()
    return made


async def test_an_old_pod_that_does_not_end_for_a_rollout_is_told_of_and_no_other_follows() -> None:
    rollout = await replacing()
    await rollout.passes(GRACE + MARGIN + 20)
    assert rollout.ending() == ["p0"]
    reason, message = rollout.blocked("ReplaceBlocked")
    assert (reason, "pod p0 on node n1" in message) == ("StillTerminating", True)
    assert rollout.said("ReplaceRefused") == [message]


async def test_a_rollout_goes_on_past_a_pod_that_does_not_end() -> None:
    rollout = await replacing()
    await rollout.passes(GRACE + MARGIN + 20)
    rollout.opened("new")
    rollout.waits("new2", "t2", 50)
    await rollout.passes(100)
    assert rollout.ending() == ["p0", "p1"]


async def test_what_has_to_go_waits_for_no_pod_that_ends_for_a_rollout() -> None:
    rollout = await replacing()
    await rollout.passes(10)
    assert rollout.ending() == ["p0"]
    rollout.lose("new")  # The rollout is taken back; what was to end for it does not.
    violation = rollout.violation("Slipped", "p3", ago=LASTS)
    await rollout.violate(violation, slipped=1, target=4, conditions=(BLOCKED,))
    await rollout.passes(GRACE + MARGIN)
    assert rollout.ending() == ["p0", "p3"]
    note = rollout.note()
    assert note is not None
    assert note.without_effect == 0


async def test_a_service_of_which_nothing_has_to_go_any_more_is_told_nothing(scene: KillScene) -> None:
    end = format_instant(scene.world.clock.now() - 1000.0)
    made = pod("old", deleting=True)
    scene.world.cluster.create(replace(made, metadata=replace(made.metadata, deletion_timestamp=end)))
    await scene.violate(scene.violation("Replicas", "p2"))
    await scene.passes(6)
    assert scene.blocked()[0] == "StillTerminating"
    await scene.violate(target=4)
    await scene.passes(2)
    assert scene.note() is not None  # The cost is only put back.
    assert scene.blocked() == ("", "")
