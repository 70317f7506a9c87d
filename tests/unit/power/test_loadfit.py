import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.power.loadfit import FIT_COLUMNS, LoadFit


def fitted(points: list[tuple[float, float]], memory: float = 1_000.0) -> LoadFit:
    fit = LoadFit(**{("count" if name == "fit_count" else name): np.zeros(1) for name in FIT_COLUMNS})
    for load, watts in points:
        fit = fit.taught(np.array([load]), np.array([watts]), memory)
    return fit


def at(fit: LoadFit, load: float) -> float:
    return float(fit.watts(np.array([load]))[0])


def test_points_on_a_line_give_the_line() -> None:
    fit = fitted([(tick % 11 / 10, 120.0 + 400.0 * (tick % 11 / 10)) for tick in range(110)])
    assert at(fit, 0.0) == pytest.approx(120.0, rel=0.05)
    assert at(fit, 1.0) == pytest.approx(520.0, rel=0.05)


def test_watts_that_fall_with_load_give_no_slope() -> None:
    fit = fitted([(tick % 11 / 10, 500.0 - 100.0 * (tick % 11 / 10)) for tick in range(110)])
    assert at(fit, 0.0) == at(fit, 1.0)


def test_an_unknown_load_is_the_mean_one() -> None:
    fit = fitted([(0.2, 200.0), (0.8, 400.0)] * 20)
    assert at(fit, np.nan) == pytest.approx(300.0, rel=0.05)


def test_unknown_watts_teach_nothing() -> None:
    fit = fitted([(0.5, 300.0), (0.9, np.nan)])
    assert at(fit, 0.5) == 300.0
    assert fit.count.tolist() == [1.0]


def test_an_outlier_counts_little() -> None:
    points = [(0.5, 300.0 + (tick % 3)) for tick in range(50)]
    assert at(fitted([*points, (0.5, 9_000.0)]), 0.5) < 305.0


def test_a_change_that_lasts_is_followed() -> None:
    points = [(0.5, 300.0)] * 100 + [(0.5, 400.0)] * 400
    assert at(fitted(points, memory=50.0), 0.5) == pytest.approx(400.0, rel=0.05)


@given(st.lists(st.tuples(st.floats(0.0, 100.0) | st.just(np.nan), st.floats(0.0, 1e4)), min_size=1, max_size=40))
def test_watts_are_finite_and_never_negative(points: list[tuple[float, float]]) -> None:
    fit = fitted(points)
    for load in (0.0, 0.5, 1.0, 100.0, np.nan):
        assert 0.0 <= at(fit, load) < 1e8
