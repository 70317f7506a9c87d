"""The HPA controller for HPAs that KEDA did not make, such as KServe's: they decide by what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from wattkeeper.cluster.objects import Deployment, HorizontalPodAutoscaler
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.hpa import SYNC_SECONDS, Behavior, Hpa, HpaSpec

MEASURED_HPA_RANK: Final = 31

Measure = Callable[[str, str], tuple[float, float] | None]
"""From namespace and Deployment to (value of all replicas, target of one); None while it is unknown."""


class MeasuredHpas:
    """Syncs them, with Kubernetes' own behavior. What a real one divides by requests is an average value here."""

    def __init__(
        self, cluster: TwinCluster, clock: SteppedClock, measure: Measure, *, settle: Callable[[], None] = lambda: None
    ) -> None:
        """Prepares.

        Args:
            cluster: whose Deployments are scaled.
            clock: the loop lives in its time.
            measure: what their metric says.
            settle: called after each change of replicas, so that controllers act before anybody looks.
        """
        self._cluster = cluster
        self._clock = clock
        self._measure = measure
        self._settle = settle
        self._memories: dict[str, Hpa] = {}

    def start(self) -> asyncio.Task[None]:
        """Syncs from now on."""
        return self._clock.start(self._run(), name="measured hpas", rank=MEASURED_HPA_RANK)

    def sync(self) -> None:
        """Syncs each once."""
        for found in list(self._cluster.objects.all(HorizontalPodAutoscaler).values()):
            if not any(owner.kind == "ScaledObject" for owner in found.metadata.owner_references):
                self._sync(found)

    def _sync(self, found: HorizontalPodAutoscaler) -> None:
        meta, target = found.metadata, found.spec.scale_target_ref
        deployment = self._cluster.objects.get(Deployment, meta.namespace, target.name)
        if deployment is None:
            return
        measured = self._measure(meta.namespace, target.name)
        value, per_replica = (None, 1.0) if measured is None else measured
        spec = HpaSpec(
            minimum=found.spec.min_replicas or 1,
            maximum=found.spec.max_replicas,
            target=per_replica,
            behavior=Behavior(),
        )
        wanted = self._memories.setdefault(meta.uid, Hpa()).sync(
            spec,
            value,
            replicas=deployment.spec.replicas,
            status_replicas=deployment.status.replicas,
            now=self._clock.now(),
        )
        if wanted != deployment.spec.replicas:
            self._cluster.scale(namespace=meta.namespace, name=target.name, replicas=wanted)
            self._settle()

    async def _run(self) -> None:
        while True:
            self.sync()
            await self._clock.sleep(SYNC_SECONDS)
