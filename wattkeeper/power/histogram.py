"""Decaying histograms of watts, many at once, and their percentiles.

As in the Vertical Pod Autoscaler's recommender (kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender/util,
histogram and decaying histogram): buckets grow by 5 % each, a sample's weight halves every half-life, and a percentile
is the upper end of the bucket that it falls into. Bucket n begins at

    first * (ratio^n - 1) / (ratio - 1)

and instead of shrinking old weights, a new one is multiplied by 2^((t - reference) / half-life).
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats, Ints

FIRST_WATTS = 1.0
RATIO = 1.05
BUCKETS = 144
_MAX_HALF_LIVES = 8.0

# float64[BUCKETS + 1], where each bucket begins, and where the last one ends (about 22 kW).
EDGES: Floats = FIRST_WATTS * (np.power(RATIO, np.arange(BUCKETS + 1, dtype=np.float64)) - 1.0) / (RATIO - 1.0)


def bucket_of(watts: Floats) -> Ints:
    """Returns the bucket of each value (>= 0): int64 of the same shape."""
    index = np.floor(np.log(watts * (RATIO - 1.0) / FIRST_WATTS + 1.0) / np.log(RATIO)).astype(np.int64)
    return np.clip(index, 0, BUCKETS - 1)


def percentiles(weights: Floats, share: float, first: int = 0) -> Floats:
    """Returns the percentile of each histogram, NaN for an empty one.

    Args:
        weights: float64[B, ...], of the buckets from `first` on; those left out before and behind are empty.
        share: in (0, 1].
        first: number of the first bucket.

    Returns:
        float64[...], watts.
    """
    cumulative = np.cumsum(weights, axis=0)
    total = cumulative[-1]
    below = np.count_nonzero(cumulative < share * total, axis=0)
    return np.where(total > 0.0, EDGES[first + below + 1], np.nan)


class Decay:
    """The clock of decaying weights."""

    def __init__(self, half_life_seconds: float, reference_time: float = 0.0) -> None:
        self._half_life_seconds = half_life_seconds
        self.reference_time = reference_time

    def factor(self, time: Floats) -> Floats:
        """Returns what a weight of 1 at each time (Unix seconds) counts."""
        lives = (time - self.reference_time) / self._half_life_seconds
        return np.exp2(np.clip(lives, -60.0, 60.0))

    def shift(self, now: float) -> float:
        """Moves the reference when it is far behind; returns the factor for all weights so far (1 when it did not)."""
        lives = (now - self.reference_time) / self._half_life_seconds
        # Never backwards: with a clock that was set back, old samples keep what they weigh.
        if lives <= _MAX_HALF_LIVES:
            return 1.0
        self.reference_time = now
        return float(np.exp2(-min(lives, 1000.0)))
