import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.readings import ServiceKey
from wattkeeper.recommender.demand import DemandWindow, whole_demand

KEYS = (ServiceKey("llm", "Deployment", "chat"),)
OTHER = ServiceKey("llm", "Deployment", "code")


def feed(window: DemandWindow, values: list[float], *, seconds: float, every: float = 5.0) -> list[float]:
    return [
        float(window.stabilised(KEYS, np.array([value]), np.array([seconds]), now=tick * every)[0])
        for tick, value in enumerate(values)
    ]


def test_demand_rises_at_once() -> None:
    assert feed(DemandWindow(), [1, 7], seconds=300) == [1, 7]


def test_demand_is_rounded_up_but_not_for_rounding_noise() -> None:
    assert feed(DemandWindow(), [2.1, 3.0000000001], seconds=0) == [3, 3]


def test_demand_falls_only_after_its_window() -> None:
    assert feed(DemandWindow(), [9, 2, 2, 2], seconds=12) == [9, 9, 9, 2]


def test_without_a_window_demand_falls_at_once() -> None:
    assert feed(DemandWindow(), [9, 2], seconds=0) == [9, 2]


def test_ticks_closer_than_the_grain_are_not_forgotten() -> None:
    assert feed(DemandWindow(), [9, 2, 2, 2], seconds=60, every=1.0) == [9, 9, 9, 9]


def test_demand_that_is_unknown_now_is_unknown() -> None:
    assert np.isnan(feed(DemandWindow(), [9, float("nan")], seconds=60)[1])


def test_memory_follows_services_by_name() -> None:
    window = DemandWindow()
    feed(window, [9], seconds=60)
    both = window.stabilised((OTHER, *KEYS), np.array([1.0, 2.0]), np.array([60.0, 60.0]), now=10.0)
    assert both.tolist() == [1, 9]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 100))
def test_the_answer_is_never_below_what_is_asked_for_now(values: list[float], seconds: float) -> None:
    answers = feed(DemandWindow(), values, seconds=seconds)
    assert all(answer >= value - 1e-6 for answer, value in zip(answers, values, strict=True))


def whole(stabilised: float, last: float, *, active: int, committed: int) -> tuple[int, bool]:
    demand, known = whole_demand(
        np.array([stabilised]),
        np.array([last]),
        active=np.array([active]),
        committed=np.array([committed]),
        floor=np.array([1]),
        ceiling=np.array([10]),
    )
    return int(demand[0]), bool(known[0])


@pytest.mark.parametrize(
    ("stabilised", "last", "active", "expected"),
    [
        (5.0, 5.0, 2, (5, True)),
        (50.0, 50.0, 2, (10, True)),
        (0.0, 0.0, 2, (1, True)),
        (float("nan"), 7.0, 2, (4, False)),  # Unknown: what is committed stands in.
        (float("nan"), 7.0, 0, (7, True)),  # No replica to measure: the last known demand holds.
        (float("nan"), float("nan"), 0, (4, False)),
    ],
)
def test_demand_in_whole_replicas(stabilised: float, last: float, active: int, expected: tuple[int, bool]) -> None:
    assert whole(stabilised, last, active=active, committed=4) == expected
