"""Alerts as a whole: facts from the caches, the book of what is active, sinks that are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from admission.alert_keeper import AlertKeeper, AlertOptions
from admission.alert_metrics import AlertMetrics
from admission.alert_sinks import SinksFile
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership


@asynccontextmanager
async def alerting(
    *,
    cluster: Cluster,
    clock: Clock,
    registry: CollectorRegistry,
    leadership: Leadership,
    file: SinksFile,
    options: AlertOptions,
) -> AsyncGenerator[None, None]:
    """Alerts while the block runs, beside everything else: nobody waits for it.

    Args:
        cluster: started already, and stopped only after the block.
        clock: the only source of time.
        registry: of metrics.
        leadership: which of several replicas tells people; given up only after the block.
        file: who can be told.
        options: how to alert.
    """
    keeper = AlertKeeper(
        cluster=cluster,
        clock=clock,
        leadership=leadership,
        file=file,
        metrics=AlertMetrics(registry),
        options=options,
    )
    keeping = asyncio.create_task(keeper.run(), name="alerts")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
