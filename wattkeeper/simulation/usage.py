"""What pods use of CPU and memory, as metrics-server tells it over metrics.k8s.io.

Nobody published such figures by model, so they are the twin's own: a worker for each GPU keeps a core busy, each
request in flight costs a little beside it, and loading reads all weights (bfloat16) through the page cache.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from wattkeeper.api.readings import PodKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.cluster.usage import ContainerUsage, PodUsage
from wattkeeper.simulation.twin import Twin

_WINDOW_SECONDS: Final = 15.0
_CORES_PER_GPU: Final = 1.0
_CORES_PER_REQUEST: Final = 0.02
_LOADING_CORES_PER_GPU: Final = 2.0
_BYTES_PER_GPU: Final = 4.0 * 2**30
_BYTES_PER_REQUEST: Final = 8.0 * 2**20
_BYTES_PER_PARAMETER: Final = 2.0


class Usage:
    """Reads the twin."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    def read(self) -> tuple[PodUsage, ...]:
        """Returns what every running pod uses right now."""
        rows, batches, now = self._twin.rows, self._twin.serving.batches, self._twin.clock.now()
        parameters = np.array([service.model.parameters for service in self._twin.services])[rows.service]
        cores = np.where(
            rows.loading, _LOADING_CORES_PER_GPU * rows.gpus, _CORES_PER_GPU * rows.gpus + _CORES_PER_REQUEST * batches
        )
        memory = _BYTES_PER_GPU * rows.gpus + np.where(
            rows.loading, _BYTES_PER_PARAMETER * parameters, _BYTES_PER_REQUEST * batches
        )
        return tuple(
            PodUsage(
                key=key,
                timestamp=now,
                window_seconds=_WINDOW_SECONDS,
                containers=(ContainerUsage(name=self._server(key), cores=float(used), memory_bytes=float(held)),),
            )
            for key, used, held in zip(rows.keys, cores, memory, strict=True)
        )

    def _server(self, key: PodKey) -> str:
        """Returns the container that does everything: the first one."""
        pod = self._twin.cluster.objects.get(Pod, *key)
        return pod.spec.containers[0].name if pod is not None else ""
