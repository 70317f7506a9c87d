"""Measures a server beside one that does nothing: in one process, in turns, because what an answer costs at all depends
on the machine and its other work.

The servers run in a process of their own on one core, the client on another where there is one. Each is asked at an
even pace, every answer counted from the instant at which it was due, and flat out with some always in flight.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.perf.rows import Row, at_most

ROUNDS, PACED_SECONDS, FLAT_OUT_SECONDS, WARM_UP = 6, 2.0, 1.0, 500
IN_FLIGHT: Final = 16

# Asks once, for something of its own choice, and makes sure that it was answered.
Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one server."""

    p50_milliseconds: float
    p99_milliseconds: float
    per_second: float


def pin(core: int) -> None:
    """Keeps this process on one core where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def serving(*command: str) -> Generator[list[int]]:
    """Runs `python COMMAND`, which serves until its standard input ends, and yields the ports that it prints first."""
    pin(1)
    server = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with server:
        assert server.stdout is not None
        yield [int(port) for port in server.stdout.readline().split()]


async def until_closed(*ports: int) -> None:
    """The other side of `serving`: prints the ports, and returns when standard input ends."""
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def in_turns(asks: Sequence[Ask], *, per_second: int) -> list[Figures]:
    """Returns figures of each server, asked in turns, so that whatever else the machine does meets all of them."""
    for ask in asks:
        for _ in range(WARM_UP):
            await ask()
    taken: list[list[float]] = [[] for _ in asks]
    rates: list[list[float]] = [[] for _ in asks]
    for _ in range(ROUNDS):
        for place, ask in enumerate(asks):
            taken[place] += await _paced(ask, per_second)
            rates[place].append(await _flat_out(ask))
    return [
        Figures(
            p50_milliseconds=float(np.percentile(milliseconds, 50)),
            p99_milliseconds=float(np.percentile(milliseconds, 99)),
            per_second=float(np.median(rate)),
        )
        for milliseconds, rate in zip(taken, rates, strict=True)
    ]


def compared(
    ours: Figures,
    empty: Figures,
    *,
    what: str,
    among: str,
    beside: str,
    unit: str,
    per_second: int,
    aim_p99_milliseconds: float,
    command: str,
) -> list[Row]:
    """Returns every figure, and their ratios, as rows.

    Args:
        ours: what is measured.
        empty: what does nothing.
        what: names ours in ratios, such as "GetMetrics".
        among: names ours with its size.
        beside: names the empty one.
        unit: of rates, such as "calls/s".
        per_second: the even pace.
        aim_p99_milliseconds: what ours must meet.
        command: makes the rows again.
    """

    def plain(name: str, value: float, of: str) -> Row:
        return Row(name=name, value=round(value, 4), unit=of, command=command)

    return [
        at_most(f"{among}, {per_second}/s: p99", ours.p99_milliseconds, "ms", aim_p99_milliseconds, command),
        plain(f"{among}, {per_second}/s: p50", ours.p50_milliseconds, "ms"),
        plain(f"{among}: flat out", ours.per_second, unit),
        plain(f"{beside}, {per_second}/s: p99", empty.p99_milliseconds, "ms"),
        plain(f"{beside}, {per_second}/s: p50", empty.p50_milliseconds, "ms"),
        plain(f"{beside}: flat out", empty.per_second, unit),
        plain(f"{what} over empty handler: p99", ours.p99_milliseconds / empty.p99_milliseconds, "x"),
        plain(f"{what} over empty handler: p50", ours.p50_milliseconds / empty.p50_milliseconds, "x"),
        plain(f"{what} over empty handler: {unit}", ours.per_second / empty.per_second, "x"),
    ]


async def _paced(ask: Ask, per_second: int) -> list[float]:
    """Returns milliseconds of each answer, from when it was due."""
    taken: list[float] = []
    begin = time.perf_counter() + 0.1

    async def one(due: float) -> None:
        await ask()
        taken.append((time.perf_counter() - due) * 1000.0)

    async with asyncio.TaskGroup() as asked:
        for number in range(int(PACED_SECONDS * per_second)):
            due = begin + number / per_second
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            # The loop's own lateness in waking is the client's, not the server's.
            asked.create_task(one(max(due, time.perf_counter())))
    return taken


async def _flat_out(ask: Ask) -> float:
    """Returns answers a second with some always in flight."""
    end = time.perf_counter() + FLAT_OUT_SECONDS
    counts = [0] * IN_FLIGHT

    async def worker(place: int) -> None:
        while time.perf_counter() < end:
            await ask()
            counts[place] += 1

    begin = time.perf_counter()
    await asyncio.gather(*(worker(place) for place in range(IN_FLIGHT)))
    return sum(counts) / (time.perf_counter() - begin)
