"""What every algorithm is: a pure function of a Snapshot."""

from __future__ import annotations

from typing import Protocol

from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import Snapshot


class Algorithm(Protocol):
    """Shares watts out.

    It keeps nothing between calls but the bytes it returns in Plan.state, changes no array it was given, and
    gives the same plan for the same snapshot.
    """

    def decide(self, snapshot: Snapshot) -> Plan:
        """Proposes grants. Raises ValueError for a snapshot that it cannot serve."""
        ...
