"""What recommendations and events say about pods at the power gate."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from scaler.gate_news import MOST_TOLD
from scaler.gates import MOST_NAMED, Queue
from scaler.metrics import ScalerMetrics
from scaler.publish import Publisher
from tests.unit.scaler.gated_pods import pod
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import Row, decision
from tests.unit.scaler.samples import NAMESPACE, NOW, budget, deployment, policy, scaled_object
from wattkeeper.api.conditions import holds, message_of
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus, WaitingPod
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.result import StepResult

LLM = ServiceKey(NAMESPACE, "Deployment", "llm")
SINCE = "2027-01-15T08:00:00Z"


def row(*, missing: float = 70.0, **more: object) -> Row:
    return Row(gated=True, waiting=1, gate_budget="hall", gate_watts=missing, **more)  # pyright: ignore[reportArgumentType] - Row's own fields.


class Room:
    """A publisher, and who waits."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.view.put(policy(), budget(evaluated=None), deployment(), scaled_object())
        self.publisher = Publisher(
            self.cluster, ScalerMetrics(CollectorRegistry()), lambda: True, concurrency=4, refresh_seconds=1e9
        )
        self.waiting: list[Pod] = []

    def come(self, *names: str) -> None:
        self.waiting += [pod(name) for name in names]
        self.cluster.view.put(*self.waiting)

    def leave(self) -> None:
        for one in self.waiting:
            self.cluster.view.put(pod(one.metadata.name, gated=False))
        self.waiting.clear()

    async def publish(self, result: StepResult) -> int:
        """Returns how often the recommendation was written."""
        self.cluster.written.clear()
        self.cluster.events.clear()
        pods = tuple(self.waiting)
        queues = {LLM: Queue(pods=pods[:MOST_NAMED], count=len(pods))} if pods else {}
        await self.publisher.publish(result, queues)
        return self.cluster.written.count(("status", f"{NAMESPACE}/deployment-llm"))

    @property
    def status(self) -> PowerRecommendationStatus:
        found = self.cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
        assert found is not None
        return found.status

    @property
    def told(self) -> list[tuple[str, str]]:
        gate = ("WaitingForWatts", "AdmittedUngated", "RolloutBlocked")
        return [(one.reason, one.regarding.metadata.name) for one in self.cluster.events if one.reason in gate]


@pytest.fixture
def room() -> Room:
    return Room()


async def test_pods_that_wait_are_named_with_the_budget_the_watts_and_since_when(room: Room) -> None:
    room.come("a", "b")
    await room.publish(decision(row()))
    assert room.status.waiting_pods == (
        WaitingPod(name="a", since=SINCE, budget="hall", missing_watts=70.0),
        WaitingPod(name="b", since=SINCE, budget="hall", missing_watts=70.0),
    )
    assert holds(room.status.conditions, "PodsWaiting")
    message = message_of(room.status.conditions, "PodsWaiting")
    assert message == f"2 pods wait for watts since {SINCE}. PowerBudget hall lacks 70 W for the next replica."


async def test_ten_are_named_and_all_are_counted(room: Room) -> None:
    room.come(*(f"p{number:02}" for number in range(25)))
    await room.publish(decision(row()))
    assert [one.name for one in room.status.waiting_pods] == [f"p{number:02}" for number in range(10)]
    assert message_of(room.status.conditions, "PodsWaiting").startswith("25 pods wait")


async def test_a_pod_beyond_the_grant_says_so(room: Room) -> None:
    room.come("a")
    await room.publish(decision(Row(gated=True, waiting=1, grant=3)))
    assert message_of(room.status.conditions, "PodsWaiting").endswith(
        "All 3 replicas that are granted are out of the gate."
    )


async def test_nobody_waits_once_all_have_left(room: Room) -> None:
    room.come("a")
    await room.publish(decision(row()))
    room.leave()
    assert await room.publish(decision(Row(gated=True), now=NOW + 5)) == 1
    assert room.status.waiting_pods == ()
    assert not holds(room.status.conditions, "PodsWaiting")


async def test_a_service_whose_pods_do_not_wait_says_nothing_of_gates(room: Room) -> None:
    await room.publish(decision(Row()))
    assert {one.type for one in room.status.conditions}.isdisjoint({"PodsWaiting", "RolloutBlocked", "PodsSlipped"})


