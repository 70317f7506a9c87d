"""What exporters count: joules since the start, by node, GPU and pod."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattkeeper.api.readings import Ints
from wattkeeper.simulation.fleet import FleetRows
from wattkeeper.simulation.models import IDLE_GPU_WATTS
from wattkeeper.simulation.physics import CPU_IDLE_WATTS, Power


class Counters:
    """Counters of N nodes with up to G GPUs each.

    Attributes:
        node_active_joules, node_idle_joules: float64[N], of CPUs and memory.
        gpu_watts, gpu_joules: float64[N, G].
        gpu_pod: int64[N, G], column of the pod that holds the GPU, -1 for none.
        pod_joules: by pod UID, of CPUs and memory, above idle.
    """

    def __init__(self, gpus: Ints) -> None:
        nodes, most = len(gpus), int(gpus.max(initial=0))
        self.node_active_joules = np.zeros(nodes)
        self.node_idle_joules = np.zeros(nodes)
        self.gpu_watts = np.zeros((nodes, most))
        self.gpu_joules = np.zeros((nodes, most))
        self.gpu_pod = np.full((nodes, most), -1, dtype=np.int64)
        self.pod_joules: dict[str, float] = {}

    def align(self, rows: FleetRows, slots: Sequence[tuple[int, ...]]) -> None:
        """Takes up another set of pods: `slots` are each pod's GPUs on its node."""
        self.gpu_pod[:] = -1
        places = [(rows.node[pod], gpu, pod) for pod, held in enumerate(slots) for gpu in held]
        held = np.array(places, dtype=np.int64).reshape(len(places), 3)
        self.gpu_pod[held[:, 0], held[:, 1]] = held[:, 2]
        self.pod_joules = {uid: self.pod_joules.get(uid, 0.0) for uid in rows.uids}

    def count(self, rows: FleetRows, power: Power, seconds: float) -> None:
        """Counts a second."""
        self.node_idle_joules += CPU_IDLE_WATTS * seconds
        self.node_active_joules += (power.node_cpu - CPU_IDLE_WATTS) * seconds
        each = np.append(np.divide(power.pod_gpu, rows.gpus, out=np.zeros_like(power.pod_gpu), where=rows.gpus > 0), 0)
        self.gpu_watts = IDLE_GPU_WATTS + each[self.gpu_pod]
        self.gpu_joules += self.gpu_watts * seconds
        for uid, watts in zip(rows.uids, power.pod_cpu.tolist(), strict=True):
            self.pod_joules[uid] += watts * seconds
