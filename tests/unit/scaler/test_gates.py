"""What leaves the power gate, when, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from scaler.gates import UNKNOWN_SECONDS
from tests.unit.scaler.gate_room import Room
from tests.unit.scaler.gated_pods import group_pod, pod
from tests.unit.scaler.hand_clock import settle
from tests.unit.scaler.results import Row
from tests.unit.scaler.samples import NAMESPACE
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod, SchedulingGate
from wattkeeper.recommender.affinity import required_terms


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.keeper.stop()


def row(openings: int = 0, **more: object) -> Row:
    return replace(Row(gated=True, openings=openings), **more)  # pyright: ignore[reportArgumentType] - Row's own fields.


async def test_a_pod_within_the_openings_goes_as_soon_as_it_comes(room: Room) -> None:
    await room.decide(row(openings=1))
    await room.come(pod("a"))
    assert room.opened == ["a"]


async def test_pods_that_wait_already_go_with_the_decision(room: Room) -> None:
    await room.come(pod("a"), pod("b"))
    assert room.opened == []
    await room.decide(row(openings=2))
    assert room.opened == ["a", "b"]


async def test_never_more_go_than_there_are_openings(room: Room) -> None:
    await room.decide(row(openings=2))
    for number in range(5):
        await room.come(pod(f"p{number}"))
    assert room.opened == ["p0", "p1"]
    assert room.sample("gate_waiting_pods") == 3.0


async def test_the_oldest_goes_first(room: Room) -> None:
    await room.come(
        pod("late", created="2027-01-15T08:00:02Z"),
        pod("early", created="2027-01-15T08:00:00Z"),
        pod("middle", created="2027-01-15T08:00:01Z"),
    )
    await room.decide(row(openings=2))
    assert room.opened == ["early", "middle"]


async def test_the_highest_priority_goes_first() -> None:
    room = Room(concurrency=1)
    room.cluster.blocked = True
    await room.come(pod("low", of="batch", created="2027-01-01T00:00:00Z"), pod("high"), pod("higher"))
    await room.decide(Row(name="batch", gated=True, openings=1, priority=-5), row(openings=2, name="llm", priority=10))
    room.cluster.answer()
    await settle()
    assert room.cluster.asked == ["high", "higher", "low"]
    await room.keeper.stop()


async def test_one_of_higher_priority_overtakes_those_that_no_patch_was_sent_for() -> None:
    room = Room(concurrency=1)
    room.cluster.blocked = True
    await room.come(pod("b1", of="batch"), pod("b2", of="batch"))
    await room.decide(Row(name="batch", gated=True, openings=2), row(openings=1, priority=10))
    await room.come(pod("chat"))
    room.cluster.answer()
    await settle()
    assert room.cluster.asked == ["b1", "chat", "b2"]
    await room.keeper.stop()


async def test_no_more_patches_are_in_flight_than_may_be() -> None:
    room = Room(concurrency=3)
    room.cluster.blocked = True
    await room.come(*(pod(f"p{number}") for number in range(10)))
    await room.decide(row(openings=10))
    assert len(room.cluster.asked) == 3
    room.cluster.answer()
    await settle()
    assert len(room.opened) == 10
    await room.keeper.stop()


async def test_what_goes_while_the_next_decision_is_made_is_taken_off_it(room: Room) -> None:
    await room.decide(row(openings=3))
    room.keeper.mark()
    await room.come(pod("a"), pod("b"))
    await room.take(row(openings=3))
    for number in range(5):
        await room.come(pod(f"p{number}"))
    assert room.opened == ["a", "b", "p0"]


async def test_what_the_view_does_not_show_open_yet_is_told_and_not_counted_twice(room: Room) -> None:
    room.cluster.late_view = True
    await room.decide(row(openings=1))
    await room.come(pod("a"))
    told = room.keeper.mark()
    assert told["a"].scheduling_gates == ()
    await room.take(row(openings=1))
    await room.cluster.catch_up()
    await room.come(pod("b"))
    assert room.opened == ["a", "b"]
    assert room.keeper.mark() == {}


async def test_a_pod_that_others_let_out_takes_an_opening(room: Room) -> None:
    await room.come(pod("a"))
    await room.decide(row(openings=0))
    room.keeper.mark()
    await room.come(pod("a", gated=False))
    await room.take(row(openings=1))
    await room.come(pod("b"))
    assert room.opened == []


async def test_a_pod_that_never_came_to_the_gate_takes_an_opening(room: Room) -> None:
    await room.decide(row(openings=1))
    await room.come(pod("slipped", gated=False, admitted=False), pod("a"))
    assert room.opened == []


async def test_an_opening_that_was_promised_goes_to_the_pod_that_came_out_without_asking() -> None:
    room = Room(concurrency=1)
    room.cluster.blocked = True
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=2))
    await room.come(pod("slipped", gated=False))
    room.cluster.answer()
    await settle()
    assert room.opened == ["a"]
    await room.keeper.stop()


async def test_a_replica_that_lost_its_lease_opens_nothing(room: Room) -> None:
    await room.come(pod("a"))
    await room.decide(row(openings=2))
    room.leads = False
    await room.come(pod("b"))
    room.leads = True
    await room.come(pod("c"))
    assert room.opened == ["a"], "even with the Lease again: a decision of its own comes first"


async def test_the_lease_is_looked_at_before_each_patch() -> None:
    room = Room(concurrency=1)
    room.cluster.blocked = True
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=2))
    room.leads = False
    room.cluster.answer()
    await settle()
    assert room.cluster.asked == ["a"]
    await room.keeper.stop()


async def test_a_decision_whose_readings_are_from_before_the_lease_was_lost_opens_nothing(room: Room) -> None:
    await room.decide(row(openings=1))
    room.keeper.mark()
    room.keeper.forget()
    await room.take(row(openings=1))
    await room.come(pod("a"))
    assert room.opened == []


async def test_an_old_decision_opens_nothing(room: Room) -> None:
    await room.decide(row(openings=2))
    await room.clock.forward(15.1)
    await room.come(pod("a"))
    assert room.opened == []


async def test_nothing_is_opened_before_caches_and_history_are_warm(room: Room) -> None:
    await room.come(pod("a"), pod("stray", of="unknown"))
    await room.clock.forward(60)
    await room.decide(row(openings=1), warm=False)
    assert room.opened == []


@pytest.mark.parametrize("failure", [RefusedError("no"), ConflictError("changed"), ForbiddenError("no")])
async def test_the_opening_of_a_pod_that_is_gated_for_sure_goes_to_the_next(room: Room, failure: ClusterError) -> None:
    room.cluster.failures["a"] = [failure]
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=1))
    assert room.opened == ["b"]
    assert room.sample("gate_failures_total", reason="refused") == 1.0


@pytest.mark.parametrize("failure", [UnreachableError("no answer"), NotFoundError("gone"), RuntimeError("a defect")])
async def test_the_opening_of_a_pod_that_may_be_out_stays_spent(room: Room, failure: Exception) -> None:
    room.cluster.failures["a"] = [failure]
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=1))
    assert room.opened == []
    assert room.cluster.asked == ["a"]


async def test_a_patch_of_unknown_outcome_is_sent_again_with_the_next_decision_at_no_opening(room: Room) -> None:
    room.cluster.failures["a"] = [UnreachableError("no answer")]
    await room.come(pod("a"))
    await room.decide(row(openings=1))
    assert "a" in room.keeper.mark()
    await room.take(row(openings=0))
    assert room.opened == ["a"]


async def test_a_patch_that_went_through_without_an_answer_is_not_sent_again(room: Room) -> None:
    room.cluster.failures["a"] = [UnreachableError("no answer")]
    room.cluster.lost = {"a"}
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=1))
    await room.decide(row(openings=0))
    assert room.cluster.asked == ["a"]


async def test_what_was_told_to_be_out_gives_nothing_back(room: Room) -> None:
    room.cluster.failures["a"] = [UnreachableError("no answer"), RefusedError("no")]
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=1))
    await room.decide(row(openings=0))
    assert room.opened == []


async def test_a_pod_that_was_refused_is_tried_again_when_it_changes(room: Room) -> None:
    room.cluster.failures["a"] = [ConflictError("changed")]
    await room.come(pod("a"))
    await room.decide(row(openings=1))
    assert room.opened == []
    both = pod("a")
    gates = (SchedulingGate(name="a.example/quota"), *both.spec.scheduling_gates)
    await room.come(changed(both, spec=changed(both.spec, scheduling_gates=gates)))
    assert room.opened == ["a"]


async def test_a_group_takes_one_opening_and_its_workers_follow_their_leader(room: Room) -> None:
    big = Row(name="big", kind="LeaderWorkerSet", gated=True, openings=1)
    await room.decide(big)
    await room.come(group_pod(0, 2), group_pod(0, 1))
    assert room.opened == []
    await room.come(group_pod(0, 0), group_pod(1, 0), group_pod(1, 1))
    assert sorted(room.opened) == ["big-0", "big-0-1", "big-0-2"]
    await room.come(group_pod(0, 3))
    assert room.opened[-1] == "big-0-3"
    assert room.sample("gates_opened_total", why="followed") == 3.0
    assert room.waiting(ServiceKey(NAMESPACE, "LeaderWorkerSet", "big")) == []
    await room.decide(replace(big, openings=0))
    assert room.waiting(ServiceKey(NAMESPACE, "LeaderWorkerSet", "big")) == ["big-1"]


async def test_workers_of_a_leader_that_was_out_before_follow_with_the_first_decision(room: Room) -> None:
    await room.come(group_pod(0, 0, gated=False), group_pod(0, 1))
    await room.decide(Row(name="big", kind="LeaderWorkerSet", gated=True))
    assert room.opened == ["big-0-1"]


async def test_workers_of_a_leader_that_is_gone_stay(room: Room) -> None:
    await room.come(group_pod(0, 0, gated=False), group_pod(0, 1))
    room.cluster.view.remove(Pod, NAMESPACE, "big-0")
    await room.decide(Row(name="big", kind="LeaderWorkerSet", gated=True))
    assert room.opened == []


async def test_pods_of_a_service_that_is_no_longer_gated_are_let_out(room: Room) -> None:
    await room.come(pod("a"), pod("b"))
    await room.decide(row(openings=0))
    assert room.opened == []
    await room.decide(Row(gated=False))
    assert room.opened == ["a", "b"]
    assert room.sample("gates_opened_total", why="let-out") == 2.0


async def test_a_pod_that_came_after_the_readings_is_not_let_out_by_their_decision(room: Room) -> None:
    room.keeper.mark()
    await room.come(pod("a"))
    await room.take(Row(gated=False))
    assert room.opened == []
    await room.decide(row(openings=0))
    assert room.opened == []


async def test_pods_of_nothing_that_is_known_are_let_out_once_caches_had_time(room: Room) -> None:
    alone = pod("alone")
    alone = changed(alone, metadata=ObjectMeta(name="alone", namespace="elsewhere", uid="alone"))
    await room.come(alone, pod("stray", of="unselected"))
    await room.decide(row())
    assert room.opened == []
    await room.clock.forward(UNKNOWN_SECONDS)
    await room.decide(row())
    assert sorted(room.opened) == ["alone", "stray"]


async def test_a_pod_that_goes_away_is_forgotten(room: Room) -> None:
    await room.come(pod("a"), pod("b"))
    room.cluster.view.remove(Pod, NAMESPACE, "a")
    await room.decide(row(openings=1))
    assert room.opened == ["b"]


async def test_a_pod_that_is_being_deleted_takes_no_opening(room: Room) -> None:
    gone = pod("a")
    meta = changed(gone.metadata, deletion_timestamp="2027-01-15T08:00:09Z")
    await room.come(changed(gone, metadata=meta), pod("b"))
    await room.decide(row(openings=1))
    assert room.opened == ["b"]


async def test_pods_are_kept_out_of_what_their_service_avoids(room: Room) -> None:
    for name in ("r1", "r2"):
        spec = PowerBudgetSpec(limit_watts=1.0, node_selector=LabelSelector(match_labels={"rack": name}))
        room.cluster.view.put(PowerBudget(metadata=ObjectMeta(name=name), spec=spec))
    await room.decide(row(openings=1, avoided=("r2",)), domains=("r1", "r2"))
    room.cluster.late_view = True
    await room.come(pod("a"))
    (expression,) = required_terms(room.keeper.mark()["a"])[0].match_expressions
    assert (expression.key, expression.operator, expression.values) == ("rack", "NotIn", ("r2",))
    await room.cluster.catch_up()
    assert room.cluster.opened == [("a", (NodeSelectorTerm(match_expressions=(expression,)),))]


async def test_a_pod_that_cannot_be_kept_out_waits_and_leaves_its_opening_to_others(room: Room) -> None:
    spec = PowerBudgetSpec(limit_watts=1.0, node_selector=LabelSelector(match_labels={"rack": "r2"}))
    room.cluster.view.put(PowerBudget(metadata=ObjectMeta(name="r2"), spec=spec))
    await room.come(pod("a", node_selector={"rack": "r2"}), pod("b"))
    await room.decide(row(openings=1, avoided=("r2",)), domains=("r2",))
    assert room.opened == ["b"]
    assert room.waiting() == ["a"]
    assert room.sample("gate_failures_total", reason="unsteerable") == 1.0


async def test_who_goes_with_a_decision_does_not_wait_after_it(room: Room) -> None:
    room.cluster.blocked = True
    await room.come(pod("a"), pod("b"), pod("c"))
    await room.decide(row(openings=1))
    await room.come(pod("d"))
    assert room.waiting() == ["b", "c"], "d came after the readings"


async def test_the_wait_is_measured_from_the_first_sight(room: Room) -> None:
    await room.come(pod("a"))
    await room.clock.forward(7.0)
    await room.decide(row(openings=1))
    assert room.sample("gate_seconds_sum", why="granted") == 7.0
    assert room.sample("gates_opened_total", why="granted") == 1.0


async def test_a_thousand_pods_at_once_cost_a_look_each(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    consider = room.keeper._consider  # pyright: ignore[reportPrivateUsage] - counts work, not results.

    def counted(one: object) -> None:
        nonlocal looks
        looks += 1
        consider(one)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(room.keeper, "_consider", counted)
    await room.decide(row(openings=20))
    await room.come(*(pod(f"p{number:04}") for number in range(1_000)))
    for _ in range(10):
        await settle()
    assert len(room.opened) == 20
    assert looks == 1_000