async def test_the_same_wait_is_written_once(room: Room) -> None:
    room.come("a")
    assert await room.publish(decision(row(rollout_blocked=True))) == 1
    assert await room.publish(decision(row(rollout_blocked=True), now=NOW + 5)) == 0


async def test_missing_watts_and_replica_watts_that_drift_are_not_written_and_a_tenth_is(room: Room) -> None:
    room.come("a")
    await room.publish(decision(row(missing=1_000.0, rollout_blocked=True)))
    drifted = row(missing=1_060.0, rollout_blocked=True, replica_watts=510.0)
    assert await room.publish(decision(drifted, now=NOW + 5)) == 0
    moved = row(missing=1_200.0, rollout_blocked=True, replica_watts=510.0)
    assert await room.publish(decision(moved, now=NOW + 10)) == 1
    assert room.status.waiting_pods[0].missing_watts == 1_200.0
    assert "1200 W" in message_of(room.status.conditions, "RolloutBlocked")


async def test_what_one_replica_may_draw_is_said_in_whole_watts(room: Room) -> None:
    await room.publish(decision(Row(replica_watts=512.4)))
    assert room.status.replica_watts == 512.0


async def test_a_blocked_rollout_says_budget_watts_since_when_and_what_to_do(room: Room) -> None:
    room.come("a")
    await room.publish(decision(row()))
    await room.publish(decision(row(rollout_blocked=True), now=NOW + 5))
    message = message_of(room.status.conditions, "RolloutBlocked")
    (since,) = [one.last_transition_time for one in room.status.conditions if one.type == "RolloutBlocked"]
    assert f"since {since}, and PowerBudget hall lacks 70 W for it. Raise its limit" in message
    assert room.told == [("RolloutBlocked", "deployment-llm")]


async def test_a_rollout_that_stale_readings_block_says_so(room: Room) -> None:
    await room.publish(decision(Row(gated=True, rollout_blocked=True, stale=True)))
    assert "readings are too old" in message_of(room.status.conditions, "RolloutBlocked")


async def test_slipped_pods_are_counted(room: Room) -> None:
    await room.publish(decision(Row(gated=True)))
    assert await room.publish(decision(Row(gated=True, slipped=2), now=NOW + 5)) == 1
    assert room.status.slipped_pods == 2
    assert message_of(room.status.conditions, "PodsSlipped").startswith("2 pods started")
    await room.publish(decision(Row(gated=True), now=NOW + 10))
    assert not holds(room.status.conditions, "PodsSlipped")


async def test_a_pod_that_waits_is_told_once_and_again_for_another_budget(room: Room) -> None:
    room.come("a")
    await room.publish(decision(row()))
    assert room.told == [("WaitingForWatts", "a")]
    assert "PowerBudget hall lacks 70 W" in room.cluster.events[-1].note
    await room.publish(decision(row(), now=NOW + 5))
    assert room.told == []
    await room.publish(decision(Row(gated=True, waiting=1), now=NOW + 10))
    assert room.told == [("WaitingForWatts", "a")]


async def test_a_pod_that_slipped_past_is_told_once(room: Room) -> None:
    room.cluster.view.put(pod("a", gated=False, admitted=False), pod("b", gated=False), pod("c", admitted=False))
    await room.publish(decision(Row(gated=True, slipped=1)))
    assert room.told == [("AdmittedUngated", "a")]
    await room.publish(decision(Row(gated=True, slipped=1), now=NOW + 5))
    assert room.told == []


async def test_pods_of_services_that_are_not_gated_slip_past_nothing(room: Room) -> None:
    room.cluster.view.put(pod("a", gated=False, admitted=False))
    await room.publish(decision(Row()))
    assert room.told == []


async def test_a_few_are_told_with_each_decision_until_all_are(room: Room) -> None:
    room.cluster.view.put(*(pod(f"p{number}", gated=False, admitted=False) for number in range(12)))
    told: list[str] = []
    for tick in range(4):
        await room.publish(decision(Row(gated=True, slipped=12), now=NOW + tick))
        assert len(room.told) <= MOST_TOLD
        told += [name for _, name in room.told]
    assert sorted(told) == sorted(f"p{number}" for number in range(12))


async def test_nothing_is_told_before_caches_and_history_are_warm(room: Room) -> None:
    room.come("a")
    await room.publish(decision(row(), warm=False))
    assert room.told == []
