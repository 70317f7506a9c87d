"""Reads usage each minute, learns from it, and keeps what was learned. Nothing that fails ends it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry

from admission.errors import UsageUnreadableError
from admission.estimate import Estimate
from admission.usage_checkpoint import decode, encode
from admission.usage_history import UsageHistory
from admission.usage_joining import joined
from admission.usage_metrics import UsageMetrics
from admission.usage_model import Sample, UsageModel
from admission.usage_owners import Owners
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError, StateCorruptError
from wattkeeper.cluster.interface import Cluster, EventRecord

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_AT_ONCE: Final = 1_000
"""Pods between two moments in which webhooks are answered: a few milliseconds."""


_MEANS: Final = {
    "collect": "usage cannot be read, and requests follow what is known so far",
    "keep": "what usage was learned cannot be kept",
    "announce": "an event about unreadable usage cannot be written",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageOptions:
    """How to collect.

    Attributes:
        namespace: where what was learned is kept.
        state_name: what it is kept as.
        interval_seconds: how often usage is read; confidence counts samples a minute apart.
        keep_seconds: how often what was learned is kept.
    """

    namespace: str
    state_name: str = "wattkeeper-usage"
    interval_seconds: float = 60.0
    keep_seconds: float = 60.0


class UsageCollector:
    """Collects, and answers what was learned: Estimates."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        registry: CollectorRegistry,
        leads: Callable[[], bool],
        options: UsageOptions,
        history: UsageHistory | None = None,
    ) -> None:
        """Takes its parts.

        Args:
            cluster: started already, so that its view is there.
            clock: the only source of time.
            registry: of metrics.
            leads: whether this replica holds the Lease: every one learns for itself, and one keeps it.
            options: how to collect.
            history: read once where nothing was kept; None where there is no Prometheus.
        """
        self._cluster = cluster
        self._clock = clock
        self._leads = leads
        self._options = options
        self._history = history
        self._model = UsageModel()
        self._restored = False
        self._kept_at = -math.inf
        self._metrics = UsageMetrics(registry, lambda: self._clock.now() - self._model.time)
        self._said: dict[str, str] = {}

    def estimate(self, service: ServiceKey, container: str) -> Estimate | None:
        """Returns what is known of a container; None while nothing is."""
        return self._model.estimate(service, container)

    async def run(self) -> None:
        """Collects until cancelled, then keeps what was learned if this replica leads."""
        try:
            while True:
                started = self._clock.now()
                await self.collect()
                spent = max(self._clock.now() - started, 0.0)
                await self._clock.sleep(max(self._options.interval_seconds - spent, 1.0))
        finally:
            await self._attempt("keep", self._keep)

    async def collect(self) -> None:
        """Reads and learns once, and keeps what was learned where that is due."""
        await self._attempt("collect", self._read_and_learn)
        # A clock that was set back makes it due as well.
        if not 0.0 <= self._clock.now() - self._kept_at < self._options.keep_seconds:
            await self._attempt("keep", self._keep)

    async def _attempt(self, part: str, what: Callable[[], Awaitable[None]]) -> None:
        """Does one thing; whatever fails about it is counted, logged once, and tried again with the next round."""
        try:
            await what()
        except ClusterError as error:
            self._failed(part, f"{_MEANS[part]}: {error}")
        except Exception as error:  # A defect in one round must end neither the rounds nor the webhook beside them.
            self._failed(part, f"{_MEANS[part]}: {error!r}", defect=True)
        else:
            if self._said.pop(part, None) is not None:
                LOG.info("usage: %s works again", part)

    async def _read_and_learn(self) -> None:
        if not self._restored:
            await self._restore()
        for some in _batches(await self._cluster.read_usage(), _AT_ONCE):
            unjoined: Counter[str] = Counter()
            self._learn(joined(some, self._cluster.view, unjoined), unjoined)
            await asyncio.sleep(0)
        self._model.forget()
        self._metrics.containers.set(self._model.containers)

    def _learn(self, samples: Sequence[Sample], unjoined: Counter[str]) -> None:
        self._metrics.count(self._model.add(samples, self._clock.now()), unjoined)

    async def _restore(self) -> None:
        """Takes up what was kept, else Prometheus' history.

        Raises:
            ClusterError: nobody knows whether something was kept. It must not be written over: the next round asks
                again.
        """
        options = self._options
        try:
            kept = await self._cluster.read_state(namespace=options.namespace, name=options.state_name)
            if kept is not None:
                state = await asyncio.to_thread(decode, kept)
                self._model = UsageModel.restored(state, self._clock.now())
        except (StateCorruptError, UsageUnreadableError) as error:
            kept = None
            self._failed("restore", f"what usage was kept cannot be read, starting afresh: {error}")
            await self._announce(str(error))
        self._restored = True
        if kept is None and self._history is not None:
            await self._read_history(self._history)

    async def _read_history(self, history: UsageHistory) -> None:
        past = await history.read(Owners(self._cluster.view))
        for batch in past.batches:
            for some in _batches(batch, _AT_ONCE):
                self._learn(some, Counter())
                await asyncio.sleep(0)
        LOG.info("usage of %d containers from Prometheus' history", self._model.containers)
        if past.problems:
            self._failed("history", f"Prometheus' history of usage is incomplete: {'; '.join(past.problems[:3])}")

    async def _keep(self) -> None:
        """Keeps what was learned, unless somebody else does. What could not be restored is not written over."""
        if not self._restored or not self._leads():
            return
        self._kept_at = self._clock.now()
        data = await asyncio.to_thread(encode, self._model.state())
        if self._leads():
            await self._cluster.write_state(
                namespace=self._options.namespace, name=self._options.state_name, state=data
            )

    async def _announce(self, why: str) -> None:
        budgets = sorted(self._cluster.view.all(PowerBudget).values(), key=lambda budget: budget.metadata.name)
        if not budgets:
            return
        event = EventRecord(
            regarding=budgets[0],
            type="Warning",
            reason="UsageUnreadable",
            action="Restore",
            note=f"Requests of new pods start from what is measured from now on: {why}"[:1_024],
            dedupe_key="usage-unreadable",
        )
        await self._attempt("announce", lambda: self._cluster.record(event))

    def _failed(self, part: str, what: str, *, defect: bool = False) -> None:
        """Counts a failure, and logs it unless it is the last one again."""
        self._metrics.failures.labels(part).inc()
        if self._said.get(part) != what:
            self._said[part] = what
            LOG.warning("%s", what, exc_info=defect)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
