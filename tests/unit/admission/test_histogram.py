from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.histogram import CPU_BUCKETS, HALF_LIFE_SECONDS, MEMORY_BUCKETS, Buckets, Histograms
from tests.unit.admission import plain_usage
from wattkeeper.api.readings import Floats, Ints
from wattkeeper.power.histogram import Decay

ROW = np.zeros(1, dtype=np.int64)
# Away from edges, where rounding may put a value to either side.
CORES = st.floats(0.0, 1_000.0).map(lambda cores: cores + 1e-4)
SAMPLES = st.lists(st.tuples(CORES, st.floats(0.1, 64.0), st.floats(0.0, 7 * HALF_LIFE_SECONDS)), min_size=1)
SHARES = st.floats(0.05, 0.999)


def empty(buckets: Buckets = CPU_BUCKETS, rows: int = 1) -> Histograms:
    histograms = Histograms(buckets)
    histograms.grow(rows)
    return histograms


def put(histograms: Histograms, cores: Floats, weights: Floats, row: int = 0) -> None:
    histograms.add(np.full(len(cores), row), histograms.buckets.of(cores), weights)


def filled(samples: list[tuple[float, float, float]]) -> Histograms:
    histograms = empty()
    values, weights, times = np.array(samples).T
    put(histograms, values, weights * Decay(HALF_LIFE_SECONDS).factor(times))
    return histograms


@pytest.mark.parametrize(("buckets", "first", "most"), [(CPU_BUCKETS, 0.01, 1e3), (MEMORY_BUCKETS, 1e7, 1e12)])
def test_buckets_grow_by_five_percent_from_the_first_to_the_most(buckets: Buckets, first: float, most: float) -> None:
    widths = buckets.ends - buckets.starts
    assert buckets.starts[0] == 0.0
    assert buckets.ends[0] == pytest.approx(first)
    np.testing.assert_allclose(widths[1:] / widths[:-1], 1.05)
    assert buckets.starts[-1] < most < buckets.limit


@given(cores=CORES)
def test_a_value_lies_in_its_bucket(cores: float) -> None:
    bucket = int(CPU_BUCKETS.of(np.array([cores]))[0])
    assert CPU_BUCKETS.starts[bucket] <= cores < CPU_BUCKETS.ends[bucket]
    assert CPU_BUCKETS.ends[bucket] == pytest.approx(plain_usage.bucket_end(cores, 0.01))


def test_an_empty_histogram_has_no_percentile() -> None:
    assert all(map(math.isnan, empty().percentiles(0, (0.5, 0.9))))


@given(samples=SAMPLES, share=SHARES)
def test_percentiles_are_those_of_the_plain_version(samples: list[tuple[float, float, float]], share: float) -> None:
    (found,) = filled(samples).percentiles(0, (share,))
    near = {plain_usage.percentile(samples, share + e, 0.01, HALF_LIFE_SECONDS) for e in (-1e-9, 0.0, 1e-9)}
    assert any(found == pytest.approx(value) for value in near)


@given(samples=SAMPLES, shares=st.lists(SHARES, min_size=2))
def test_percentiles_do_not_fall_as_the_share_rises(
    samples: list[tuple[float, float, float]], shares: list[float]
) -> None:
    found = filled(samples).percentiles(0, sorted(shares))
    assert list(found) == sorted(found)


@given(samples=SAMPLES, random=st.randoms(use_true_random=False), share=SHARES)
def test_the_order_of_samples_does_not_matter(
    samples: list[tuple[float, float, float]], random: Random, share: float
) -> None:
    other = list(samples)
    random.shuffle(other)
    one, two = filled(samples).sparse(ROW), filled(other).sparse(ROW)
    assert one.buckets.tolist() == two.buckets.tolist()
    np.testing.assert_allclose(one.weights, two.weights)


@given(samples=SAMPLES, lives=st.integers(1, 40))
def test_waiting_is_the_same_as_scaling_every_weight(samples: list[tuple[float, float, float]], lives: int) -> None:
    decay = Decay(HALF_LIFE_SECONDS)
    values, weights, times = np.array(samples).T
    later = empty()
    put(later, values, weights * decay.factor(times - lives * HALF_LIFE_SECONDS))
    scaled = filled(samples)
    scaled.scale(0.5**lives)
    np.testing.assert_allclose(later.sparse(ROW).weights, scaled.sparse(ROW).weights)
    assert later.percentiles(0, (0.5, 0.9, 0.95)) == scaled.percentiles(0, (0.5, 0.9, 0.95))


@given(samples=SAMPLES, taken=st.data())
def test_no_weight_is_ever_negative(samples: list[tuple[float, float, float]], taken: st.DataObject) -> None:
    histograms = filled(samples)
    values, weights, _ = np.array(samples).T
    share = taken.draw(st.floats(0.0, 2.0))
    rows: Ints = np.zeros(len(values), dtype=np.int64)
    histograms.subtract(rows, CPU_BUCKETS.of(values), weights * share)
    assert (histograms.sparse(ROW).weights > 0.0).all()


@given(samples=SAMPLES)
def test_what_is_added_and_taken_away_again_leaves_the_rest(samples: list[tuple[float, float, float]]) -> None:
    histograms = filled([(2.0, 1.0, 0.0)])
    values, weights, times = np.array(samples).T
    weights = weights * Decay(HALF_LIFE_SECONDS).factor(times)
    put(histograms, values, weights)
    histograms.subtract(np.zeros(len(values), dtype=np.int64), CPU_BUCKETS.of(values), weights)
    sparse = histograms.sparse(ROW)
    assert sparse.weights[sparse.buckets == CPU_BUCKETS.of(np.array([2.0]))[0]] == pytest.approx(1.0, abs=1e-6)
    assert sparse.weights.sum() == pytest.approx(1.0, abs=1e-6)


def test_rows_do_not_touch_each_other() -> None:
    histograms = empty(rows=2)
    put(histograms, np.array([1.0]), np.array([1.0]), row=1)
    assert math.isnan(histograms.percentiles(0, (0.9,))[0])
    histograms.clear(np.array([0]))
    assert histograms.percentiles(1, (0.9,))[0] >= 1.0


def test_a_histogram_comes_back_without_its_empty_buckets() -> None:
    histograms = empty(rows=3)
    put(histograms, np.array([0.5, 7.0]), np.array([1.0, 3.0]), row=0)
    put(histograms, np.array([70.0]), np.array([2.0]), row=2)
    sparse = histograms.sparse(np.array([2, 1, 0]))
    assert sparse.counts.tolist() == [1, 0, 2]
    again = empty(rows=3)
    again.fill(sparse)
    assert again.percentiles(2, (0.2, 0.9)) == histograms.percentiles(0, (0.2, 0.9))
    assert again.percentiles(0, (0.9,)) == histograms.percentiles(2, (0.9,))
