"""Mode Kill: pods that are named go first, what stays is evicted, and nothing goes that must not."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from kserve_hooks.service import Rehearsal
from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.pods_scene import pdb, pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.meta import ScaleTargetRef
from wattkeeper.api.power_capping_policy import Mode
from wattkeeper.api.power_recommendation import ViolationType
from wattkeeper.cluster.errors import ForbiddenError, ProtectedError, UnreachableError
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import LWS_NAME_LABEL


@pytest.fixture
async def scene() -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    return made


async def opened(**given: object) -> KillScene:
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open(**given)  # pyright: ignore[reportArgumentType]
    return made


async def test_pods_that_are_named_get_the_lowest_costs_in_their_order(scene: KillScene) -> None:
    scene.set_cost("p3", "-5")
    await scene.violate(scene.violation("Replicas", "p2", "p0"))
    await scene.passes(6)
    assert (scene.cost("p2"), scene.cost("p0"), scene.cost("p1"), scene.cost("p3")) == ("-7", "-6", "", "-5")
    assert scene.said("PodMarked") != []


async def test_a_bound_comes_down_only_once_the_costs_show(scene: KillScene) -> None:
    await scene.violate(scene.violation("Replicas", "p2", "p0"))
    scene.world.cluster.late.stand_still(Pod)
    await scene.passes(6)
    assert scene.world.bounds() == (1, 4)
    scene.world.cluster.late.catch_up()
    await scene.passes(2)
    assert scene.world.bounds() == (1, 2)
    assert scene.world.cluster.written.index("cost") < scene.world.cluster.written.index("fields")


async def test_a_bound_does_not_wait_for_costs_for_ever(scene: KillScene) -> None:
    scene.world.cluster.failing["cost"] = ForbiddenError("pods is forbidden")
    await scene.violate(scene.violation("Replicas", "p2"))
    await scene.passes(14)
    assert scene.world.bounds() == (1, 2)
    assert scene.blocked()[0] == "WriteRefused"


async def test_a_cost_that_a_user_had_comes_back_and_ours_goes(scene: KillScene) -> None:
    scene.set_cost("p2", "7")
    await scene.violate(scene.violation("Budget", "p2", "p0", watts=900.0))
    await scene.passes(6)
    assert (scene.cost("p2"), scene.cost("p0")) == ("-2", "-1")
    await scene.violate(target=4)
    await scene.passes(6)
    assert (scene.cost("p2"), scene.cost("p0")) == ("7", "")
    await scene.passes(30)
    assert scene.note() is None


async def test_a_cost_that_somebody_has_written_over_ours_stays(scene: KillScene) -> None:
    await scene.violate(scene.violation("Replicas", "p2"))
    await scene.passes(6)
    scene.set_cost("p2", "99")
    await scene.passes(6)
    await scene.violate(target=4)
    await scene.passes(40)
    assert scene.cost("p2") == "99"
    assert scene.note() is None


async def test_the_right_pod_that_goes_by_itself_is_the_end_of_it(scene: KillScene) -> None:
    violation = scene.violation("Budget", "p2", watts=900.0)
    await scene.violate(violation)
    await scene.passes(6)
    scene.lose("p2")
    await scene.violate(target=3)
    await scene.passes(2 * LASTS)
    assert scene.there() == ["p0", "p1", "p3"]
    assert (scene.note(), "evict" in scene.world.cluster.written) == (None, False)


@pytest.mark.parametrize("type_", ["Budget", "Replicas", "Slipped", "Performance"])
async def test_a_pod_that_is_still_there_when_its_violation_has_lasted_is_evicted(
    scene: KillScene, type_: ViolationType
) -> None:
    lasts = 300.0 if type_ == "Performance" else LASTS
    await scene.violate(scene.violation(type_, "p2", watts=900.0))
    await scene.passes(lasts - 4)
    assert "p2" in scene.there()
    await scene.passes(8)
    assert scene.there() == ["p0", "p1", "p3"]
    (said,) = scene.said("PodEvicted")
    assert "p2" in said


async def test_the_wrong_pod_that_went_leaves_the_right_one_to_be_evicted(scene: KillScene) -> None:
    violation = scene.violation("Budget", "p2", watts=900.0)
    await scene.violate(violation)
    await scene.passes(6)
    scene.lose("p1")
    await scene.passes(LASTS)
    assert scene.there() == ["p0", "p3"]


async def test_a_pod_of_the_same_name_is_not_touched(scene: KillScene) -> None:
    violation = scene.violation("Slipped", "p2", ago=LASTS)
    scene.lose("p2")
    scene.world.cluster.create(pod("p2", uid="another"))
    await scene.violate(violation, slipped=1)
    await scene.passes(2 * LASTS)
    assert "p2" in scene.there()
    assert "evict" not in scene.world.cluster.written


@pytest.mark.parametrize("mode", ["Off", "Initial", "Scale", "Migrate"])
async def test_in_every_other_mode_nothing_is_marked_or_evicted(mode: Mode) -> None:
    scene = await opened(mode=mode)
    await scene.violate(
        scene.violation("Budget", "p2", watts=900.0, ago=LASTS), scene.violation("Slipped", "p0", ago=LASTS)
    )
    await scene.passes(2 * LASTS)
    assert len(scene.there()) == 4
    assert not {"cost", "evict"} & set(scene.world.cluster.written)


async def test_a_mode_that_was_lowered_counts_before_the_leader_has_seen_it(scene: KillScene) -> None:
    scene.amend(mode="Migrate")
    await scene.violate(scene.violation("Slipped", "p0", ago=LASTS), slipped=1)
    await scene.passes(20)
    assert len(scene.there()) == 4


async def test_pods_that_slipped_go_before_all_others(scene: KillScene) -> None:
    await scene.violate(
        scene.violation("Performance", "p0", ago=1000.0),
        scene.violation("Slipped", "p1", ago=1000.0),
        slipped=1,
    )
    await scene.passes(8)
    assert scene.there() == ["p0", "p2", "p3"]


async def test_a_pod_goes_for_what_it_generates_only_while_that_is_known(scene: KillScene) -> None:
    await scene.violate(scene.violation("Performance", "p0", ago=1000.0, watts=0.0))
    await scene.passes(20)
    assert (len(scene.there()), scene.blocked()) == (4, ("", ""))
    await scene.violate(scene.violation("Performance", "p0", ago=1000.0, watts=90.0))
    await scene.passes(8)
    assert scene.there() == ["p1", "p2", "p3"]


async def test_a_pod_whose_readings_are_lost_before_its_eviction_was_sent_stays(scene: KillScene) -> None:
    await scene.violate(scene.violation("Performance", "p0", ago=1000.0))
    await scene.passes(2)
    note = scene.note()
    assert note is not None
    assert note.evicted is not None
    await scene.violate(scene.violation("Performance", "p0", ago=1000.0, watts=0.0))
    await scene.passes(20)
    assert len(scene.there()) == 4


async def test_pods_that_generate_too_little_go_one_at_a_time(scene: KillScene) -> None:
    await scene.violate(*(scene.violation("Performance", name, ago=1000.0) for name in ("p0", "p1")))
    await scene.passes(8)
    assert scene.there() == ["p1", "p2", "p3"]
    await scene.violate(scene.violation("Performance", "p1", ago=1000.0))
    await scene.passes(300)
    assert scene.there() == ["p1", "p2", "p3"]
    await scene.passes(50)
    assert scene.there() == ["p2", "p3"]


async def test_a_successor_that_generates_too_little_as_well_was_no_help(scene: KillScene) -> None:
    await scene.violate(*(scene.violation("Performance", name, ago=1000.0) for name in ("p0", "p1")))
    await scene.passes(8)
    await scene.violate(*(scene.violation("Performance", name, ago=1000.0) for name in ("p1", "p2")))
    await scene.passes(346)
    note = scene.note()
    assert note is not None
    assert note.without_effect == 1


async def test_one_pod_fewer_that_generates_too_little_is_a_help(scene: KillScene) -> None:
    await scene.violate(*(scene.violation("Performance", name, ago=1000.0) for name in ("p0", "p1", "p2")))
    await scene.passes(8)
    await scene.violate(*(scene.violation("Performance", name, ago=1000.0) for name in ("p1", "p2")))
    await scene.passes(346)
    note = scene.note()
    assert note is not None
    assert (note.without_effect, scene.there()) == (0, ["p2", "p3"])


async def test_a_pod_of_another_service_or_one_that_ends_already_is_left_alone(scene: KillScene) -> None:
    scene.world.cluster.create(pod("other", service="other"))
    scene.world.cluster.create(pod("ending", deleting=True))
    await scene.violate(
        scene.violation("Slipped", "other", "ending", ago=LASTS),
        scene.violation("Budget", "other", "ending", watts=900.0, ago=LASTS),
        slipped=2,
    )
    await scene.passes(2 * LASTS)
    assert {"other", "ending"} <= set(scene.there())
    assert (scene.cost("other"), scene.cost("ending")) == ("", "")


async def test_no_floor_is_undercut(scene: KillScene) -> None:
    scene.floor = 4
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(10)
    assert len(scene.there()) == 4
    reason, message = scene.blocked()
    assert (reason, "floor is 4" in message) == ("FloorReached", True)
    assert len(scene.said("KillRefused")) == 1


async def test_a_disruption_budget_that_forbids_is_named(scene: KillScene) -> None:
    scene.world.cluster.create(pdb(0))
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(10)
    assert len(scene.there()) == 4
    assert scene.blocked()[0] == "Protected"
    (said,) = scene.said("KillRefused")
    assert "PodDisruptionBudget chat" in said


async def test_the_api_server_s_own_word_counts_where_ours_is_late(scene: KillScene) -> None:
    scene.world.cluster.failing["evict"] = ProtectedError("Cannot evict: the disruption budget chat needs 4 pods")
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(12)
    assert scene.blocked() == (
        "Protected",
        "Pod p2 has to go (it slipped past the gate), and stays: Cannot evict: the disruption budget chat needs 4 pods",
    )
    scene.world.cluster.failing.clear()
    await scene.passes(60)
    assert "p2" not in scene.there()
    assert scene.blocked() == ("", "")


async def test_a_busy_api_server_is_left_alone_for_as_long_as_it_asks(scene: KillScene) -> None:
    scene.world.cluster.failing["evict"] = UnreachableError("too many requests", retry_after_seconds=40.0)
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(8)
    scene.world.cluster.failing.clear()
    await scene.passes(30)
    assert "p2" in scene.there()
    assert scene.blocked()[0] == "ApiServerBusy"
    await scene.passes(30)
    assert "p2" not in scene.there()


async def test_nothing_goes_in_mid_rollout(scene: KillScene) -> None:
    scene.world.cluster.create(pod("new", template="t2", ready=False))
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(10)
    assert "p2" in scene.there()
    assert scene.blocked()[0] == "RollingOut"


async def test_nothing_goes_on_old_decisions(scene: KillScene) -> None:
    await scene.violate(scene.violation("Slipped", "p2", ago=0.0), slipped=1)
    for _ in range(60):
        await scene.world.clock.forward(2.0)
        await scene.world.service.leadership.renew()
        await scene.world.service.act()
    assert scene.world.condition("LaterCutsHeld") is not None
    assert "p2" in scene.there()
    await scene.passes(10)
    assert "p2" not in scene.there()


async def test_a_service_s_own_limit_is_kept_and_said() -> None:
    scene = await opened(per_hour=60)
    await scene.violate(scene.violation("Slipped", "p0", "p1", ago=LASTS), slipped=2)
    await scene.passes(LASTS + 4)
    await scene.violate(scene.violation("Slipped", "p1", ago=LASTS), slipped=1)
    await scene.passes(10)
    assert scene.there() == ["p1", "p2", "p3"]
    assert scene.blocked()[0] == "RateLimited"
    await scene.passes(LASTS)
    assert scene.there() == ["p2", "p3"]


async def test_evictions_without_effect_are_given_up_until_the_violation_is_over(scene: KillScene) -> None:
    for number in range(4):
        await scene.violate(scene.violation("Slipped", f"p{number}", ago=LASTS), slipped=9)
        await scene.passes(40)
    assert scene.there() == ["p3"]
    reason, message = scene.blocked()
    assert (reason, message.startswith("3 evictions in a row")) == ("NoEffect", True)
    assert any("3 evictions in a row" in said for said in scene.said("KillRefused"))
    await scene.violate(target=4)
    await scene.passes(4)
    assert scene.blocked() == ("", "")
    await scene.violate(scene.violation("Slipped", "p3", ago=LASTS), slipped=9)
    await scene.passes(10)
    assert scene.there() == []


async def test_evictions_that_help_are_not_counted(scene: KillScene) -> None:
    for number in range(4):
        await scene.violate(scene.violation("Slipped", f"p{number}", ago=LASTS), slipped=9 - number)
        await scene.passes(10)
    assert scene.there() == []


async def test_what_a_pod_that_takes_long_to_end_has_lessened_is_seen(scene: KillScene) -> None:
    cluster = scene.world.cluster

    def begin_to_end(pod: Pod) -> None:
        # Its grace period ends after ten minutes.
        cluster.replace(replace(pod, metadata=replace(pod.metadata, deletion_timestamp="2027-01-15T08:10:00Z")))

    cluster.disruption.end = begin_to_end
    await scene.violate(scene.violation("Budget", "p0", watts=900.0, ago=LASTS))
    await scene.passes(LASTS + 60)
    scene.lose("p0")
    await scene.passes(4)
    note = scene.note()
    assert note is not None
    assert note.without_effect == 0
    await scene.violate(scene.violation("Budget", watts=200.0, ago=LASTS))
    await scene.passes(40)
    assert scene.note() is None


@pytest.mark.parametrize(("watts", "helped"), [(900.0, False), (700.0, False), (500.0, True)])
async def test_watts_that_hardly_fall_are_no_effect(scene: KillScene, watts: float, *, helped: bool) -> None:
    scene.amend(violation=None)
    await scene.violate(scene.violation("Budget", "p0", watts=900.0, ago=LASTS))
    await scene.passes(70)
    assert "p0" not in scene.there()
    await scene.violate(scene.violation("Budget", "p1", watts=watts, ago=LASTS))
    await scene.passes(34)
    note = scene.note()
    assert note is not None
    assert note.without_effect == (0 if helped else 1)


async def test_no_pod_of_a_group_is_marked_or_evicted(scene: KillScene) -> None:
    world = scene.world
    for name in scene.there():
        found = world.get(Pod, name)
        labels = {LWS_NAME_LABEL: "chat-predictor"}
        world.cluster.replace(replace(found, metadata=replace(found.metadata, labels=labels)))
    await scene.violate(
        scene.violation("Budget", "p0", watts=900.0, ago=LASTS), scene.violation("Slipped", "p1", ago=LASTS), slipped=1
    )
    one = world.recommendation()
    reference = ScaleTargetRef(kind="LeaderWorkerSet", name="chat-predictor")
    world.cluster.replace(replace(one, spec=replace(one.spec, scale_target_ref=reference)))
    await scene.passes(2 * LASTS)
    assert len(scene.there()) == 4
    assert not {"cost", "evict"} & set(world.cluster.written)
    assert scene.blocked()[0] == "GroupsGoInOrder"


async def test_a_rehearsal_says_what_would_be_marked(scene: KillScene) -> None:
    await scene.violate(scene.violation("Budget", "p0", watts=900.0, ago=LASTS))
    await scene.passes(2)
    said: list[str] = []
    rehearsal = Rehearsal(
        cluster=scene.world.cluster,
        clock=scene.world.clock,
        options=dataclasses.replace(FAST, holder="rehearsal"),
        scaler_answers=scene.world.answers,
        say=said.append,
    )
    rehearsal.rehearse({})
    assert "would set the deletion cost of pod llm/p0 to -1" in said
