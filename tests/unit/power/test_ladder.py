import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.power import plain
from wattkeeper.api.readings import Rung
from wattkeeper.power.ladder import advance, domain_rung, rung_of_age


@pytest.mark.parametrize(
    ("age", "interval", "rung"),
    [
        (0.0, 15.0, Rung.FRESH),
        (45.0, 15.0, Rung.FRESH),
        (45.1, 15.0, Rung.FROZEN),
        (90.0, 15.0, Rung.FROZEN),
        (90.1, 15.0, Rung.TIGHTENED),
        (16.0, 5.0, Rung.FROZEN),
        (60.0, 5.0, Rung.FROZEN),
        (60.1, 5.0, Rung.TIGHTENED),
        (900.0, 15.0, Rung.TIGHTENED),
        (900.1, 15.0, Rung.ABSENT),
        (1000.0, 300.0, Rung.FROZEN),
        (np.inf, 15.0, Rung.ABSENT),
        (np.nan, 15.0, Rung.ABSENT),
    ],
)
def test_a_rung_follows_from_age_and_interval(age: float, interval: float, rung: Rung) -> None:
    assert rung_of_age(np.array([age]), np.array([interval])).tolist() == [rung]


def climb(start: int, steps: list[tuple[int, bool]]) -> list[int]:
    rung, streak = np.array([start]), np.array([0])
    seen: list[int] = []
    for age_rung, sampled in steps:
        rung, streak = advance(rung, streak, np.array([age_rung]), np.array([sampled]))
        seen.append(int(rung[0]))
    return seen


def test_three_fresh_samples_in_a_row_lead_back() -> None:
    assert climb(Rung.ABSENT, [(0, True), (0, True), (0, True)]) == [3, 3, 0]


def test_ticks_without_a_new_sample_do_not_count() -> None:
    assert climb(Rung.FROZEN, [(0, True), (0, False), (0, False), (0, True), (0, True)]) == [1, 1, 1, 1, 0]


def test_a_late_sample_begins_the_count_again() -> None:
    assert climb(Rung.FROZEN, [(0, True), (0, True), (1, False), (0, True), (0, True), (0, True)]) == [1, 1, 1, 1, 1, 0]


def test_readings_that_get_less_old_alone_lead_nowhere() -> None:
    assert climb(Rung.TIGHTENED, [(1, True), (1, True), (1, True), (1, True)]) == [2, 2, 2, 2]


def test_a_fresh_node_falls_at_once() -> None:
    assert climb(Rung.FRESH, [(2, False)]) == [2]


def test_one_of_five_late_nodes_leaves_a_domain_fresh() -> None:
    rungs, domains = np.array([3, 0, 0, 0, 0]), np.zeros((5, 1), dtype=np.int64)
    assert domain_rung(rungs, domains, 2).tolist() == [Rung.FRESH, Rung.FRESH]


def test_two_of_nine_late_nodes_pull_a_domain_down_to_the_rung_that_both_have() -> None:
    rungs, domains = np.array([3, 1, 0, 0, 0, 0, 0, 0, 0]), np.zeros((9, 1), dtype=np.int64)
    assert domain_rung(rungs, domains, 1).tolist() == [Rung.FROZEN]


@given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 2))), max_size=12))
def test_domains_stand_where_the_plain_version_puts_them(nodes: list[tuple[int, set[int]]]) -> None:
    rungs = np.array([rung for rung, _ in nodes], dtype=np.int64)
    padded = [sorted(names) + [-1] * (3 - len(names)) for _, names in nodes]
    domains = np.array(padded, dtype=np.int64).reshape(len(nodes), 3)
    expected = [plain.domain_rung([rung for rung, _ in nodes], padded, domain) for domain in range(3)]
    assert domain_rung(rungs, domains, 3).tolist() == expected
