import math

from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.power.readers import rates

finite = st.floats(0, 1e9)


@given(st.lists(st.one_of(finite, st.just(math.nan)), min_size=1, max_size=20))
def test_no_counter_gives_a_negative_rate(values: list[float]):
    points = [(float(at), value) for at, value in enumerate(values)]
    for part in (rates.per_second(points), rates.while_advancing(points)):
        assert math.isnan(part.value) or part.value >= 0.0


@given(st.floats(0.1, 1e4), st.integers(3, 20), st.integers(1, 60))
def test_an_even_counter_gives_its_rate(rate: float, count: int, spacing: int):
    points = [(1000.0 + spacing * at, rate * spacing * at) for at in range(count)]
    assert math.isclose(rates.per_second(points).value, rate)
    assert math.isclose(rates.while_advancing(points).value, rate)


def test_a_counter_that_stands_still_gives_0_for_pods_and_nothing_for_machines():
    points = [(0.0, 7.0), (5.0, 7.0)]
    assert rates.per_second(points).value == 0.0
    assert math.isnan(rates.while_advancing(points).value)


def test_spacing_and_steps():
    points = [(float(at), float(at // 3)) for at in range(15)]
    assert rates.spacing_seconds(points) == 1.0
    assert rates.step_seconds(points) == 3.0
    assert math.isnan(rates.spacing_seconds(points[:2]))
    assert math.isnan(rates.step_seconds(points[:3]))
