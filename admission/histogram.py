"""Decaying histograms of usage, one per container, and their percentiles: the Vertical Pod Autoscaler's, as arrays.

Every rule here has its source in kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender, named where it stands.
How weights decay is the same for watts and usage, and so it is taken from there (wattkeeper.power.histogram.Decay):
instead of shrinking old weights, a new one is multiplied by 2^((time - reference) / half-life).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from wattkeeper.api.readings import Floats, Ints

HALF_LIFE_SECONDS: Final = 86_400.0
"""A sample counts half after a day (model/aggregations_config.go: Default{CPU,Memory}HistogramDecayHalfLife)."""

GROWTH: Final = 1.05
"""Each bucket is 5 % wider than the one before (model/aggregations_config.go: DefaultHistogramBucketSizeGrowth)."""

_DUST: Final = 1e-9
"""What subtraction leaves of a bucket by rounding, as a share of what was subtracted."""


class Buckets:
    """Where buckets begin and end.

    Bucket n begins at `first * (growth^n - 1) / (growth - 1)`, and there are as many as reach `most` (util/
    histogram_options.go: NewExponentialHistogramOptions). There, one more takes everything beyond; here, what lies
    beyond the last bucket is no usage of a container and is not for a histogram.
    """

    def __init__(self, *, first: float, most: float) -> None:
        """Lays them out.

        Args:
            first: width of the first bucket.
            most: the last bucket holds this value.
        """
        self.count: Final = math.ceil(math.log(most * (GROWTH - 1.0) / first + 1.0) / math.log(GROWTH))
        edges: Floats = first * (np.power(GROWTH, np.arange(self.count + 1, dtype=np.float64)) - 1.0) / (GROWTH - 1.0)
        self.starts: Final = edges[:-1]
        self.ends: Final = edges[1:]
        self.limit: Final = float(edges[-1])

    def of(self, values: Floats) -> Ints:
        """Returns the bucket of each value in [0, limit): int64 of the same shape."""
        return np.searchsorted(self.starts, values, side="right").astype(np.int64) - 1


CPU_BUCKETS: Final = Buckets(first=0.01, most=1000.0)
"""Cores (model/aggregations_config.go, cpuHistogramOptions: "the smallest bucket size of 0.01 core, max of 1000.0
cores"). 175 buckets."""

MEMORY_BUCKETS: Final = Buckets(first=1e7, most=1e12)
"""Bytes (the same place, memoryHistogramOptions: "the smallest bucket size of 10MB, max of 1TB"). 175 buckets."""


class SparseWeights(NamedTuple):
    """N histograms without their empty buckets, M of which are left, row after row.

    Attributes:
        counts: int64[N], how many of the M each row has.
        buckets: int64[M].
        weights: float64[M], positive.
    """

    counts: Ints
    buckets: Ints
    weights: Floats


class Histograms:
    """Histograms with the same buckets, a row each. Values lie in [0, buckets.limit), weights are not negative."""

    def __init__(self, buckets: Buckets) -> None:
        self.buckets: Final = buckets
        self._weights = np.zeros((0, buckets.count))

    def grow(self, rows: int) -> None:
        """Makes room for so many rows; new ones are empty."""
        more = rows - len(self._weights)
        self._weights = np.concatenate([self._weights, np.zeros((more, self.buckets.count))])

    def clear(self, rows: Ints) -> None:
        """Empties rows."""
        self._weights[rows] = 0.0

    def add(self, rows: Ints, buckets: Ints, weights: Floats) -> None:
        """Adds one weight to one bucket of each named row; a row may be named more than once."""
        np.add.at(self._weights, (rows, buckets), weights)

    def subtract(self, rows: Ints, buckets: Ints, weights: Floats) -> None:
        """Takes weights away again; a bucket never goes below zero.

        As util/histogram.go does in SubtractSample, what rounding leaves of a bucket goes with it. There the measure is
        a weight at the reference time, here a share of what is subtracted, so that a long unused histogram loses
        nothing.
        """
        np.subtract.at(self._weights, (rows, buckets), weights)
        left = self._weights[rows, buckets]
        self._weights[rows, buckets] = np.where(left > _DUST * weights, left, 0.0)

    def scale(self, factor: float) -> None:
        """Multiplies every weight: no percentile changes."""
        self._weights *= factor

    def percentiles(self, row: int, shares: Sequence[float]) -> tuple[float, ...]:
        """Returns percentiles of one row, NaN where it is empty.

        Each is the end of the first bucket up to which at least the share of all weight lies (util/histogram.go:
        Percentile, "Return the end of the bucket").

        Args:
            row: the histogram.
            shares: each in (0, 1].
        """
        cumulative = np.cumsum(self._weights[row])
        total = float(cumulative[-1])
        if total <= 0.0:
            return (math.nan,) * len(shares)
        found = np.searchsorted(cumulative, np.multiply(shares, total))
        return tuple(self.buckets.ends[found].tolist())

    def sparse(self, rows: Ints) -> SparseWeights:
        """Returns rows without their empty buckets."""
        weights = self._weights[rows]
        row, bucket = np.nonzero(weights)
        return SparseWeights(np.bincount(row, minlength=len(rows)), bucket.astype(np.int64), weights[row, bucket])

    def fill(self, sparse: SparseWeights) -> None:
        """Takes up what `sparse` returned, in the first rows, which must be empty."""
        row = np.repeat(np.arange(len(sparse.counts)), sparse.counts)
        self._weights[row, sparse.buckets] = sparse.weights
