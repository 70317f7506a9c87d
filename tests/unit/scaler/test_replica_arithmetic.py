import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.replica_arithmetic import value_to_tell

REPLICAS = st.integers(min_value=0, max_value=5000)
TOLERANCES = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.2]), st.floats(min_value=0.0, max_value=0.99))


def told_by_keda(value: float) -> int:
    """Thousandths, as KEDA makes them: int64(value * 1000)."""
    return int(value * 1000)


def hpa_step(thousandths: int, current: int, *, down: float, up: float) -> int:
    """What the HPA does with an AverageValue metric of target 1, in Go's own floating-point steps."""
    if current == 0:
        return math.ceil(thousandths / 1000)
    ratio = float(thousandths) / (1000.0 * float(current))
    if 1.0 - down <= ratio <= 1.0 + up:
        return current
    return math.ceil(float(thousandths) / 1000.0)


@given(wanted=REPLICAS, current=REPLICAS, tolerance=TOLERANCES)
def test_the_hpa_never_ends_above_what_is_wanted_when_that_is_less_than_there_is(
    wanted: int, current: int, tolerance: float
) -> None:
    value = value_to_tell(wanted=wanted, current=current, tolerance=tolerance)
    ended = hpa_step(told_by_keda(value), current, down=tolerance, up=0.1)
    assert ended <= max(wanted, current)
    if wanted < current:
        assert ended <= wanted


@given(wanted=REPLICAS, current=REPLICAS)
def test_without_a_tolerance_the_hpa_ends_exactly_there(wanted: int, current: int) -> None:
    value = value_to_tell(wanted=wanted, current=current, tolerance=0.0)
    assert hpa_step(told_by_keda(value), current, down=0.0, up=0.0) == wanted


@given(wanted=REPLICAS, current=REPLICAS, tolerance=TOLERANCES)
def test_outside_of_the_tolerance_the_hpa_ends_exactly_there(wanted: int, current: int, tolerance: float) -> None:
    if current and 1.0 - tolerance <= wanted / current <= 1.1:
        return
    value = value_to_tell(wanted=wanted, current=current, tolerance=tolerance)
    assert hpa_step(told_by_keda(value), current, down=tolerance, up=0.1) == wanted


@given(wanted=REPLICAS, current=st.integers(min_value=1, max_value=5000), tolerance=TOLERANCES)
def test_inside_of_the_tolerance_no_larger_value_would_do(wanted: int, current: int, tolerance: float) -> None:
    value = value_to_tell(wanted=wanted, current=current, tolerance=tolerance)
    if wanted < current and value < wanted:
        assert hpa_step(told_by_keda(value) + 1, current, down=tolerance, up=0.1) == current


@given(wanted=REPLICAS, current=REPLICAS, told_tolerance=TOLERANCES, tolerance=TOLERANCES)
def test_a_value_for_a_wider_tolerance_than_is_in_force_never_ends_higher(
    wanted: int, current: int, told_tolerance: float, tolerance: float
) -> None:
    value = value_to_tell(wanted=wanted, current=current, tolerance=max(told_tolerance, tolerance))
    if wanted < current:
        assert hpa_step(told_by_keda(value), current, down=tolerance, up=0.1) <= wanted


@pytest.mark.parametrize(
    ("wanted", "current", "value", "ends"),
    [
        (19, 20, 17.999, 18),  # 18 itself is not below 90 % of 20.
        (10, 11, 9.899, 10),  # Ends exactly there all the same.
        (18, 20, 17.999, 18),
        (17, 20, 17.0, 17),
        (20, 19, 20.0, 19),  # A rise inside the tolerance is left to the HPA: it stays below.
        (0, 1, 0.0, 0),
        (3, 0, 3.0, 3),
    ],
)
def test_around_the_default_tolerance(wanted: int, current: int, value: float, ends: int) -> None:
    told = value_to_tell(wanted=wanted, current=current, tolerance=0.1)
    assert told == pytest.approx(value, abs=1e-9)
    assert hpa_step(told_by_keda(told), current, down=0.1, up=0.1) == ends


def test_a_tolerance_that_ignores_every_cut_gets_the_number_itself() -> None:
    assert value_to_tell(wanted=3, current=20, tolerance=1.0) == 3.0


@pytest.mark.parametrize("current", [*range(10), 10, 20, 999])
def test_one_replica_more_comes_out_exactly_where_the_tolerance_is_0_and_below_ten_anywhere(current: int) -> None:
    value = value_to_tell(wanted=current + 1, current=current, tolerance=0.1)
    assert hpa_step(told_by_keda(value), current, down=0.1, up=0.0) == current + 1
    with_default = hpa_step(told_by_keda(value), current, down=0.1, up=0.1)
    assert with_default == (current + 1 if current < 10 else current)
