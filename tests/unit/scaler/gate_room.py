"""A gate keeper with its cluster, whose patches answer when a test says so."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from scaler.gates import GateKeeper
from scaler.metrics import ScalerMetrics
from tests.unit.scaler.hand_clock import HandClock, settle
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import Row, decision
from tests.unit.scaler.samples import NAMESPACE, NOW
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod

LLM = ServiceKey(NAMESPACE, "Deployment", "llm")


class SlowCluster(MemoryCluster):
    """Patches answer when the test says so, or fail as it says.

    Attributes:
        asked: pods whose gate was to be opened, in the order of the requests.
        failures: what the next patches of a pod raise.
        lost: pods whose patch goes through although the answer is a failure.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.lost: set[str] = set()
        self.blocked = False
        self.late_view = False
        self._answers = asyncio.Event()
        self._unseen: list[tuple[Pod, tuple[NodeSelectorTerm, ...] | None]] = []

    async def open_gate(self, pod: Pod, *, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        self.asked.append(pod.metadata.name)
        if self.blocked:
            await self._answers.wait()
        failures = self.failures.get(pod.metadata.name)
        if failures:
            failure = failures.pop(0)
            if pod.metadata.name in self.lost:
                await super().open_gate(pod, terms=terms)
            raise failure
        if self.late_view:
            self._unseen.append((pod, terms))
        else:
            await super().open_gate(pod, terms=terms)

    def answer(self) -> None:
        self.blocked = False
        self._answers.set()

    async def catch_up(self) -> None:
        """Shows in the view what has been opened."""
        self.late_view = False
        for one, terms in self._unseen:
            await super().open_gate(one, terms=terms)
        self._unseen.clear()


class Room:
    """A keeper with its cluster."""

    def __init__(self, *, concurrency: int = 8) -> None:
        self.cluster = SlowCluster()
        self.clock = HandClock(NOW)
        self.registry = CollectorRegistry()
        self.leads = True
        self.keeper = GateKeeper(
            self.cluster,
            self.clock,
            ScalerMetrics(self.registry),
            lambda: self.leads,
            concurrency=concurrency,
            stale_seconds=15.0,
        )

    async def come(self, *pods: Pod) -> None:
        self.cluster.view.put(*pods)
        await settle()

    async def decide(self, *rows: Row, warm: bool = True, domains: tuple[str, ...] = ("hall",)) -> None:
        """Makes a whole decision at once."""
        self.keeper.mark()
        await self.take(*rows, warm=warm, domains=domains)

    async def take(self, *rows: Row, warm: bool = True, domains: tuple[str, ...] = ("hall",)) -> None:
        self.keeper.take(decision(*rows, now=self.clock.now(), warm=warm, domains=domains))
        await settle()

    @property
    def opened(self) -> list[str]:
        return [name for name, _ in self.cluster.opened]

    def waiting(self, service: ServiceKey = LLM) -> list[str]:
        queue = self.keeper.queues().get(service)
        return [] if queue is None else [one.metadata.name for one in queue.pods]

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"wattkeeper_{name}", labels) or 0.0
