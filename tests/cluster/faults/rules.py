"""Faults, and the rules that say which requests they befall."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.faults.asked import Asked, Which

_REASONS = {
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The proxy answers instead of the API server, which gets nothing.

    Attributes:
        status: HTTP status of 400 or above.
        retry_after: seconds, as a header, None to leave it out.
        reason: of the metav1.Status; the usual one by default.
    """

    status: int
    retry_after: int | None = None
    reason: str = ""

    def body(self) -> dict[str, object]:
        """Returns the metav1.Status."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "injected by the fault proxy",
            "reason": self.reason or _REASONS.get(self.status, ""),
            "code": self.status,
        }


@dataclass(frozen=True, kw_only=True)
class Break:
    """The connection breaks before the API server gets the request. A watch that runs breaks off."""


@dataclass(frozen=True, kw_only=True)
class LoseAnswer:
    """The API server does what is asked, and the connection breaks before its answer."""


@dataclass(frozen=True, kw_only=True)
class Hang:
    """A half-open socket: no answer comes, and the connection stays. A watch that runs falls silent.

    Attributes:
        reaches: the API server gets the request, and does what is asked.
    """

    reaches: bool = False


@dataclass(frozen=True, kw_only=True)
class Expire:
    """A watch is told in its stream that it cannot go on: an ERROR event with code 410."""


@dataclass(frozen=True, kw_only=True)
class Delay:
    """The request is passed on late.

    Attributes:
        seconds: how late.
    """

    seconds: float


Fault = Answer | Break | LoseAnswer | Hang | Expire | Delay
RUNNING = (Break, Hang, Expire)
"""Faults that befall watches which run already; the others meet requests as they come."""


class Rule:
    """One fault while it is in force. Tests and the proxy's thread share it."""

    def __init__(self, fault: Fault, which: Which, times: int | None) -> None:
        """Takes the fault, whom it befalls, and how often; None for as long as it is in force."""
        self.fault = fault
        self._which = which
        self._left = times
        self._lock = threading.Lock()
        self._hit: list[Asked] = []
        self._lifted = False

    @property
    def hit(self) -> tuple[Asked, ...]:
        """The requests that it has befallen."""
        with self._lock:
            return tuple(self._hit)

    def befalls(self, asked: Asked) -> bool:
        """Says whether the fault befalls a request, and counts it."""
        with self._lock:
            if self._lifted or self._left == 0 or not self._which(asked):
                return False
            if self._left is not None:
                self._left -= 1
            self._hit.append(asked)
            return True

    def lift(self) -> None:
        """Ends the rule. What hangs goes on hanging: a half-open socket does not mend."""
        with self._lock:
            self._lifted = True

    async def wait_hit(self, count: int = 1, *, timeout_seconds: float = 30.0) -> None:
        """Waits until the fault has befallen so many requests."""

        async def enough() -> bool:
            return len(self.hit) >= count

        await wait_for(
            enough,
            what=f"{self.fault} has befallen {count} requests",
            timeout_seconds=timeout_seconds,
            describe=lambda: "\n".join(map(str, self.hit)),
        )
