"""Where time comes from: the only module that reads the clock."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and waiting, so that tests and the twin can supply their own."""

    def now(self) -> float:
        """Returns Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Returns Unix seconds."""
        return time.time()  # noqa: TID251 - this is the one place.

    async def sleep(self, seconds: float) -> None:
        """Waits in real time."""
        await asyncio.sleep(seconds)
