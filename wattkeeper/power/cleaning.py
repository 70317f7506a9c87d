"""What may pass for a reading: nothing that is NaN, infinite, negative or from the future."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats

# Clocks of nodes and of the source of readings differ by less.
_CLOCK_SKEW_SECONDS = 5.0
_USUAL_INTERVAL_SECONDS = 30.0
# No pod requests more GPUs or cores; beyond it sums could overflow.
_MOST_REQUESTED = 1e6
_MOST_LOAD = 100.0
# A sample's time is computed from ages, so it carries rounding errors of floats of 1e9.
SAME_SAMPLE_SECONDS = 1e-3


def ages(age_seconds: Floats) -> Floats:
    """Returns ages >= 0, inf for those that mean nothing."""
    usable = age_seconds >= -_CLOCK_SKEW_SECONDS
    return np.where(usable, np.maximum(age_seconds, 0.0), np.inf)


def watts(values: Floats) -> Floats:
    """Returns watts >= 0, NaN for those that mean nothing."""
    return np.where(np.isfinite(values) & (values >= 0.0), values, np.nan)


def drawn(values: Floats) -> Floats:
    """Returns watts > 0, NaN for others: no machine that runs draws 0 W (exporters say 0 before their first sample)."""
    return np.where(np.isfinite(values) & (values > 0.0), values, np.nan)


def intervals(interval_seconds: Floats) -> Floats:
    """Returns sampling intervals > 0; a common one where none is known."""
    usable = np.isfinite(interval_seconds) & (interval_seconds > 0.0)
    return np.where(usable, interval_seconds, _USUAL_INTERVAL_SECONDS)


def remembered(stamps: Floats, now: float) -> Floats:
    """Returns times of samples (Unix seconds) without those that a clock which was set back has left in the future."""
    return np.where(stamps <= now + _CLOCK_SKEW_SECONDS, stamps, -np.inf)


def loads(values: Floats) -> Floats:
    """Returns loads (1 = full) of at most 100, NaN for those that mean nothing."""
    return np.where((values >= 0.0) & (values <= _MOST_LOAD), values, np.nan)


def gaps(stamps: Floats, before: Floats) -> Floats:
    """Returns seconds >= 0 between two samples, inf where there was no earlier one."""
    both = np.isfinite(stamps) & np.isfinite(before)
    return np.where(both, np.maximum(stamps - np.where(both, before, 0.0), 0.0), np.inf)


def amounts(values: Floats) -> Floats:
    """Returns requested amounts >= 0, 0 for those that mean nothing."""
    return np.where(np.isfinite(values) & (values > 0.0), np.minimum(values, _MOST_REQUESTED), 0.0)
