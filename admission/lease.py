"""The Lease: which of several replicas does what one alone must do. All of them answer reviews."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseOptions:
    """The Lease.

    Attributes:
        holder: who we are; no two replicas may share it.
        namespace: the Lease's.
        name: the Lease's.
        duration_seconds: how long others wait after the last renewal.
    """

    holder: str
    namespace: str
    name: str = "wattkeeper-admission"
    duration_seconds: int = 15


@asynccontextmanager
async def renewed_lease(*, cluster: Cluster, clock: Clock, options: LeaseOptions) -> AsyncGenerator[Leadership, None]:
    """Holds the Lease while it can, as long as the block runs, and gives it up at its end.

    Args:
        cluster: started already, and stopped only after the block.
        clock: the only source of time.
        options: which Lease.

    Yields:
        Whether this replica holds it.
    """
    leadership = Leadership(
        cluster,
        clock,
        namespace=options.namespace,
        name=options.name,
        holder=options.holder,
        duration_seconds=options.duration_seconds,
    )
    await leadership.renew()
    renewing = asyncio.create_task(leadership.run(), name="lease")
    try:
        yield leadership
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await leadership.release()
