"""Usage history as a whole: a Lease, the collector, and the estimates that webhooks ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from admission.estimate import Estimates
from admission.usage_collector import UsageCollector, UsageOptions
from admission.usage_history import UsageHistory
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseOptions:
    """The Lease whose holder keeps what was learned; it lies beside it.

    Attributes:
        holder: who we are; no two replicas may share it.
        name: the Lease's.
        duration_seconds: how long others wait after the last renewal.
    """

    holder: str
    name: str = "wattkeeper-admission"
    duration_seconds: int = 15


@asynccontextmanager
async def collected_usage(
    *,
    cluster: Cluster,
    clock: Clock,
    registry: CollectorRegistry,
    lease: LeaseOptions,
    options: UsageOptions,
    history: UsageHistory | None = None,
) -> AsyncGenerator[Estimates, None]:
    """Collects usage while the block runs, and keeps what was learned at its end.

    Args:
        cluster: started already, and stopped only after the block.
        clock: the only source of time.
        registry: of metrics.
        lease: who of several replicas keeps it.
        options: how to collect.
        history: of Prometheus, read once where nothing was kept.

    Yields:
        What webhooks ask; it knows nothing until the first round has come back.
    """
    leadership = Leadership(
        cluster,
        clock,
        namespace=options.namespace,
        name=lease.name,
        holder=lease.holder,
        duration_seconds=lease.duration_seconds,
    )
    collector = UsageCollector(
        cluster=cluster,
        clock=clock,
        registry=registry,
        leads=lambda: leadership.holds(clock.now()),
        options=options,
        history=history,
    )
    await leadership.renew()
    renewing = asyncio.create_task(leadership.run(), name="usage lease")
    collecting = asyncio.create_task(collector.run(), name="usage")
    try:
        yield collector
    finally:
        # The Lease last: what is kept at the end is kept by its holder.
        for task in (collecting, renewing):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await leadership.release()
