"""How long a service is left alone after writes for it got no answer, or were told to come back later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wattkeeper.cluster.errors import UnreachableError

_LONGEST_SECONDS: Final = 15.0
"""Of a pause that nobody asked for: once the API server is back, a cut waits no longer than this."""
_LONGEST_ASKED_SECONDS: Final = 60.0
_FORGET_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failures:
    count: int
    until: float


class Patience:
    """Remembers failures in a row, by the key of the plan.

    The first one is tried again with the next pass, the others after pauses that double: an API server in trouble must
    not hear from every service with every pass. What it asks for by Retry-After is the least.
    """

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def waits(self, key: str, now: float) -> bool:
        """Says whether a service is left alone at this time (Unix seconds)."""
        found = self._failures.get(key)
        return found is not None and now < found.until

    def failed(self, key: str, error: UnreachableError, now: float) -> None:
        """Notes a failure."""
        known = self._failures.get(key)
        count = 1 if known is None else known.count + 1
        pause = 0.0 if count == 1 else min(2.0 ** min(count - 1, 10), _LONGEST_SECONDS)
        asked = min(error.retry_after_seconds or 0.0, _LONGEST_ASKED_SECONDS)
        self._failures[key] = _Failures(count=count, until=now + max(pause, asked))

    def answered(self, key: str) -> None:
        """Forgets the failures of a service whose writes are answered again."""
        self._failures.pop(key, None)

    def forget(self, now: float) -> None:
        """Forgets failures of long ago: the service, or what it needed, is gone."""
        self._failures = {key: one for key, one in self._failures.items() if now < one.until + _FORGET_SECONDS}
