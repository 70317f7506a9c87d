"""From the two parts that exporters show, CPU and GPU, to the three meters a budget can be counted in."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats

# Axes of power_budget.METERS, and of the parts of a draw.
WALL, NODE, GPU = 0, 1, 2
CPU_PART, GPU_PART = 0, 1


def by_meter(parts: Floats, loss_factor: float) -> Floats:
    """Returns what parts of a draw are in each meter.

    Args:
        parts: float64[2, ...], CPU and GPU watts.
        loss_factor: watts at the supplies per watt inside.

    Returns:
        float64[3, ...]: (cpu + gpu) * loss_factor, cpu + gpu, gpu.
    """
    result = np.empty((3, *parts.shape[1:]))
    result[NODE] = parts[CPU_PART] + parts[GPU_PART]
    result[WALL] = result[NODE] * loss_factor
    result[GPU] = parts[GPU_PART]
    return result
