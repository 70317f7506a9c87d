"""Wattkeeper's processes as they run in a cluster, each with a picture and a way to the API server of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry

from admission.metrics import AdmissionMetrics
from admission.mutate import PodMutator
from admission.review import answered
from admission.usage_collector import UsageCollector, UsageOptions
from admission.view import AdmissionView
from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.migrate import MigrationOptions
from kserve_hooks.migrate_pauses import PauseOptions
from kserve_hooks.plan import PlanOptions
from kserve_hooks.reverts import RevertOptions
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.service import ActuatorOptions, ActuatorService
from scaler.answers import Answers
from scaler.metrics import ScalerMetrics
from scaler.service import RecommenderService, ServiceOptions
from scaler.servicer import Servicer
from scaler.streams import StreamAlarms
from tests.faults.scene import SCALER_ADDRESS, SYSTEM
from tests.faults.weather import MoodyAlgorithm, ProcessApi, Weather
from tests.faults.witness import Decision, Witness
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.readings import Readings
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership
from wattkeeper.cluster.objects import Pod
from wattkeeper.power.readers.scrape_reader import ScrapeReader
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.targets import Target
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.result import StepResult
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.webhook import PodWebhook

TICK_SECONDS: Final = 5.0
STALE_SECONDS: Final = 15.0
WARM_UP_SECONDS: Final = 10.0
_DEADLINE_SECONDS: Final = 60.0
_RANKS: Final = {"scaler": 10, "admission": 20, "actuator": 30}


class Surroundings:
    """What every process is given."""

    def __init__(
        self, cluster: TwinCluster, clock: SteppedClock, weather: Weather, witness: Witness, urls: tuple[str, ...]
    ) -> None:
        self.cluster, self.clock, self.weather, self.witness = cluster, clock, weather, witness
        self.targets = tuple(Target(url=url) for url in urls)

    def api(self, name: str) -> ProcessApi:
        """Returns a way to the cluster for a process that starts now."""
        self.witness.began[name] = self.clock.now()
        return ProcessApi(name, self.cluster, self.clock, self.weather, self.witness)


class Process:
    """One process: killed, it writes nothing more; stopped, it hands over."""

    def __init__(self, around: Surroundings, name: str) -> None:
        self.name, self.around = name, around
        self.api = around.api(name)
        self.cluster = cast("Cluster", cast("object", self.api))
        self.alive = True
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Starts its work."""
        kind, _, number = self.name.partition("-")
        for each in work:
            rank = _RANKS[kind] + int(number)
            self._tasks.append(self.around.clock.start(each, name=self.name, rank=rank))

    def broken(self) -> BaseException | None:
        """Returns what has ended its work, None while it goes on."""
        return next((task.exception() for task in self._tasks if task.done() and not task.cancelled()), None)

    async def kill(self) -> None:
        """Ends it as SIGKILL does: no last word, the Lease stays."""
        self.api.cut()
        await self.stop()

    async def stop(self) -> None:
        """Ends it as SIGTERM does."""
        self.alive = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.api.cut()


class Deciding:
    """A recommender whose decisions are told."""

    def __init__(self, process: str, weather: Weather, witness: Witness) -> None:
        self._inner = Recommender(RecommenderSettings(), MoodyAlgorithm(PriorityFairShare(), weather))
        self._process, self._witness = process, witness

    def step(self, readings: Readings, now: float) -> StepResult:
        """Decides once."""
        result = self._inner.step(readings, now)
        self._witness.decided(Decision(process=self._process, readings=readings, result=result))
        return result

    def dump(self) -> bytes:
        """Returns what must survive a restart."""
        return self._inner.dump()

    def restore(self, state: bytes) -> None:
        """Takes up what dump returned."""
        self._inner.restore(state)


class ScalerProcess(Process):
    """The scaler: recommender, and what answers KEDA."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        view, clock, metrics = self.api.view, around.clock, ScalerMetrics(CollectorRegistry())
        self._answers = Answers(view, server_minor=around.cluster.server_minor, stale_seconds=STALE_SECONDS)
        self.servicer = Servicer(self._answers, StreamAlarms(view), clock, metrics, max_streams=16)
        self._has_served = False
        self._reader = ScrapeReader(
            lambda: around.targets, ReaderSettings(interval_seconds=TICK_SECONDS, deadline_seconds=_DEADLINE_SECONDS)
        )
        self.service = RecommenderService(
            cluster=self.cluster,
            reader=self._reader,
            collector=ReadingsCollector(view),
            new_decider=lambda: Deciding(name, around.weather, around.witness),
            clock=clock,
            metrics=metrics,
            options=ServiceOptions(
                namespace=SYSTEM, holder=name, tick_seconds=TICK_SECONDS, stale_seconds=STALE_SECONDS
            ),
        )
        self.run(self.service.run())

    @property
    def serving(self) -> bool:
        """Says whether its health is SERVING, by the rule of scaler.server."""
        if not self._has_served and self.api.view.synced():
            self._has_served = self._answers.has_plan()
        return self.alive and self._has_served

    async def stop(self) -> None:
        """Ends it."""
        await super().stop()
        await self._reader.close()


class ActuatorProcess(Process):
    """The actuator."""

    def __init__(self, around: Surroundings, name: str, scaler_answers: Callable[[], bool]) -> None:
        super().__init__(around, name)

        async def ask() -> bool:
            return scaler_answers()

        self.service = ActuatorService(
            cluster=self.cluster,
            clock=around.clock,
            metrics=ActuatorMetrics(CollectorRegistry()),
            options=ActuatorOptions(
                namespace=SYSTEM,
                holder=name,
                warm_up_seconds=WARM_UP_SECONDS,
                plan=PlanOptions(
                    trigger=TriggerOptions(address=SCALER_ADDRESS, tls=False, authentication="", polling_seconds=15),
                    reverts=RevertOptions(limit=3, pause_seconds=600.0),
                    migrations=MigrationOptions(pauses=PauseOptions(first_seconds=30.0)),
                ),
            ),
            scaler_answers=ask,
        )
        self.run(self.service.run())


class AdmissionProcess(Process):
    """The admission plugin: the webhook for new pods, and what learns from usage."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        clock, registry = around.clock, CollectorRegistry()
        leadership = Leadership(
            self.cluster, clock, namespace=SYSTEM, name="wattkeeper-admission", holder=name, duration_seconds=15
        )
        usage = UsageCollector(
            cluster=self.cluster,
            clock=clock,
            registry=registry,
            leads=lambda: leadership.holds(clock.now()),
            options=UsageOptions(namespace=SYSTEM),
        )
        mutate = PodMutator(AdmissionView(self.api.view), usage, clock, AdmissionMetrics(registry))
        self._webhook = PodWebhook(around.cluster.view, lambda body: answered(body, mutate).body)
        self.run(leadership.run(), usage.run())

    def admit(self, new: Pod) -> Pod:
        """Returns a pod as the webhook makes it."""
        return self._webhook.admit(new)
