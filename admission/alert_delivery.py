"""Tells every sink what the book says it has not been told: one task each, so that none waits for another.

Nothing is queued here. What is to be told is what the book holds and has not been told, which is bounded; a sink that
fails is tried again, later each time, until it has been told or the book gives up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from admission.alert_book import AlertBook, Notice
from admission.alert_metrics import AlertMetrics
from admission.alert_post import Outcome
from wattkeeper.cluster.clock import Clock

LOG = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 120.0
LONGEST_ASKED_SECONDS: Final = 600.0
"""What a server's Retry-After may ask for."""


class Teller(Protocol):
    """How one sink is told."""

    def due(self, book: AlertBook) -> Sequence[Notice]:
        """Returns what to tell now, nothing if there is nothing."""
        ...

    async def tell(self, notices: Sequence[Notice]) -> Outcome:
        """Tells it, once. Raises nothing."""
        ...


class _Lane:
    """One sink: who tells it, what is under way, and when to try again."""

    def __init__(self, name: str, teller: Teller) -> None:
        self.name = name
        self.teller = teller
        self.task: asyncio.Task[None] | None = None
        self.not_before = float("-inf")
        self.failures = 0
        self.said = ""

    @property
    def idle(self) -> bool:
        return self.task is None or self.task.done()


class AlertDelivery:
    """Tells sinks."""

    def __init__(self, clock: Clock, metrics: AlertMetrics, *, leads: Callable[[], bool]) -> None:
        """Tells nobody yet.

        Args:
            clock: the only source of time.
            metrics: what becomes of notices.
            leads: whether this replica is the one that tells; asked before each request.
        """
        self._clock = clock
        self._metrics = metrics
        self._leads = leads
        self._lanes: dict[str, _Lane] = {}

    def use(self, tellers: Mapping[str, Teller]) -> None:
        """Takes up who is to be told. A sink whose teller is the same goes on as it was."""
        for name, lane in list(self._lanes.items()):
            if tellers.get(name) is not lane.teller:
                if lane.task is not None:
                    lane.task.cancel()
                del self._lanes[name]
        for name, teller in tellers.items():
            self._lanes.setdefault(name, _Lane(name, teller))

    def pump(self, book: AlertBook) -> None:
        """Starts telling whoever has something to hear and may be tried. Returns at once."""
        now = self._clock.now()
        for lane in self._lanes.values():
            # A clock that was set back must not keep a sink waiting.
            patient = lane.not_before - LONGEST_ASKED_SECONDS <= now < lane.not_before
            if lane.idle and not patient and lane.teller.due(book):
                lane.task = asyncio.create_task(self._tell(lane, book), name=f"alerts to {lane.name}")

    async def settle(self, seconds: float) -> None:
        """Waits for what is under way, then cuts off what is left."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, lane: _Lane, book: AlertBook) -> None:
        while self._leads() and (notices := lane.teller.due(book)):
            try:
                outcome = await lane.teller.tell(notices)
            except Exception as error:  # A defect must cost neither the notice nor the lane.
                LOG.exception("alerts to sink %s", lane.name)
                outcome = Outcome(result="failed", why=f"a defect ({type(error).__name__})")
            if outcome.result == "failed":
                self._failed(lane, outcome)
                return
            for notice in notices:
                book.tell(lane.name, notice)
            if outcome.result == "sent":
                self._metrics.sent.labels(lane.name).inc()
                self._works(lane)
            else:
                self._metrics.dropped.labels(lane.name, outcome.result).inc(len(notices))
                LOG.warning("alert sink %s will not hear of %s: %s", lane.name, _named(notices), outcome.why)

    def _failed(self, lane: _Lane, outcome: Outcome) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(lane.failures, 16), LONGEST_PAUSE_SECONDS)
        pause = max(pause, min(outcome.retry_after_seconds, LONGEST_ASKED_SECONDS))
        lane.failures += 1
        lane.not_before = self._clock.now() + pause
        self._metrics.failed.labels(lane.name).inc()
        if lane.said != outcome.why:
            lane.said = outcome.why
            LOG.warning("alert sink %s: %s; it is tried again", lane.name, outcome.why)

    def _works(self, lane: _Lane) -> None:
        if lane.failures:
            LOG.info("alert sink %s works again", lane.name)
        lane.failures, lane.not_before, lane.said = 0, float("-inf"), ""


def _named(notices: Sequence[Notice]) -> str:
    names = sorted({notice.entry.alert.name for notice in notices})
    return f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''}"
