"""Which value makes the Horizontal Pod Autoscaler end at, or below, a number of replicas.

With an external metric of type AverageValue and target 1, Kubernetes 1.36
(pkg/controller/podautoscaler/replica_calculator.go, GetExternalPerPodMetricReplicas) computes

    ratio    = value / (1 * current)
    replicas = current      where 1 - scale-down tolerance <= ratio <= 1 + scale-up tolerance
               ceil(value)  otherwise

`current` is the scale target's status.replicas, also where it differs from spec.replicas. Inside the tolerance the HPA
thus *sets* the current count, even if that is above what it is told. KEDA hands values over in whole thousandths, cut
off (KEDA 2.21 pkg/scalers/scaler.go, GenerateMetricInMili).
"""

from __future__ import annotations

import math
from typing import Final

DEFAULT_TOLERANCE: Final = 0.1
_MILLI: Final = 1000


def value_to_tell(*, wanted: int, current: int, tolerance: float) -> float:
    """Returns the value that brings the HPA to `wanted` replicas, or as near below as its tolerance allows.

    Args:
        wanted: replicas that may run.
        current: the scale target's status.replicas.
        tolerance: the scale-down tolerance in force, as a fraction (0.1 is 10 %).

    Returns:
        `wanted`, except where the HPA would ignore it as too small a step down: then the largest value, in
        thousandths, that it acts on. A tolerance of 1 or more makes the HPA ignore every step down: then nothing that
        is told helps, and `wanted` comes back.

    >>> value_to_tell(wanted=12, current=20, tolerance=0.1)
    12.0
    >>> value_to_tell(wanted=19, current=20, tolerance=0.1)
    17.999
    >>> value_to_tell(wanted=19, current=20, tolerance=0.0)
    19.0
    """
    if wanted >= current or tolerance >= 1.0 or _acts(wanted * _MILLI, current, tolerance):
        return float(wanted)
    thousandths = math.ceil((1.0 - tolerance) * current * _MILLI)
    while thousandths > 0 and not _acts(thousandths, current, tolerance):
        thousandths -= 1
    return _exact(thousandths)


def _acts(thousandths: int, current: int, tolerance: float) -> bool:
    """Says whether the HPA lowers replicas at this value, in its own floating-point steps."""
    ratio = float(thousandths) / (float(_MILLI) * float(current))
    return ratio < 1.0 - tolerance


def _exact(thousandths: int) -> float:
    """Returns a float that KEDA's cut to thousandths turns into exactly this number of them."""
    value = thousandths / _MILLI
    return value if int(value * _MILLI) == thousandths else math.nextafter(value, math.inf)
