import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from scaler.metrics import ScalerMetrics
from scaler.service import RecommenderService, ServiceOptions
from tests.unit.scaler.gated_pods import pod
from tests.unit.scaler.hand_clock import HandClock, settle
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import Row, decision, no_measurements
from tests.unit.scaler.samples import NAMESPACE, NOW, budget, deployment, policy, scaled_object
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import Measurements, Readings
from wattkeeper.cluster.errors import StateCorruptError, UnreachableError
from wattkeeper.cluster.objects import PodSpec
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.recommender.errors import StateUnreadableError
from wattkeeper.recommender.result import StepResult


class Decider:
    """Decides what it is told, and fails where it is told to."""

    def __init__(self) -> None:
        self.result = decision(Row())
        self.steps = 0
        self.restored: bytes | None = None
        self.broken = False

    def step(self, readings: Readings, now: float) -> StepResult:
        self.steps += 1
        if self.broken:
            raise RuntimeError("a defect")
        return replace(self.result, now=now)

    def dump(self) -> bytes:
        return b"learned"

    def restore(self, state: bytes) -> None:
        if state == b"damaged":
            raise StateUnreadableError("cannot be read")
        self.restored = state


class Reader:
    async def read(self, request: ReadRequest, now: float) -> Measurements:
        return no_measurements()


class Collector:
    def __init__(self) -> None:
        self.opened: Mapping[str, PodSpec] = {}

    def request(self) -> ReadRequest:
        return ReadRequest()

    def collect(self, measurements: Measurements, now: float, opened: Mapping[str, PodSpec]) -> Readings:
        self.opened = opened
        return cast("Readings", object())  # The decider above looks at none.


class Replica:
    """One replica of the service; replicas of a test share a cluster."""

    def __init__(self, cluster: MemoryCluster, clock: HandClock, name: str = "one") -> None:
        self.registry = CollectorRegistry()
        self.deciders: list[Decider] = []
        self.collector = Collector()
        self.row = Row()
        self.service = RecommenderService(
            cluster=cluster,
            reader=Reader(),
            collector=self.collector,
            new_decider=self._new_decider,
            clock=clock,
            metrics=ScalerMetrics(self.registry),
            options=ServiceOptions(namespace="wattkeeper", holder=name),
        )

    async def lead(self) -> None:
        await self.service.leadership.renew()

    def ticks(self, outcome: str) -> float:
        return self.registry.get_sample_value("wattkeeper_ticks_total", {"outcome": outcome}) or 0.0

    def _new_decider(self) -> Decider:
        self.deciders.append(Decider())
        self.deciders[-1].result = decision(self.row)
        return self.deciders[-1]


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.view.put(policy(), budget(evaluated=None), deployment(), scaled_object())
    return cluster


async def test_only_the_leader_decides_and_publishes(cluster: MemoryCluster, clock: HandClock) -> None:
    leader, follower = Replica(cluster, clock, "one"), Replica(cluster, clock, "two")
    await leader.lead()
    await follower.lead()
    assert await leader.service.tick() is not None
    written = list(cluster.written)
    assert await follower.service.tick() is None
    assert cluster.written == written
    assert follower.deciders == []
    assert cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm") is not None


async def test_a_leader_that_cannot_renew_stops_before_another_can_take_over(
    cluster: MemoryCluster, clock: HandClock
) -> None:
    replica = Replica(cluster, clock)
    await replica.lead()
    cluster.failing = {("lease", "*")}
    await clock.forward(11.9)
    await replica.lead()
    assert await replica.service.tick() is not None
    await clock.forward(0.2)
    assert await replica.service.tick() is None


async def test_each_term_starts_with_a_fresh_decider(cluster: MemoryCluster, clock: HandClock) -> None:
    replica = Replica(cluster, clock)
    await replica.lead()
    await replica.service.tick()
    await clock.forward(60)
    await replica.lead()
    await replica.service.tick()
    assert [one.steps for one in replica.deciders] == [1, 1]


async def test_what_was_learned_is_taken_up_at_the_start(cluster: MemoryCluster, clock: HandClock) -> None:
    cluster.states["wattkeeper-model"] = b"earlier"
    replica = Replica(cluster, clock)
    await replica.lead()
    await replica.service.tick()
    assert replica.deciders[-1].restored == b"earlier"


