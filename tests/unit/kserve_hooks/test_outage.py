"""Silence is an outage after several failures and some seconds; an answer ends it after some more."""

from __future__ import annotations

from kserve_hooks.outage import Outage, OutageOptions

OPTIONS = OutageOptions(failures=3, down_seconds=5.0, up_seconds=10.0)


def told(outage: Outage, *seen: tuple[float, bool]) -> str:
    for now, answered in seen:
        outage.observe(now, answered=answered)
    return outage.answering


def test_nothing_is_believed_before_enough_was_seen() -> None:
    assert told(Outage(OPTIONS), (0.0, True), (9.0, True)) == "unknown"
    assert told(Outage(OPTIONS), (0.0, False), (4.0, False), (4.5, False)) == "unknown"


def test_an_outage_takes_several_failures_however_far_apart() -> None:
    outage = Outage(OPTIONS)
    assert told(outage, (0.0, False), (60.0, False)) == "unknown"
    assert told(outage, (61.0, False)) == "no"


def test_one_answer_makes_failures_start_anew() -> None:
    assert told(Outage(OPTIONS), (0.0, False), (3.0, False), (4.0, True), (6.0, False), (8.0, False)) == "unknown"


def test_an_outage_is_over_when_all_were_answered_for_long_enough() -> None:
    outage = Outage(OPTIONS)
    assert told(outage, (0.0, False), (3.0, False), (6.0, False), (8.0, True), (17.0, True)) == "no"
    assert told(outage, (18.0, True)) == "yes"
