"""Usage history as a whole: the collector beside everything else, and the estimates that webhooks ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from admission.estimate import Estimates
from admission.usage_collector import UsageCollector, UsageOptions
from admission.usage_history import UsageHistory
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership


@asynccontextmanager
async def collected_usage(
    *,
    cluster: Cluster,
    clock: Clock,
    registry: CollectorRegistry,
    leadership: Leadership,
    options: UsageOptions,
    history: UsageHistory | None = None,
) -> AsyncGenerator[Estimates, None]:
    """Collects usage while the block runs, and keeps what was learned at its end.

    Args:
        cluster: started already, and stopped only after the block.
        clock: the only source of time.
        registry: of metrics.
        leadership: which of several replicas keeps it; given up only after the block.
        options: how to collect.
        history: of Prometheus, read once where nothing was kept.

    Yields:
        What webhooks ask; it knows nothing until the first round has come back.
    """
    collector = UsageCollector(
        cluster=cluster,
        clock=clock,
        registry=registry,
        leads=lambda: leadership.holds(clock.now()),
        options=options,
        history=history,
    )
    collecting = asyncio.create_task(collector.run(), name="usage")
    try:
        yield collector
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