@pytest.mark.parametrize("state", [b"damaged", StateCorruptError("checksum")])
async def test_state_that_cannot_be_read_means_priors_and_an_event(
    cluster: MemoryCluster, clock: HandClock, state: bytes | StateCorruptError
) -> None:
    cluster.states["wattkeeper-model"] = state
    replica = Replica(cluster, clock)
    await replica.lead()
    assert await replica.service.tick() is not None
    assert replica.deciders[-1].restored is None
    assert "StateUnreadable" in [event.reason for event in cluster.events]


async def test_state_that_cannot_be_reached_is_not_given_up(cluster: MemoryCluster, clock: HandClock) -> None:
    cluster.states["wattkeeper-model"] = UnreachableError("no answer")
    replica = Replica(cluster, clock)
    await replica.lead()
    assert await replica.service.tick() is None
    cluster.states["wattkeeper-model"] = b"earlier"
    assert await replica.service.tick() is not None
    assert replica.deciders[-1].restored == b"earlier"


async def test_state_that_cannot_be_reached_is_no_defect_of_ours(
    cluster: MemoryCluster, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.states["wattkeeper-model"] = UnreachableError("try again")
    one = Replica(cluster, clock)
    await one.service.leadership.renew()
    await one.service.tick()

    assert [(said.levelname, said.exc_info) for said in caplog.records] == [("WARNING", None)]
    assert "try again" in caplog.text


async def test_state_is_kept_every_minute(cluster: MemoryCluster, clock: HandClock) -> None:
    replica = Replica(cluster, clock)
    kept: list[float] = []
    for _ in range(26):
        await replica.lead()
        await replica.service.tick()
        if cluster.states.pop("wattkeeper-model", None):
            kept.append(clock.now() - NOW)
        await clock.forward(5)
    assert kept == [60.0, 120.0]


async def test_a_tick_that_fails_ends_nothing(cluster: MemoryCluster, clock: HandClock) -> None:
    replica = Replica(cluster, clock)
    await replica.lead()
    await replica.service.tick()
    replica.deciders[-1].broken = True
    assert await replica.service.tick() is None
    replica.deciders[-1].broken = False
    assert await replica.service.tick() is not None
    assert (replica.ticks("failed"), replica.ticks("decided")) == (1.0, 2.0)


async def test_who_stops_gives_the_lease_up_and_keeps_what_was_learned(
    cluster: MemoryCluster, clock: HandClock
) -> None:
    replica = Replica(cluster, clock)
    running = asyncio.ensure_future(replica.service.run())
    async with asyncio.timeout(10):
        while not cluster.written:
            # The decision is made in a thread, which takes real time.
            await clock.forward(5)
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert cluster.lease_holders == {}
    assert cluster.states["wattkeeper-model"] == b"learned"


async def test_the_leader_lets_pods_out_of_the_power_gate_between_ticks(
    cluster: MemoryCluster, clock: HandClock
) -> None:
    replica = Replica(cluster, clock)
    replica.row = Row(gated=True, openings=1)
    await replica.lead()
    await replica.service.tick()
    cluster.view.put(pod("a"), pod("b"))
    await settle()
    assert [name for name, _ in cluster.opened] == ["a"]


async def test_a_deposed_leader_opens_no_gate(cluster: MemoryCluster, clock: HandClock) -> None:
    replica = Replica(cluster, clock)
    replica.row = Row(gated=True, openings=2)
    await replica.lead()
    await replica.service.tick()
    await clock.forward(12.1)
    cluster.view.put(pod("a"))
    await replica.lead()
    cluster.view.put(pod("b"))
    await settle()
    assert cluster.opened == [], "and in its next term it decides first"


async def test_the_next_leader_lets_out_what_waits(cluster: MemoryCluster, clock: HandClock) -> None:
    first, second = Replica(cluster, clock, "one"), Replica(cluster, clock, "two")
    second.row = Row(gated=True, openings=1)
    await first.lead()
    await first.service.tick()
    cluster.view.put(pod("a"))
    cluster.lease_holders.clear()
    await second.lead()
    await second.service.tick()
    await settle()
    assert [name for name, _ in cluster.opened] == ["a"]


async def test_readings_are_told_what_is_open_already(cluster: MemoryCluster, clock: HandClock) -> None:
    replica = Replica(cluster, clock)
    replica.row = Row(gated=True, openings=1)
    await replica.lead()
    await replica.service.tick()
    cluster.failing = {("open", "a")}
    cluster.view.put(pod("a"))
    await settle()
    await replica.service.tick()
    assert list(replica.collector.opened) == ["a"], "nobody knows whether the patch went through"
