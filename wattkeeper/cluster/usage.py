"""What pods use right now, as metrics.k8s.io tells it."""

from __future__ import annotations

from dataclasses import dataclass

from wattkeeper.api.readings import PodKey


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerUsage:
    """One container.

    Attributes:
        cores: CPU cores, averaged over the window.
        memory_bytes: the working set; NaN where only CPU is known, as CPU is where only memory is.
    """

    name: str
    cores: float
    memory_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PodUsage:
    """One pod.

    Attributes:
        timestamp: Unix seconds, the end of the window.
        window_seconds: what CPU was averaged over.
    """

    key: PodKey
    timestamp: float
    window_seconds: float
    containers: tuple[ContainerUsage, ...]
