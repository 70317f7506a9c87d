"""Quantiles followed sample by sample, without keeping samples."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats

_LEAST_STEP = 0.02
_LEAST_SPREAD_WATTS = 0.5


def track(quantile: Floats, spread: Floats, count: Floats, watts: Floats, share: float) -> tuple[Floats, Floats]:
    """Moves quantiles by one sample each.

    A step of stochastic approximation on the pinball loss (Robbins and Monro 1951; Koenker and Bassett 1978):

        q += step * spread * (share - [watts < q]),   step = max(1 / (count + 1), 0.02)

    with spread the running mean of |watts - q|, where one sample counts at most four spreads. A spike so moves
    a quantile by a bounded step, however high it is.

    Args:
        quantile: float64[n], NaN before the first sample.
        spread: float64[n], NaN before the first sample.
        count: float64[n], samples so far.
        watts: float64[n], the samples.
        share: which quantile.

    Returns:
        The new quantiles and spreads: float64[n] each.
    """
    first = ~np.isfinite(quantile) | ~np.isfinite(spread)
    step = np.maximum(1.0 / (count + 1.0), _LEAST_STEP)
    scale = np.maximum(np.where(first, 0.05 * watts, spread), _LEAST_SPREAD_WATTS)
    moved = quantile + step * scale * (share - (watts < quantile))
    error = np.minimum(np.abs(watts - quantile), 4.0 * scale)
    widened = np.where(first, scale, scale + step * (error - scale))
    return np.where(first, watts, np.maximum(moved, 0.0)), widened
