"""What a reader is, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wattkeeper.api.readings import Measurements, ServiceKey


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadRequest:
    """Queries of a round beyond what a reader always reads.

    Attributes:
        demands: (service, its policy's PromQL).
        meters: (budget's name, its meterQuery).
    """

    demands: tuple[tuple[ServiceKey, str], ...] = ()
    meters: tuple[tuple[str, str], ...] = ()


class Reader(Protocol):
    """Reads everything once per round."""

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        """Reads one round.

        Never raises for a source's failure: what could not be read is absent, with a sentence in `problems`. Returns
        within the settings' deadline.

        Args:
            request: the round's own queries.
            now: Unix seconds.
        """
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...
