"""Waits for something to become true by asking again, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.cluster.controlplane.errors import DeadlineError

T = TypeVar("T")


async def wait_for(
    probe: Callable[[], Awaitable[T]],
    *,
    what: str,
    timeout_seconds: float = 30.0,
    every_seconds: float = 0.1,
    describe: Callable[[], str] | None = None,
) -> T:
    """Asks until the answer is truthy.

    Args:
        probe: the question; exceptions pass through.
        what: names the condition in the error.
        timeout_seconds: how long to go on asking; the probe runs at least once, and once more after the deadline.
        every_seconds: pause between two questions.
        describe: words that explain a failure, asked for only then.

    Returns:
        The first truthy answer.

    Raises:
        DeadlineError: no answer was truthy in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        late = time.monotonic() >= deadline
        answer = await probe()
        if answer:
            return answer
        if late:
            detail = f"\n{describe()}" if describe else ""
            raise DeadlineError(f"not within {timeout_seconds:g} s: {what}; the last answer was {answer!r}{detail}")
        await asyncio.sleep(every_seconds)
