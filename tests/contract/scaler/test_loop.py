"""The service with the real collector and recommender, up to what KEDA is told. Cluster and readings are scripted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed
from prometheus_client import CollectorRegistry, generate_latest

from scaler.metrics import ScalerMetrics
from scaler.service import RecommenderService, ServiceOptions
from tests.contract.scaler.serving import StillClock, client, metrics_request, reference, serving
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import no_measurements, readings
from tests.unit.scaler.samples import NAMESPACE, NOW, deployment, policy, scaled_object
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import Demand
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import Measurements, PodKey
from wattkeeper.cluster.objects import Node, NodeStatus, Pod, PodCondition, PodSpec, PodStatus
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender

PODS = [PodKey(NAMESPACE, f"llm-7d9c-{number}") for number in range(4)]
TICK = 5.0


class ScriptedReader:
    """Four idle-ish pods with ten requests each, on one node."""

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        return replace(
            no_measurements(),
            node_cpu_watts=readings(["node-1"], 300.0, now),
            node_cpu_idle_watts=readings(["node-1"], 200.0, now),
            pod_cpu_watts=readings(PODS, 20.0, now),
            pod_requests=readings(PODS, 10.0, now),
        )


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    wanted = policy()
    demand = Demand(metric="Requests", target_per_replica=5.0, stabilization_seconds=0)
    cluster.view.put(
        Node(
            metadata=ObjectMeta(name="node-1", uid="node-1"),
            status=NodeStatus(capacity={"cpu": "64"}, allocatable={"cpu": "64"}),
        ),
        deployment(replicas=4),
        scaled_object(),
        changed(wanted, spec=changed(wanted.spec, demand=demand, watts_per_replica=100.0)),
        PowerBudget(metadata=ObjectMeta(name="hall"), spec=PowerBudgetSpec(limit_watts=100_000.0)),
    )
    for key in PODS:
        owner = OwnerReference(kind="ReplicaSet", name="llm-7d9c", uid="rs", api_version="apps/v1", controller=True)
        cluster.view.put(
            Pod(
                metadata=ObjectMeta(
                    name=key.name,
                    namespace=key.namespace,
                    labels={"app": "llm", "pod-template-hash": "7d9c"},
                    owner_references=(owner,),
                    creation_timestamp="2026-01-01T00:00:00Z",
                ),
                spec=PodSpec(node_name="node-1"),
                status=PodStatus(phase="Running", conditions=(PodCondition(type="Ready", status="True"),)),
            )
        )
    return cluster


def service(cluster: MemoryCluster, clock: StillClock, registry: CollectorRegistry) -> RecommenderService:
    return RecommenderService(
        cluster=cluster,
        reader=ScriptedReader(),
        collector=ReadingsCollector(cluster.view),
        new_decider=lambda: Recommender(RecommenderSettings(), PriorityFairShare()),
        clock=clock,
        metrics=ScalerMetrics(registry),
        options=ServiceOptions(namespace="wattkeeper", holder="one"),
    )


async def run_ticks(service: RecommenderService, clock: StillClock, count: int) -> None:
    for _ in range(count):
        await service.leadership.renew()
        assert await service.tick() is not None
        clock.time += TICK


async def test_requests_become_replicas_and_a_cut_becomes_a_lower_answer(cluster: MemoryCluster) -> None:
    clock, registry = StillClock(NOW), CollectorRegistry()
    loop = service(cluster, clock, registry)
    async with serving(cluster.view, clock) as server, client(server) as keda:
        await run_ticks(loop, clock, 2)
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert value.metricValueFloat == 4.0, "until it is warm it holds what is there"
        await run_ticks(loop, clock, 4)
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert value.metricValueFloat == 8.0, "forty requests at five a replica"
        hall = cluster.view.get(PowerBudget, "", "hall")
        assert hall is not None
        assert 0.0 < hall.status.guarded_watts < 100_000.0
        cluster.view.put(changed(hall, spec=PowerBudgetSpec(limit_watts=1.0)))
        await run_ticks(loop, clock, 1)
        assert not (await keda.IsActive(reference())).result
        found = cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
        assert found is not None
        assert (found.status.target.replicas, found.status.binding_budget) == (0, "hall")
    page = generate_latest(registry).decode()
    assert (
        'wattkeeper_service_grant_replicas{service="llm",service_kind="Deployment",service_namespace="chat"} 0.0'
        in page
    )
    assert 'wattkeeper_budget_limit_watts{budget="hall"} 1.0' in page


async def test_a_new_leader_changes_nothing_until_it_is_warm(cluster: MemoryCluster) -> None:
    clock = StillClock(NOW)
    await run_ticks(service(cluster, clock, CollectorRegistry()), clock, 8)
    before = cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
    successor = service(cluster, clock, CollectorRegistry())
    await run_ticks(successor, clock, 3)
    assert cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm") == before
    await run_ticks(successor, clock, 3)
    after = cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
    assert before is not None
    assert after is not None
    assert after.status.target.replicas == before.status.target.replicas == 8
