"""Virtual time in steps.

Every task that waits in `sleep` is a participant until it ends. Time stands still while any participant works, and when
all of them wait it jumps to the earliest wake-up. They are woken one at a time, in the order of their moments, then of
their rank, then of their turn: so a slow machine computes the same story as a fast one. Whatever is not a participant
(gRPC and HTTP handlers, deadlines of calls) lives in real time, in which virtual time does not move as long as the
participant that asked waits for its answer.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

# Rounds of the event loop that pass between "all wait" and the next wake-up: tasks that were created a moment ago, and
# the callbacks of those that have ended, get their turn before time moves.
_SETTLING_ROUNDS: Final = 4
_UNRANKED: Final = 1_000


@dataclass(order=True, slots=True)
class _Sleeper:
    moment: float
    rank: int
    turn: int
    task: asyncio.Task[Any] = field(compare=False)
    woken: asyncio.Future[None] = field(compare=False)


class SteppedClock:
    """A Clock whose seconds take no time."""

    def __init__(self, start: float) -> None:
        """Stands still at `start` (Unix seconds) until somebody waits."""
        self._now = start
        self._turn = 0
        self._sleepers: list[_Sleeper] = []
        self._ranks: dict[asyncio.Task[Any], int] = {}
        self._working: set[asyncio.Task[Any]] = set()
        self._holds = 0
        self._settling = False

    def now(self) -> float:
        """Returns Unix seconds."""
        return self._now

    def start(self, work: Coroutine[Any, Any, None], *, name: str, rank: int) -> asyncio.Task[None]:
        """Starts a task that takes part from its beginning, when its turn comes.

        Where several wake, or begin, at the same moment, the lower rank goes first.
        """
        task = asyncio.get_running_loop().create_task(self._in_turn(work), name=name)
        self._join(task, rank)
        return task

    async def sleep(self, seconds: float) -> None:
        """Waits until virtual time has come that far. The calling task is a participant from now on."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("sleep needs a task: there is nothing else that could wait")
        if task not in self._ranks:
            self._join(task, _UNRANKED)
        self._turn += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        moment = self._now + max(seconds, 0.0)
        heapq.heappush(self._sleepers, _Sleeper(moment, self._ranks[task], self._turn, task, woken))
        self._working.discard(task)
        self._settle()
        try:
            await woken
        finally:
            self._working.add(task)  # One that was cancelled was not woken by the clock.

    @contextmanager
    def hold(self) -> Generator[None]:
        """Keeps time still meanwhile, whoever waits: for putting things together."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._settle()

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self.sleep(0.0)
        except BaseException:
            work.close()  # It was cancelled before it began.
            raise
        await work

    def _join(self, task: asyncio.Task[Any], rank: int) -> None:
        self._ranks[task] = rank
        self._working.add(task)
        task.add_done_callback(self._leave)

    def _leave(self, task: asyncio.Task[Any]) -> None:
        self._ranks.pop(task, None)
        self._working.discard(task)
        self._settle()

    def _settle(self) -> None:
        if not self._settling and not self._working and not self._holds:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._round, _SETTLING_ROUNDS)

    def _round(self, left: int) -> None:
        if left and not self._working and not self._holds:
            asyncio.get_running_loop().call_soon(self._round, left - 1)
            return
        self._settling = False
        if self._working or self._holds:
            return
        while self._sleepers:
            sleeper = heapq.heappop(self._sleepers)
            if not sleeper.woken.done():  # A cancelled wait is done already.
                self._now = sleeper.moment
                self._working.add(sleeper.task)
                sleeper.woken.set_result(None)
                return
