"""The power gate with the real collector and recommender: pods come, a scheduler places them, ticks go by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed
from prometheus_client import CollectorRegistry

from scaler.metrics import ScalerMetrics
from scaler.service import RecommenderService, ServiceOptions
from tests.contract.scaler.serving import StillClock
from tests.unit.scaler.gated_pods import pod
from tests.unit.scaler.hand_clock import settle
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import no_measurements, readings
from tests.unit.scaler.samples import NAMESPACE, NOW, policy
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, INFERENCE_SERVICE_LABEL
from wattkeeper.api.conditions import holds
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus
from wattkeeper.api.readings import Measurements
from wattkeeper.cluster.objects import (
    Deployment,
    DeploymentSpec,
    Namespace,
    Node,
    NodeStatus,
    Pod,
    PodCondition,
    PodStatus,
    PodTemplate,
)
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender

TICK = 5.0


class ScriptedReader:
    """One node that draws next to nothing by itself."""

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        return replace(
            no_measurements(),
            node_cpu_watts=readings(["node-1"], 100.0, now),
            node_cpu_idle_watts=readings(["node-1"], 100.0, now),
        )


class Room:
    """The service on a cluster in memory."""

    def __init__(self, limit_watts: float) -> None:
        self.cluster = MemoryCluster()
        self.clock = StillClock(NOW)
        self.cluster.view.put(
            Namespace(metadata=ObjectMeta(name=NAMESPACE, uid="ns", labels={ADMISSION_LABEL: ADMISSION_ENABLED})),
            Node(
                metadata=ObjectMeta(name="node-1", uid="node-1"),
                status=NodeStatus(capacity={"cpu": "64"}, allocatable={"cpu": "64"}),
            ),
            PowerBudget(metadata=ObjectMeta(name="hall"), spec=PowerBudgetSpec(limit_watts=limit_watts)),
        )
        self.service = RecommenderService(
            cluster=self.cluster,
            reader=ScriptedReader(),
            collector=ReadingsCollector(self.cluster.view),
            new_decider=lambda: Recommender(RecommenderSettings(), PriorityFairShare()),
            clock=self.clock,
            metrics=ScalerMetrics(CollectorRegistry()),
            options=ServiceOptions(namespace="wattkeeper", holder="one"),
        )

    def serve(self, name: str, *, replicas: int, priority: int = 0) -> None:
        """Makes a service of 100 W a replica, whose spec asks for pods."""
        labels = {INFERENCE_SERVICE_LABEL: name}
        selecting = policy(name)
        spec = changed(
            selecting.spec,
            selector=LabelSelector(match_labels={"app": name}),
            priority=priority,
            watts_per_replica=100.0,
        )
        self.cluster.view.put(
            changed(selecting, spec=spec),
            Deployment(
                metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels={"app": name}),
                spec=DeploymentSpec(replicas=replicas, template=PodTemplate(metadata=ObjectMeta(labels=labels))),
            ),
        )

    def come(self, name: str, count: int) -> None:
        self.cluster.view.put(*(pod(f"{name}-{number:02}", of=name) for number in range(count)))

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            await self.service.leadership.renew()
            assert await self.service.tick() is not None
            await settle()
            self.clock.time += TICK

    def place(self) -> None:
        """Starts every pod that is out of the gate."""
        ready = PodStatus(phase="Running", conditions=(PodCondition(type="Ready", status="True"),))
        for one in list(self.cluster.view.all(Pod).values()):
            if not one.spec.scheduling_gates and not one.spec.node_name:
                self.cluster.view.put(changed(one, spec=changed(one.spec, node_name="node-1"), status=ready))

    def out(self, name: str) -> int:
        pods = [one for one in self.cluster.view.all(Pod).values() if one.metadata.name.startswith(f"{name}-")]
        return sum(not one.spec.scheduling_gates for one in pods)

    def headroom(self) -> float:
        hall = self.cluster.view.get(PowerBudget, "", "hall")
        assert hall is not None
        return hall.spec.limit_watts - hall.status.guarded_watts

    def status(self, name: str) -> PowerRecommendationStatus:
        found = self.cluster.view.get(PowerRecommendation, NAMESPACE, f"deployment-{name}")
        assert found is not None
        return found.status


@pytest.fixture
def room() -> Room:
    return Room(limit_watts=2_000.0)


async def test_of_many_pods_at_once_as_many_start_as_there_are_watts_for(room: Room) -> None:
    room.serve("llm", replicas=100)
    room.come("llm", 100)
    await room.ticks(3)
    assert room.out("llm") == 0, "caches and history are not warm yet"
    for _ in range(6):
        await room.ticks(1)
        assert room.headroom() >= 0.0
        room.place()
    assert room.out("llm") == 18, "the node may draw a little less than 200 W by itself"
    assert 0.0 <= room.headroom() < 100.0
    status = room.status("llm")
    assert holds(status.conditions, "PodsWaiting")
    assert len(status.waiting_pods) == 10


async def test_a_pod_within_the_grant_starts_between_two_ticks(room: Room) -> None:
    room.serve("llm", replicas=3)
    room.come("llm", 2)
    await room.ticks(6)
    assert room.out("llm") == 2
    room.cluster.view.put(pod("llm-99"))
    await settle()
    assert room.out("llm") == 3


async def test_the_higher_priority_gets_the_watts(room: Room) -> None:
    room.serve("batch", replicas=60)
    room.serve("chat", replicas=60, priority=9)
    room.come("batch", 60)
    room.come("chat", 60)
    for _ in range(8):
        await room.ticks(1)
        room.place()
    assert room.out("batch") == 0
    assert room.out("chat") == 18


async def test_pods_are_let_out_when_the_namespace_is_opted_out(room: Room) -> None:
    room.serve("llm", replicas=100)
    room.come("llm", 100)
    await room.ticks(6)
    assert room.out("llm") == 18
    room.cluster.view.put(Namespace(metadata=ObjectMeta(name=NAMESPACE, uid="ns")))
    await room.ticks(3)
    assert room.out("llm") == 100
