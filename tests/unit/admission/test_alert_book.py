"""When alerts begin and end, and who is told what, over restarts too."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.alert import Alert, Fact
from admission.alert_book import PATIENCE_SECONDS, AlertBook
from admission.errors import AlertsUnreadableError
from tests.unit.admission.alert_samples import alert, fact
from tests.unit.admission.samples import NOW

KEEP = 60.0


def to_all(_: Alert) -> Collection[str]:
    return ("chat", "pager")


def tell(book: AlertBook, sink: str = "chat") -> list[tuple[str, str]]:
    """Tells a sink everything, and returns what it heard."""
    heard: list[tuple[str, str]] = []
    while notice := next(book.notices(sink), None):
        heard.append((notice.entry.alert.identity["budget"], notice.state))
        book.tell(sink, notice)
    return heard


def at(book: AlertBook, seconds: float, *facts: Fact) -> None:
    book.update(facts, NOW + seconds)
    book.address(to_all)


@pytest.fixture
def book() -> AlertBook:
    return AlertBook(keep_seconds=KEEP)


def restarted(book: AlertBook) -> AlertBook:
    return AlertBook.decoded(book.encode(), keep_seconds=KEEP)


def test_a_fact_alerts_once_it_has_held_for_long_enough(book: AlertBook) -> None:
    at(book, 59.0, fact())
    assert tell(book) == []
    at(book, 60.0, fact())
    assert tell(book) == [("row-a", "firing")]
    at(book, 65.0, fact())
    assert tell(book) == []


def test_a_blip_does_not_alert(book: AlertBook) -> None:
    at(book, 30.0, fact())
    at(book, 35.0)
    at(book, 90.0, fact(since=NOW + 80.0))
    assert tell(book) == []


def test_it_starts_when_the_fact_had_held_for_long_enough_not_when_that_was_seen(book: AlertBook) -> None:
    at(book, 500.0, fact())
    (entry,) = book.active
    assert entry.starts_at == NOW + 60.0


def test_an_alert_is_over_once_its_fact_has_been_gone_for_long_enough(book: AlertBook) -> None:
    at(book, 60.0, fact())
    at(book, 70.0)
    at(book, 129.0)
    assert tell(book) == [("row-a", "firing")]
    at(book, 130.0)
    assert tell(book) == [("row-a", "resolved")]


def test_a_fact_that_comes_back_in_time_keeps_its_alert_though_it_has_to_begin_anew(book: AlertBook) -> None:
    at(book, 60.0, fact())
    at(book, 70.0)
    at(book, 100.0, fact(since=NOW + 99.0))
    at(book, 131.0, fact(since=NOW + 99.0))
    assert tell(book) == [("row-a", "firing")]
    assert len(book.active) == 1


def test_an_alert_that_comes_again_is_told_again(book: AlertBook) -> None:
    at(book, 60.0, fact())
    at(book, 70.0)
    at(book, 130.0)
    at(book, 300.0, fact(since=NOW + 200.0))
    assert tell(book) == [("row-a", "firing"), ("row-a", "resolved"), ("row-a", "firing")]


def test_a_sink_that_was_out_of_reach_hears_of_what_came_and_went(book: AlertBook) -> None:
    at(book, 60.0, fact())
    at(book, 70.0)
    at(book, 130.0)
    assert book.forget({"chat", "pager"}, NOW + 130.0 + PATIENCE_SECONDS / 2) == []
    assert tell(book) == [("row-a", "firing"), ("row-a", "resolved")]


def test_who_cannot_be_told_within_an_hour_of_the_end_is_given_up(book: AlertBook) -> None:
    at(book, 60.0, fact())
    tell(book, "pager")
    at(book, 70.0)
    at(book, 130.0)
    tell(book, "pager")
    assert book.forget({"chat", "pager"}, NOW + 70.0 + PATIENCE_SECONDS) == ["chat"]
    assert tell(book) == []


def test_an_alert_that_lasts_is_never_given_up(book: AlertBook) -> None:
    at(book, 60.0, fact())
    at(book, 1_000_000.0, fact())
    assert book.forget({"chat"}, NOW + 1_000_000.0) == []
    assert tell(book) == [("row-a", "firing")]


def test_a_sink_that_is_no_longer_meant_hears_only_that_it_is_over(book: AlertBook) -> None:
    at(book, 60.0, fact(), fact("row-b"))
    notice = next(book.notices("chat"))
    book.tell("chat", notice)
    book.address(lambda _: ("pager",))
    assert tell(book) == []
    book.update((), NOW + 70.0)
    book.update((), NOW + 130.0)
    assert tell(book) == [("row-a", "resolved")]


def test_sinks_that_are_gone_keep_no_alert(book: AlertBook) -> None:
    at(book, 60.0, fact())
    tell(book)
    at(book, 70.0)
    at(book, 130.0)
    assert book.forget({"pager"}, NOW + 131.0) == []
    tell(book, "pager")
    book.forget({"pager"}, NOW + 131.0)
    assert b"row-a" not in book.encode()


def test_a_book_that_is_full_takes_no_more_and_counts_each_that_waits_once() -> None:
    book = AlertBook(keep_seconds=KEEP, most=2)
    facts = [fact(f"row-{number}") for number in range(5)]
    for tick in range(3):
        at(book, 60.0 + tick, *facts)
    assert (len(book.active), book.refused) == (2, 3)
    at(book, 70.0, *facts[2:])
    at(book, 130.0, *facts[2:])
    tell(book)
    tell(book, "pager")
    book.forget({"chat", "pager"}, NOW + 130.0)
    at(book, 131.0, *facts[2:])
    assert tell(book) == [("row-2", "firing"), ("row-3", "firing")]


def test_what_matters_most_finds_room_among_many_that_matter_less() -> None:
    book = AlertBook(keep_seconds=KEEP, most=10)
    many = [fact(f"row-{number}", severity="info") for number in range(20)]
    at(book, 60.0, *many)
    assert len(book.active) == 9
    at(book, 61.0, *many, fact("site"))
    assert ("site", "firing") in tell(book)


def test_figures_follow_while_the_alert_lasts(book: AlertBook) -> None:
    at(book, 60.0, fact(figures={"over_watts": "1"}))
    book.changed = False
    at(book, 65.0, fact(figures={"over_watts": "2"}))
    (entry,) = book.active
    assert entry.alert.figures == {"over_watts": "2"}
    assert not book.changed, "figures move all the time, and are no reason to write"


def test_a_clock_that_was_set_back_ends_no_alert_early_and_keeps_none_for_ever(book: AlertBook) -> None:
    at(book, 600.0, fact())
    at(book, 610.0)
    at(book, 10.0)
    at(book, 69.0)
    assert len(book.active) == 1
    at(book, 70.0)
    (notice,) = [one for one in book.notices("chat") if one.entry.ends_at is not None]
    assert notice.entry.ends_at is not None
    assert notice.entry.ends_at >= notice.entry.starts_at, "Alertmanager refuses what ends before it starts"


def test_a_restart_repeats_nothing_and_forgets_nothing(book: AlertBook) -> None:
    at(book, 60.0, fact())
    assert tell(book) == [("row-a", "firing")]
    book = restarted(book)
    at(book, 65.0, fact())
    assert tell(book) == []
    assert tell(book, "pager") == [("row-a", "firing")]
    at(book, 70.0)
    book = restarted(book)
    at(book, 130.0)
    assert tell(restarted(book)) == [("row-a", "resolved")]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"version":2,"active":[],"ended":[]}'])
def test_what_is_no_book_is_not_read(data: bytes) -> None:
    with pytest.raises(AlertsUnreadableError):
        AlertBook.decoded(data, keep_seconds=KEEP)


@dataclass(frozen=True)
class Tick:
    """Attributes: what holds, seconds since the last one, whether each sink can be told, whether it restarts before."""

    holds: frozenset[int]
    seconds: float
    reachable: bool
    restarts: bool


TICKS = st.lists(
    st.builds(
        Tick,
        holds=st.frozensets(st.integers(0, 3)),
        seconds=st.sampled_from([1.0, 5.0, 40.0, 100.0]),
        reachable=st.booleans(),
        restarts=st.booleans(),
    ),
    max_size=40,
)


def life(ticks: list[Tick], *, with_restarts: bool) -> list[tuple[int, str, str]]:
    """Returns what a sink hears at which tick; facts carry the time since when they hold without a break."""
    book, now, since, heard = AlertBook(keep_seconds=KEEP), NOW, dict[int, float](), list[tuple[int, str, str]]()
    for number, tick in enumerate(ticks):
        if tick.restarts and with_restarts:
            book = restarted(book)
        now += tick.seconds
        since = {which: since.get(which, now) for which in tick.holds}
        book.update([fact(f"row-{which}", since=since[which], hold=30.0) for which in sorted(since)], now)
        book.address(lambda _: ("chat",))
        if tick.reachable:
            heard += [(number, *one) for one in tell(book)]
        book.forget({"chat"}, now)
    return heard


@given(TICKS)
def test_restarts_change_nothing_of_what_is_heard(ticks: list[Tick]) -> None:
    assert life(ticks, with_restarts=True) == life(ticks, with_restarts=False)


@given(TICKS)
def test_every_sink_hears_start_and_end_in_turn(ticks: list[Tick]) -> None:
    heard = life(ticks, with_restarts=True)
    for which in range(4):
        states = [state for _, budget, state in heard if budget == f"row-{which}"]
        assert states == ["firing", "resolved"] * (len(states) // 2) + ["firing"] * (len(states) % 2)


@given(TICKS)
def test_what_holds_in_the_end_was_heard_and_what_does_not_is_over(ticks: list[Tick]) -> None:
    still = frozenset({0, 1})
    end = [Tick(holds=still, seconds=100.0, reachable=True, restarts=False)] * 3
    heard = life([*ticks, *end], with_restarts=True)
    last = {budget: state for _, budget, state in heard}
    assert {budget for budget, state in last.items() if state == "firing"} == {f"row-{which}" for which in still}


@given(TICKS, st.integers(1, 3))
def test_a_book_never_holds_more_than_it_may(ticks: list[Tick], most: int) -> None:
    book, now = AlertBook(keep_seconds=KEEP, most=most), NOW
    for tick in ticks:
        now += tick.seconds
        book.update([fact(f"row-{which}", hold=0.0) for which in sorted(tick.holds)], now)
        book.address(lambda _: ("chat",))
        if tick.reachable:
            tell(book)
        book.forget({"chat"}, now)
        kept = json.loads(book.encode())
        assert len(kept["active"]) + len(kept["ended"]) <= most


def test_an_alert_may_be_about_what_carries_any_text(book: AlertBook) -> None:
    at(book, 60.0, Fact(alert=alert("ünïcode \u2028 \x00"), since=NOW, hold_seconds=0.0))
    assert [one.alert for one in restarted(book).active] == [one.alert for one in book.active]
