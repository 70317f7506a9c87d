"""The recommender service: every few seconds one decision, and its publication. Only the leader decides.

A follower keeps its caches and its server, nothing else. A new leader starts with a fresh decider: it takes over what
the last one published and learned, and holds until its own caches and history are warm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scaler.events import state_unreadable
from scaler.gates import GateKeeper
from scaler.metrics import ScalerMetrics
from scaler.publish import Publisher
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.readings import Measurements, Readings
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError, StateCorruptError
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership
from wattkeeper.cluster.objects import PodSpec
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.recommender.errors import StateUnreadableError
from wattkeeper.recommender.result import StepResult

LOG = logging.getLogger(__name__)
_LOGGED_PROBLEMS = 5


class MeasurementReader(Protocol):
    """Reads watts and demand."""

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        """Reads one round, within a deadline of its own; what cannot be read is absent."""
        ...


class Collector(Protocol):
    """Joins a view with measurements (wattkeeper.recommender.collect.ReadingsCollector)."""

    def request(self) -> ReadRequest:
        """Returns which queries of users have to be read."""
        ...

    def collect(self, measurements: Measurements, now: float, opened: Mapping[str, PodSpec]) -> Readings:
        """Joins one round. `opened` are pods whose power gate is open by now, whatever the view shows."""
        ...


class Decider(Protocol):
    """Decides (wattkeeper.recommender.step.Recommender)."""

    def step(self, readings: Readings, now: float) -> StepResult:
        """Decides once."""
        ...

    def dump(self) -> bytes:
        """Returns what must survive a restart."""
        ...

    def restore(self, state: bytes) -> None:
        """Takes up what dump returned."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceOptions:
    """How to run.

    Attributes:
        namespace: of the Lease and the state.
        lease_name: the Lease.
        lease_seconds: how long others wait after our last renewal.
        holder: who we are.
        state_name: what the learned model is kept as.
        state_seconds: how often it is written.
        tick_seconds: how often a decision is made.
        write_concurrency: writes at the same time.
        gate_concurrency: power gates that are opened at the same time.
        stale_seconds: an older decision opens no gate.
    """

    namespace: str
    holder: str
    lease_name: str = "wattkeeper-scaler"
    lease_seconds: int = 15
    state_name: str = "wattkeeper-model"
    state_seconds: float = 60.0
    tick_seconds: float = 5.0
    write_concurrency: int = 8
    gate_concurrency: int = 16
    stale_seconds: float = 15.0


