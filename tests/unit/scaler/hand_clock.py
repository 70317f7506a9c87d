"""A clock that tests move."""

from __future__ import annotations

import asyncio


class HandClock:
    """Time stands still until it is moved; sleepers wake when their time has come."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    async def forward(self, seconds: float) -> None:
        """Moves time on, and lets everything that was due run."""
        end = self._now + seconds
        await settle()
        while due := sorted((at, number) for number, (at, _) in enumerate(self._sleepers) if at <= end):
            at, number = due[0]
            _, future = self._sleepers.pop(number)
            self._now = max(self._now, at)
            if not future.done():
                future.set_result(None)
            await settle()
        self._now = end
        await settle()


async def settle() -> None:
    """Lets everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
