"""How sinks are told: each on its own, again when it fails, and never more than the book holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

import pytest
from prometheus_client import CollectorRegistry

from admission.alert_book import AlertBook, Notice
from admission.alert_delivery import LONGEST_ASKED_SECONDS, LONGEST_PAUSE_SECONDS, AlertDelivery
from admission.alert_metrics import AlertMetrics
from admission.alert_post import Outcome
from tests.unit.admission.alert_samples import fact
from tests.unit.admission.samples import NOW
from tests.unit.scaler.hand_clock import HandClock, settle

SENT = Outcome(result="sent")
FAILED = Outcome(result="failed", why="HTTP status 500")


class Scripted:
    """A sink that answers as a test says, the last answer for ever; None hangs."""

    def __init__(self, name: str, *answers: Outcome | Exception | None) -> None:
        self.name = name
        self.answers = list(answers) or [SENT]
        self.heard: list[tuple[str, str]] = []
        self.under_way = 0

    def due(self, book: AlertBook) -> Sequence[Notice]:
        return list(islice(book.notices(self.name), 1))

    async def tell(self, notices: Sequence[Notice]) -> Outcome:
        self.heard += [(one.entry.alert.identity["budget"], one.state) for one in notices]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            self.under_way += 1
            await asyncio.Event().wait()
            raise AssertionError
        return answer


class Room:
    """A delivery to two sinks, and a book with alerts for both."""

    def __init__(self) -> None:
        self.clock = HandClock(NOW)
        self.registry = CollectorRegistry()
        self.leads = True
        self.delivery = AlertDelivery(self.clock, AlertMetrics(self.registry), leads=lambda: self.leads)
        self.book = AlertBook(keep_seconds=60.0)

    def use(self, *sinks: Scripted) -> None:
        self.delivery.use({sink.name: sink for sink in sinks})

    def alerts(self, *budgets: str) -> None:
        self.book.update([fact(budget, hold=0.0) for budget in budgets], self.clock.now())
        self.book.address(lambda _: ("chat", "pager"))

    async def pump(self, seconds: float = 0.0) -> None:
        await self.clock.forward(seconds)
        self.delivery.pump(self.book)
        await settle()

    def count(self, what: str, sink: str = "chat", **labels: str) -> float:
        name = f"wattkeeper_alert_notifications_{what}_total"
        return self.registry.get_sample_value(name, {"sink": sink, **labels}) or 0.0


@pytest.fixture
def room() -> Room:
    return Room()


async def test_everything_is_told_once(room: Room) -> None:
    chat, pager = Scripted("chat"), Scripted("pager")
    room.use(chat, pager)
    room.alerts("a", "b")
    await room.pump()
    await room.pump()
    assert chat.heard == pager.heard == [("a", "firing"), ("b", "firing")]
    assert room.count("sent") == 2.0


async def test_a_sink_that_fails_is_tried_again_later_each_time_and_loses_nothing(room: Room) -> None:
    chat = Scripted("chat", FAILED, FAILED, FAILED, SENT)
    room.use(chat)
    room.alerts("a")
    waits = [0.0, 0.9, 0.1, 1.9, 0.1, 3.9, 0.1]
    tried: list[int] = []
    for wait in waits:
        await room.pump(wait)
        tried.append(len(chat.heard))
    assert tried == [1, 1, 2, 2, 3, 3, 4]
    assert (room.count("failed"), room.count("sent")) == (3.0, 1.0)


async def test_pauses_grow_to_two_minutes_and_no_further(room: Room) -> None:
    chat = Scripted("chat", FAILED)
    room.use(chat)
    room.alerts("a")
    for _ in range(20):
        await room.pump(LONGEST_PAUSE_SECONDS)
    assert len(chat.heard) == 20


async def test_a_sink_says_itself_when_to_come_again_within_reason(room: Room) -> None:
    busy = Outcome(result="failed", why="HTTP status 429", retry_after_seconds=30.0)
    absurd = Outcome(result="failed", why="HTTP status 429", retry_after_seconds=999_999.0)
    chat = Scripted("chat", busy, absurd, SENT)
    room.use(chat)
    room.alerts("a")
    await room.pump()
    await room.pump(29.0)
    assert len(chat.heard) == 1
    await room.pump(1.0)
    await room.pump(LONGEST_ASKED_SECONDS - 1.0)
    assert len(chat.heard) == 2
    await room.pump(1.0)
    assert len(chat.heard) == 3


async def test_a_sink_that_hangs_keeps_no_other_waiting_and_is_asked_once(room: Room) -> None:
    chat, pager = Scripted("chat", None), Scripted("pager")
    room.use(chat, pager)
    room.alerts("a", "b")
    for _ in range(5):
        await room.pump(100.0)
    assert chat.under_way == 1
    assert len(pager.heard) == 2
    await room.delivery.settle(0.0)


async def test_what_a_sink_refuses_is_dropped_counted_and_keeps_nothing_else_back(room: Room) -> None:
    chat = Scripted("chat", Outcome(result="refused", why="HTTP status 400"), SENT)
    room.use(chat)
    room.alerts("a", "b")
    await room.pump()
    assert chat.heard == [("a", "firing"), ("b", "firing")]
    assert room.count("dropped", reason="refused") == 1.0
    assert room.count("sent") == 1.0


async def test_a_defect_costs_no_alert(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    chat = Scripted("chat", RuntimeError("https://hooks/s3cr3t"), SENT)
    room.use(chat)
    room.alerts("a")
    with caplog.at_level(logging.WARNING, logger="admission.alert_delivery"):
        await room.pump()
    await room.pump(1.0)
    assert chat.heard == [("a", "firing"), ("a", "firing")]
    assert room.count("sent") == 1.0


async def test_nobody_is_told_by_a_replica_that_leads_no_more(room: Room) -> None:
    chat = Scripted("chat")
    room.use(chat)
    room.alerts("a")
    room.leads = False
    await room.pump()
    assert chat.heard == []


async def test_a_sink_that_stays_goes_on_and_one_that_goes_is_cut_off(room: Room) -> None:
    chat, pager = Scripted("chat", None), Scripted("pager", FAILED)
    room.use(chat, pager)
    room.alerts("a")
    await room.pump()
    room.use(pager)
    await room.pump(0.5)
    assert len(pager.heard) == 1, "its pause goes on"
    await room.delivery.settle(0.0)


async def test_the_same_failure_is_logged_once(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.use(Scripted("chat", FAILED, FAILED, FAILED, SENT))
    room.alerts("a")
    with caplog.at_level(logging.INFO, logger="admission.alert_delivery"):
        for _ in range(6):
            await room.pump(10.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_clock_that_was_set_back_keeps_no_sink_waiting(room: Room) -> None:
    chat = Scripted("chat", FAILED, SENT)
    room.clock = HandClock(NOW + 1_000_000.0)
    room.delivery = AlertDelivery(room.clock, AlertMetrics(CollectorRegistry()), leads=lambda: True)
    room.use(chat)
    room.alerts("a")
    await room.pump()
    await room.clock.forward(-1_000_000.0)
    await room.pump()
    assert len(chat.heard) == 2


async def test_stopping_waits_for_what_is_under_way_and_cuts_off_what_hangs(room: Room) -> None:
    chat = Scripted("chat", None)
    room.use(chat)
    room.alerts("a")
    await room.pump()
    await room.delivery.settle(0.01)
    room.use(Scripted("chat"))
    assert [one.state for one in room.book.notices("chat")] == ["firing"], "it was not told, so it is told again"
