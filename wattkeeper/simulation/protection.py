"""The disruption controller: how many pods each PodDisruptionBudget can spare now."""

from __future__ import annotations

from msgspec.structs import replace

from wattkeeper.cluster.objects import Pod, PodDisruptionBudget
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.disruption import protects


class DisruptionController:
    """Keeps `disruptionsAllowed` (kubernetes 1.36 pkg/controller/disruption; minAvailable as a number alone).

    Attributes:
        min_available: by namespace and name, what a PodDisruptionBudget asks for: services do not read it.
    """

    def __init__(self, cluster: TwinCluster) -> None:
        self._cluster = cluster
        self.min_available: dict[tuple[str, str], int] = {}

    def reconcile(self) -> None:
        """Counts healthy pods: those that are Ready and not about to end."""
        objects = self._cluster.objects
        for budget in list(objects.all(PodDisruptionBudget).values()):
            meta = budget.metadata
            healthy = sum(
                is_ready(pod) and not pod.metadata.deletion_timestamp and protects(budget, pod)
                for pod in objects.all(Pod).values()
            )
            least = self.min_available.get((meta.namespace, meta.name), 0)
            status = replace(
                budget.status, disruptions_allowed=max(healthy - least, 0), observed_generation=meta.generation
            )
            objects.update(replace(budget, status=status))
