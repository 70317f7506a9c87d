"""What may be set about readers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Zones = Literal["package+dram", "psys", "package"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderSettings:
    """Parameters that both readers share.

    Attributes:
        zones: RAPL zones that are summed. package and dram are apart, core and uncore lie inside package, psys holds
            the whole machine on laptops and some servers: never add it to the others.
        interval_seconds: how often sources are scraped; None: found out.
        window_seconds: what watts are averaged over; None: four intervals, the least that survives a lost scrape.
        deadline_seconds: a round ends after this, with what it has.
        node_cpu_limit_watts: readings of CPUs and memory are clamped to this (Kepler issues 1344 and 1851 show
            spikes of 9 kW and 300 kW).
        detect_seconds: how often it is found out anew which sources there are.
        incomplete_detect_seconds: the same while Kepler's or vLLM's series, or their interval, have not been found.
    """

    zones: Zones = "package+dram"
    interval_seconds: float | None = None
    window_seconds: float | None = None
    deadline_seconds: float = 4.0
    node_cpu_limit_watts: float = 3000.0
    detect_seconds: float = 300.0
    incomplete_detect_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing.

        Raises:
            ValueError: a duration or a limit is not positive and finite.
        """
        for name in (
            "interval_seconds",
            "window_seconds",
            "deadline_seconds",
            "node_cpu_limit_watts",
            "detect_seconds",
            "incomplete_detect_seconds",
        ):
            value: float | None = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{name} must be a positive number, not {value}")

    @property
    def zone_names(self) -> tuple[str, ...]:
        """The zones' names, as Kepler's labels have them."""
        return tuple(self.zones.split("+"))


WINDOW_INTERVALS = 4
"""Scrapes that a window must hold, so that one lost scrape leaves two steps to average."""
