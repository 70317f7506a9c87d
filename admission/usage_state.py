"""Everything that the usage model has learned, as plain columns: what is kept over a restart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from admission.histogram import SparseWeights
from wattkeeper.api.readings import Floats, Ints, ServiceKey


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceState:
    """P containers of single pods (admission.usage_instances).

    Attributes:
        digests: 8 bytes each, of the pod's UID and the container's name.
        series: int64[P], index of the series.
        last: int64[P], Unix seconds of the last sample, rounded up.
        window_end: int64[P], Unix seconds, 0 for none.
        peak: int64[P], bucket of the window's memory peak, -1 for none.
    """

    digests: bytes
    series: Ints
    last: Ints
    window_end: Ints
    peak: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageState:
    """N series: containers of services.

    Attributes:
        time: Unix seconds of the youngest sample.
        services: services and their containers; series are numbered in this order.
        first, last: float64[N], Unix seconds of the first and the last sample.
        minutes: float64[N], what samples amount to.
        cpu, memory: histograms; a weight of 1 is that of a sample at `time`.
        load_bytes, load_days: float64[N, 14] and int32[N, 14], as admission.load_peaks has them.
        instances: what is known of single pods.
    """

    time: float
    services: tuple[tuple[ServiceKey, tuple[str, ...]], ...]
    first: Floats
    last: Floats
    minutes: Floats
    cpu: SparseWeights
    memory: SparseWeights
    load_bytes: Floats
    load_days: npt.NDArray[np.int32]
    instances: InstanceState

    @property
    def containers(self) -> int:
        """How many series there are."""
        return sum(len(containers) for _, containers in self.services)

    def earlier(self, seconds: float) -> UsageState:
        """Returns the same, as if everything had happened this much earlier."""
        whole = int(seconds)
        days = whole // 86_400
        instances = self.instances
        return replace(
            self,
            time=self.time - seconds,
            first=self.first - seconds,
            last=self.last - seconds,
            # A day's place in the ring is its number modulo the ring's length.
            load_bytes=np.roll(self.load_bytes, -days, axis=1),
            load_days=np.roll(self.load_days - np.int32(days), -days, axis=1),
            instances=replace(
                instances,
                last=instances.last - whole,
                window_end=np.where(instances.window_end > 0, instances.window_end - whole, 0),
            ),
        )