class RecommenderService:
    """Runs the loop."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        reader: MeasurementReader,
        collector: Collector,
        new_decider: Callable[[], Decider],
        clock: Clock,
        metrics: ScalerMetrics,
        options: ServiceOptions,
    ) -> None:
        """Takes its parts.

        Args:
            cluster: started already, so that its view is there.
            reader: where measurements come from.
            collector: joins them with the cluster's view.
            new_decider: makes a decider for each time that this replica becomes the leader.
            clock: the only source of time.
            metrics: what is counted.
            options: how to run.
        """
        self._cluster = cluster
        self._reader = reader
        self._collector = collector
        self._new_decider = new_decider
        self._clock = clock
        self._metrics = metrics
        self._options = options
        self.leadership = Leadership(
            cluster,
            clock,
            namespace=options.namespace,
            name=options.lease_name,
            holder=options.holder,
            duration_seconds=options.lease_seconds,
        )
        self._publisher = Publisher(
            cluster,
            metrics,
            self._leads,
            concurrency=options.write_concurrency,
            # Every second tick, with half a tick to spare for ticks that come a little early.
            refresh_seconds=1.5 * options.tick_seconds,
        )
        self._gates = GateKeeper(
            cluster,
            clock,
            metrics,
            self._may_open,
            concurrency=options.gate_concurrency,
            stale_seconds=options.stale_seconds,
        )
        self._decider: Decider | None = None
        self._term = 0
        self._state_written_at = float("-inf")

    async def run(self) -> None:
        """Ticks until cancelled, then gives the Lease up and keeps what was learned."""
        # Before the first tick, which else would find nobody leading and wait for the next one.
        await self.leadership.renew()
        renewing = asyncio.create_task(self.leadership.run(), name="lease")
        try:
            while True:
                started = self._clock.now()
                await self.tick()
                spent = self._clock.now() - started
                # A tick that took too long is followed at once by the next one, never by several.
                await self._clock.sleep(max(self._options.tick_seconds - spent, 0.0))
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._gates.stop()
            if self._leads():
                await self._keep_state()
            await self.leadership.release()

    async def tick(self) -> StepResult | None:
        """Decides and publishes once if this replica leads. Nothing that fails ends the loop."""
        leads = self._leads()
        self._metrics.leader.set(leads)
        self._metrics.view_staleness_seconds.set(self._cluster.view.staleness_seconds(self._clock.now()))
        if not leads:
            self._decider = None
            self._gates.forget()
            self._metrics.plan.result = None
            self._metrics.ticks.labels("follower").inc()
            return None
        try:
            result = await self._decide_and_publish()
        except ClusterError as error:
            LOG.warning("nothing is decided, the next tick tries again: %s", error)
            self._metrics.ticks.labels("failed").inc()
            return None
        except Exception:  # A defect in one tick must not end the service that holds the budget.
            LOG.exception("a tick failed; the next one tries again")
            self._metrics.ticks.labels("failed").inc()
            return None
        self._metrics.ticks.labels("decided").inc()
        return result

    def _leads(self) -> bool:
        return self.leadership.holds(self._clock.now())

    def _may_open(self) -> bool:
        # In another term somebody else may have decided in between.
        return self._leads() and self._term == self.leadership.term

    async def _decide_and_publish(self) -> StepResult:
        if self._decider is None or self._term != self.leadership.term:
            self._gates.forget()
            self._decider = await self._fresh_decider()
            self._term = self.leadership.term
        decider = self._decider
        started = time.perf_counter()
        measurements = await self._reader.read(self._collector.request(), self._clock.now())
        read = self._lap("read", started)
        now = self._clock.now()
        readings = self._collector.collect(measurements, now, self._gates.mark())
        # In a thread, because a large step would keep KEDA waiting. It touches nothing that anyone else does.
        result = await asyncio.to_thread(decider.step, readings, now)
        decided = self._lap("decide", read)
        self._note(result, measurements)
        self._gates.take(result)
        await self._publisher.publish(result, self._gates.queues())
        published = self._lap("publish", decided)
        if now - self._state_written_at >= self._options.state_seconds and result.warm:
            await self._keep_state()
            self._lap("keep", published)
        return result

    def _lap(self, part: str, since: float) -> float:
        now = time.perf_counter()
        self._metrics.tick_seconds.labels(part).observe(now - since)
        return now

    def _note(self, result: StepResult, measurements: Measurements) -> None:
        problems = (*measurements.problems, *result.problems)
        self._metrics.plan.result = result
        self._metrics.decided_timestamp_seconds.set(result.now)
        self._metrics.warm.set(result.warm)
        self._metrics.problems.set(len(problems))
        for problem in problems[:_LOGGED_PROBLEMS]:
            LOG.warning("%s", problem)

    async def _fresh_decider(self) -> Decider:
        decider = self._new_decider()
        options = self._options
        try:
            state = await self._cluster.read_state(namespace=options.namespace, name=options.state_name)
            if state is not None:
                decider.restore(state)
        except (StateCorruptError, StateUnreadableError) as error:
            LOG.warning("starting from priors: %s", error)
            await self._announce_unreadable(str(error))
            # What restore left half done must not stay.
            decider = self._new_decider()
        self._state_written_at = self._clock.now()
        return decider

    async def _announce_unreadable(self, why: str) -> None:
        budgets = sorted(self._cluster.view.all(PowerBudget).values(), key=lambda budget: budget.metadata.name)
        if budgets:
            await self._publisher.record(state_unreadable(budgets[0], why))

    async def _keep_state(self) -> None:
        if self._decider is None:
            return
        options = self._options
        try:
            state = self._decider.dump()
            await self._cluster.write_state(namespace=options.namespace, name=options.state_name, state=state)
        except ClusterError as error:
            LOG.warning("cannot keep the learned model: %s", error)
            self._metrics.writes.labels("state", "failed").inc()
            return
        self._metrics.writes.labels("state", "written").inc()
        self._state_written_at = self._clock.now()
