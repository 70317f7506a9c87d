"""Makes a decision known: recommendations, budgets, policies, migrations, events. Only what has changed is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from scaler.budget_statuses import budget_differs, wanted_budgets
from scaler.events import events_of_budget, events_of_recommendation
from scaler.gate_news import GateNews
from scaler.gates import Queue
from scaler.metrics import ScalerMetrics
from scaler.migration_statuses import wanted_migrations
from scaler.policy_statuses import wanted_policies
from scaler.recommendations import differs, gone_recommendations, wanted_recommendations
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import Cluster, EventRecord
from wattkeeper.recommender.result import StepResult

LOG = logging.getLogger(__name__)
# Comparing thousands of objects takes a while, in which KEDA must be answered.
_ROWS_AT_ONCE = 50
_LOGGED_FAILURES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Write:
    what: str
    name: str
    go: Callable[[], Awaitable[None]]


class Publisher:
    """Writes decisions. What fails is counted, stops nothing else, and is found different again in the next tick."""

    def __init__(
        self,
        cluster: Cluster,
        metrics: ScalerMetrics,
        may_write: Callable[[], bool],
        *,
        concurrency: int,
        refresh_seconds: float,
    ) -> None:
        """Takes what publishing needs.

        Args:
            cluster: where to.
            metrics: writes are counted there.
            may_write: says, before each write, whether this replica still leads.
            concurrency: writes at the same time.
            refresh_seconds: how often a budget's figures are written while nothing but them changes.
        """
        self._cluster = cluster
        self._metrics = metrics
        self._may_write = may_write
        self._concurrency = concurrency
        self._refresh_seconds = refresh_seconds
        self._gate_news = GateNews(cluster.view)
        # Recommendations just created: their events wait until the view knows the UIDs that events need.
        self._unannounced: set[tuple[str, str]] = set()

    async def publish(self, result: StepResult, queues: Mapping[ServiceKey, Queue]) -> None:
        """Writes what a decision changes, and who goes on waiting at the power gate after it.

        While caches and history are not warm a decision only holds: then nobody who has been told something is told
        anything else, and old decisions are not given a new date.
        """
        writes = await self._recommendations(result, queues)
        if result.warm:
            # Budgets first: they carry the sign of life that every follower waits for.
            # Migrations last: whoever is told of watts finds the replica in the recommendation.
            writes = self._budgets(result) + self._policies(result) + writes + self._migrations(result)
        if result.warm and self._cluster.view.synced():
            writes += [self._deletion(one) for one in gone_recommendations(result, self._cluster.view)]
        writes += [self._event(event) for event in self._gate_news.events(result, queues)]
        await self._run(writes)

    async def record(self, event: EventRecord) -> None:
        """Records one event; a failure is counted."""
        await self._run([self._event(event)])

    async def _recommendations(self, result: StepResult, queues: Mapping[ServiceKey, Queue]) -> list[_Write]:
        writes: list[_Write] = []
        wanted = wanted_recommendations(result, self._cluster.view, queues, server_minor=self._cluster.server_minor)
        for row, (before, after) in enumerate(wanted):
            if row % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
                await asyncio.sleep(0)
            name = (after.metadata.namespace, after.metadata.name)
            if before is not None and name in self._unannounced:
                self._unannounced.discard(name)
                writes += [self._event(event) for event in events_of_recommendation(None, before)]
            told = before is not None and before.status.mode
            if (result.warm or not told) and differs(before, after):
                writes.append(self._recommendation(before, after))
        return writes

    def _recommendation(self, before: PowerRecommendation | None, after: PowerRecommendation) -> _Write:
        async def go() -> None:
            if before is None or before.spec != after.spec:
                meta = ObjectMeta(name=after.metadata.name, namespace=after.metadata.namespace)
                await self._cluster.apply(PowerRecommendation(metadata=meta, spec=after.spec))
            await self._cluster.write_status(after)
            if before is None:
                self._unannounced.add((after.metadata.namespace, after.metadata.name))
            else:
                await self._record_all(events_of_recommendation(before, after))

        return _Write(what="recommendation", name=f"{after.metadata.namespace}/{after.metadata.name}", go=go)

    def _budgets(self, result: StepResult) -> list[_Write]:
        def write(before: PowerBudget, after: PowerBudget) -> _Write:
            async def go() -> None:
                await self._cluster.write_status(after)
                await self._record_all(events_of_budget(before, after))

            return _Write(what="budget", name=after.metadata.name, go=go)

        return [
            write(before, after)
            for before, after in wanted_budgets(result, self._cluster.view)
            if budget_differs(before, after, now=result.now, refresh_seconds=self._refresh_seconds)
        ]

    def _policies(self, result: StepResult) -> list[_Write]:
        def write(after: PowerCappingPolicy) -> _Write:
            name = f"{after.metadata.namespace}/{after.metadata.name}"
            return _Write(what="policy", name=name, go=lambda: self._cluster.write_status(after))

        wanted = wanted_policies(result, self._cluster.view)
        return [write(after) for before, after in wanted if before.status != after.status]

    def _migrations(self, result: StepResult) -> list[_Write]:
        def write(after: PowerMigration) -> _Write:
            name = f"{after.metadata.namespace}/{after.metadata.name}"
            return _Write(what="migration", name=name, go=lambda: self._cluster.write_status(after))

        wanted = wanted_migrations(result, self._cluster.view)
        return [write(after) for before, after in wanted if before.status.reservation != after.status.reservation]

    def _deletion(self, gone: PowerRecommendation) -> _Write:
        name = f"{gone.metadata.namespace}/{gone.metadata.name}"
        return _Write(what="deletion", name=name, go=lambda: self._cluster.delete(gone))

    def _event(self, event: EventRecord) -> _Write:
        return _Write(what="event", name=event.regarding.metadata.name, go=lambda: self._cluster.record(event))

    async def _record_all(self, events: Iterable[EventRecord]) -> None:
        for event in events:
            await self._try(self._event(event), [])

    async def _run(self, writes: list[_Write]) -> None:
        waiting = iter(writes)
        failures: list[str] = []

        async def work() -> None:
            for write in waiting:
                if self._may_write():
                    await self._try(write, failures)
                else:
                    self._metrics.writes.labels(write.what, "not-leading").inc()

        await asyncio.gather(*(work() for _ in range(min(self._concurrency, len(writes)))))
        for failure in failures[:_LOGGED_FAILURES]:
            LOG.warning("%s; tried again with the next decision", failure)
        if len(failures) > _LOGGED_FAILURES:
            LOG.warning("%d more writes failed", len(failures) - _LOGGED_FAILURES)

    async def _try(self, write: _Write, failures: list[str]) -> None:
        try:
            await write.go()
        except ClusterError as error:
            failures.append(f"cannot write {write.what} {write.name}: {error}")
            self._metrics.writes.labels(write.what, "failed").inc()
        else:
            self._metrics.writes.labels(write.what, "written").inc()
