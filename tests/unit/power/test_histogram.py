import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.power import plain
from wattkeeper.power.histogram import BUCKETS, EDGES, Decay, bucket_of, percentiles

HALF_LIFE = 86_400.0


def test_buckets_grow_by_five_percent_and_reach_beyond_any_server() -> None:
    widths = np.diff(EDGES)
    np.testing.assert_allclose(widths[1:] / widths[:-1], 1.05)
    assert EDGES[0] == 0.0
    assert EDGES[-1] > 20_000.0


def test_a_value_beyond_the_last_bucket_is_in_the_last() -> None:
    assert bucket_of(np.array([0.0, 1e12])).tolist() == [0, BUCKETS - 1]


def test_an_empty_histogram_has_no_percentile() -> None:
    assert np.isnan(percentiles(np.zeros((BUCKETS, 1)), 0.98)).all()


@given(
    samples=st.lists(
        st.tuples(st.floats(0.0, 15_000.0), st.floats(1.0, 60.0), st.floats(0.0, 10 * HALF_LIFE)),
        min_size=1,
        max_size=30,
    ),
    share=st.floats(0.05, 0.999),
)
def test_percentiles_are_those_of_the_plain_version(samples: list[tuple[float, float, float]], share: float) -> None:
    # Values on an edge may fall to either side by rounding.
    samples = [(watts + 1e-3, seconds, time) for watts, seconds, time in samples]
    decay = Decay(HALF_LIFE)
    weights = np.zeros(BUCKETS)
    for watts, seconds, time in samples:
        weights *= decay.shift(time)
        weights[bucket_of(np.array([watts]))] += seconds * decay.factor(np.array([time]))
    found = float(percentiles(weights, share))
    near = {plain.percentile(samples, share + error, 10 * HALF_LIFE, HALF_LIFE) for error in (-1e-9, 0.0, 1e-9)}
    assert any(found == pytest.approx(value) for value in near)


def test_half_of_the_weight_is_gone_after_a_half_life() -> None:
    factors = Decay(HALF_LIFE).factor(np.array([0.0, HALF_LIFE]))
    assert factors[1] == 2 * factors[0]


def test_moving_the_reference_changes_no_percentile() -> None:
    decay = Decay(HALF_LIFE)
    weights = np.zeros(BUCKETS)
    weights[20], weights[40] = decay.factor(np.array([0.0]))[0] * 3, decay.factor(np.array([0.0]))[0]
    before = percentiles(weights, 0.7)
    scale = decay.shift(9 * HALF_LIFE)
    assert scale < 1.0
    assert percentiles(weights * scale, 0.7) == before


def test_empty_buckets_may_be_left_out() -> None:
    weights = np.zeros((BUCKETS, 2))
    weights[20:25] = np.random.default_rng(1).random((5, 2))
    np.testing.assert_array_equal(percentiles(weights[18:30], 0.9, first=18), percentiles(weights, 0.9))
