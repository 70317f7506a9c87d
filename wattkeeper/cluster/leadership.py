"""Which of several replicas acts: the one that holds a Lease."""

from __future__ import annotations

import logging
from typing import Final

from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import Cluster

LOG = logging.getLogger(__name__)

SURE_SHARE: Final = 0.8
"""Of the duration, counted from before a renewal was sent: others count all of it, from what they have seen later."""

AGAIN_SECONDS: Final = 1.0
"""After a renewal without an answer: one that hung has cost a third of the duration, and there must be another."""


class Leadership:
    """Holds the Lease while it can, and knows when it may have lost it."""

    def __init__(
        self, cluster: Cluster, clock: Clock, *, namespace: str, name: str, holder: str, duration_seconds: int
    ) -> None:
        """Takes what a Lease needs.

        Args:
            cluster: where it is.
            clock: the Lease's times.
            namespace: the Lease's.
            name: the Lease's.
            holder: who we are; no two replicas may be called the same.
            duration_seconds: others wait this long after the last renewal before they take over.
        """
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._duration_seconds = duration_seconds
        self._sure_until = float("-inf")
        self.term = 0

    def holds(self, now: float) -> bool:
        """Says whether nobody else can have the Lease yet."""
        return now < self._sure_until

    async def renew(self) -> None:
        """Takes or renews the Lease. A failure leaves things as they are: time decides."""
        await self._hold(by_force=False)

    async def seize(self) -> None:
        """Takes the Lease from whoever has it, who may not know for as long as it had asked for."""
        await self._hold(by_force=True)

    async def _hold(self, *, by_force: bool) -> bool:
        """Returns whether there was an answer."""
        asked_at = self._clock.now()
        held_before = self.holds(asked_at)
        try:
            held = await self._cluster.hold_lease(
                namespace=self._namespace,
                name=self._name,
                holder=self._holder,
                duration_seconds=self._duration_seconds,
                now=asked_at,
                by_force=by_force,
            )
        except ClusterError as error:
            LOG.warning("cannot renew the lease %s/%s: %s", self._namespace, self._name, error)
            return False
        if not held:
            self._sure_until = float("-inf")
            return True
        self._sure_until = asked_at + SURE_SHARE * self._duration_seconds
        if not held_before:
            self.term += 1
            LOG.info("%s leads (term %d of this process)", self._holder, self.term)
        return True

    async def run(self) -> None:
        """Renews for ever, a few times within each duration."""
        while True:
            answered = await self._hold(by_force=False)
            pause = self._duration_seconds / 4
            await self._clock.sleep(pause if answered else min(pause, AGAIN_SECONDS))

    async def release(self) -> None:
        """Gives the Lease up, so that the next one need not wait."""
        held = self.holds(self._clock.now())
        self._sure_until = float("-inf")
        if not held:
            return
        try:
            await self._cluster.release_lease(namespace=self._namespace, name=self._name, holder=self._holder)
        except ClusterError as error:
            LOG.warning("cannot give up the lease; the next leader waits for it to expire: %s", error)
