"""What an algorithm proposes."""

from __future__ import annotations

from dataclasses import dataclass

from wattkeeper.api.readings import Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A proposal. Nothing acts on it before the guard has made a GuardedPlan of it.

    Attributes:
        grants: int64[S], replicas that each service may run.
        state: at most 64 KiB that the algorithm wants back next time.
    """

    grants: Ints
    state: bytes = b""
