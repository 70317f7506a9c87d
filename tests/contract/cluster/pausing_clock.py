"""A clock that a test turns: whoever waits on it waits until the test lets go."""

from __future__ import annotations

import asyncio


class PausingClock:
    """Attributes: time, and `pauses`, the waits asked for so far."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.pauses: list[float] = []
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        event = asyncio.Event()
        self._waiting.append((self.time + seconds, event))
        await event.wait()

    def advance(self, seconds: float) -> None:
        self.time += seconds
        for until, event in list(self._waiting):
            if until <= self.time:
                self._waiting.remove((until, event))
                event.set()
