"""Watts of nodes, GPUs and pods, second by second: what is true, whatever exporters say.

    inside = board + idle CPUs + idle GPUs + what pods draw on top
    wall   = inside * (losses, and fans that speed up with load)

A server of eight H100 with nothing on it draws about 2.4 kW at the wall, as the MLPerf Inference v4.1 power logs show
for one of eight H200.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from wattkeeper.api.readings import Floats, Ints
from wattkeeper.simulation.fleet import FleetRows
from wattkeeper.simulation.models import IDLE_GPU_WATTS, LOADED_GPU_WATTS, LOADING_GPU_WATTS

CPU_IDLE_WATTS: Final = 150.0
BOARD_WATTS: Final = 1485.0
LOSS_FACTOR: Final = 1.07
# At full load fans and supplies take this share more than when idle.
FAN_FACTOR: Final = 0.02
FAN_WATTS: Final = 8000.0
# A serving engine keeps some cores busy, a loading one many.
SERVING_CPU_WATTS_PER_GPU: Final = 12.0
LOADING_CPU_WATTS_PER_GPU: Final = 30.0
# Watts wander by this share from second to second, and remember most of it.
_NOISE: Final = 0.02
_MEMORY: Final = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Power:
    """One second: N nodes, P pods.

    Attributes:
        node_cpu, node_gpu, node_wall: float64[N], idle draw included; wall with board and losses.
        pod_cpu, pod_gpu: float64[P], on top of the node's idle draw.
    """

    node_cpu: Floats
    node_gpu: Floats
    node_wall: Floats
    pod_cpu: Floats
    pod_gpu: Floats


class Physics:
    """Turns batches into watts."""

    def __init__(self, gpus: Ints, seed: int) -> None:
        """Takes int64[N], GPUs of each node, and the noise's seed."""
        self._gpus = gpus.astype(np.float64)
        self._random = np.random.default_rng([seed, 23])
        self._node_noise = np.zeros(len(gpus))

    def watts(self, rows: FleetRows, batches: Floats) -> Power:
        """Returns one second's watts.

        Args:
            rows: pods that run.
            batches: float64[P], requests running in each.
        """
        count = len(self._gpus)
        # Noise belongs to nodes, so that its sequence does not depend on which pods there are.
        self._node_noise = _MEMORY * self._node_noise + self._random.normal(0.0, _NOISE, count) * np.sqrt(
            1.0 - _MEMORY**2
        )
        waiting = (LOADED_GPU_WATTS - IDLE_GPU_WATTS) * rows.gpus
        busy = np.minimum(batches, 1.0) * (rows.fixed - LOADED_GPU_WATTS * rows.gpus)
        serving = waiting + busy + rows.span * batches / (batches + rows.knee)
        gpu = np.where(rows.loading, (LOADING_GPU_WATTS - IDLE_GPU_WATTS) * rows.gpus, serving)
        cpu = np.where(
            rows.loading,
            LOADING_CPU_WATTS_PER_GPU * rows.gpus,
            SERVING_CPU_WATTS_PER_GPU * rows.gpus * np.minimum(batches / 16.0, 1.0),
        )
        wander = 1.0 + self._node_noise[rows.node]
        gpu, cpu = gpu * wander, cpu * wander
        node_gpu = IDLE_GPU_WATTS * self._gpus + np.bincount(rows.node, weights=gpu, minlength=count).astype(
            np.float64, copy=False
        )
        node_cpu = CPU_IDLE_WATTS + np.bincount(rows.node, weights=cpu, minlength=count).astype(np.float64, copy=False)
        return Power(
            node_cpu=node_cpu, node_gpu=node_gpu, node_wall=wall_watts(node_cpu + node_gpu), pod_cpu=cpu, pod_gpu=gpu
        )


def wall_watts(parts: Floats) -> Floats:
    """Returns what machines draw at the wall, from CPUs and GPUs: board, losses and fans added."""
    inside = parts + BOARD_WATTS
    return inside * (LOSS_FACTOR + FAN_FACTOR * inside / FAN_WATTS)
