"""What can go wrong in the twin.

SimulationError
├── ImpossibleFixtureError   a scenario that no real cluster could be in
├── TraceError               a trace file that cannot be read
└── UnusablePatchError       a webhook answered with a patch that does not fit its object
"""

from __future__ import annotations


class SimulationError(Exception):
    """Root of this room's errors."""


class ImpossibleFixtureError(SimulationError):
    """Objects that no real cluster could hold: what is shown with them would prove nothing."""


class TraceError(SimulationError):
    """A trace cannot be read; the message names file, line and field."""


class UnusablePatchError(SimulationError):
    """A webhook's patch cannot be applied; the message names operation and path."""
