"""A publisher with its cluster in memory."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from scaler.gates import Queue
from scaler.metrics import ScalerMetrics
from scaler.publish import Publisher
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.samples import NAMESPACE, budget, deployment, policy, scaled_object
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus
from wattkeeper.api.readings import ServiceKey
from wattkeeper.recommender.result import StepResult


class Publication:
    """A publisher with its cluster, and what it wrote since it was last asked."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.view.put(policy(), budget(evaluated=None), deployment(), scaled_object())
        self.registry = CollectorRegistry()
        self.leads = True
        self.queues: dict[ServiceKey, Queue] = {}
        self.publisher = Publisher(
            self.cluster, ScalerMetrics(self.registry), lambda: self.leads, concurrency=4, refresh_seconds=7.5
        )

    async def writes(self, result: StepResult) -> list[tuple[str, str]]:
        self.cluster.written.clear()
        self.cluster.events.clear()
        await self.publisher.publish(result, self.queues)
        return self.cluster.written

    def status(self, name: str = "llm") -> PowerRecommendationStatus:
        found = self.cluster.view.get(PowerRecommendation, NAMESPACE, f"deployment-{name}")
        assert found is not None
        return found.status

    def budget(self) -> PowerBudget:
        found = self.cluster.view.get(PowerBudget, "", "hall")
        assert found is not None
        return found

    def events(self) -> list[str]:
        return [event.reason for event in self.cluster.events]

    def failed(self, what: str) -> float:
        return self.registry.get_sample_value("wattkeeper_writes_total", {"what": what, "outcome": "failed"}) or 0.0
