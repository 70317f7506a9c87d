"""What usage history says about one container: the numbers that new pods' requests come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wattkeeper.api.readings import ServiceKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """One resource, in cores or bytes. lower <= target <= upper; the bounds narrow as confidence grows."""

    target: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One container of one service, over all of its pods.

    Attributes:
        cpu: cores.
        memory: bytes; target and upper are at least load_peak_bytes.
        load_peak_bytes: the most memory seen while a pod of it was loading; 0 if none was seen.
        confidence_days: days' worth of samples behind it.
    """

    cpu: Range
    memory: Range
    load_peak_bytes: float
    confidence_days: float


class Estimates(Protocol):
    """Answers from memory."""

    def estimate(self, service: ServiceKey, container: str) -> Estimate | None:
        """Returns what is known of a container; None while nothing is."""
        ...
