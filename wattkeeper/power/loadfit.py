"""Watts over load: a fixed charge and a slope, fitted as samples come.

Weighted least squares with forgetting. Running means and moments of (x = load, y = watts):

    a = w / (n + w),  n = min(n + w, memory)
    mx += a dx,  my += a dy,  cxx = (1 - a)(cxx + a dx^2),  cxy = (1 - a)(cxy + a dx dy)
    slope = max(0, cxy / (cxx + ridge)),  y(x) = my + slope (x - mx)

A sample's weight is Huber's: 1 inside 2.5 mean absolute residuals, less in proportion beyond (Huber 1964).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Floats

_HUBER = 2.5
_RIDGE = 1e-3
_SETTLED = 5.0

FIT_COLUMNS = ("fit_count", "mean_load", "mean_watts", "load_variance", "covariance", "residual")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFit:
    """Fits of any shape: float64[...] each. All zeros is a fit without samples."""

    count: Floats
    mean_load: Floats
    mean_watts: Floats
    load_variance: Floats
    covariance: Floats
    residual: Floats

    def watts(self, load: Floats) -> Floats:
        """Returns watts >= 0 at a load; at the mean load where it is NaN."""
        slope = np.maximum(self.covariance / (self.load_variance + _RIDGE), 0.0)
        at = np.where(np.isfinite(load), load, self.mean_load)
        return np.maximum(self.mean_watts + slope * (at - self.mean_load), 0.0)

    def taught(self, load: Floats, watts: Floats, memory: float) -> LoadFit:
        """Returns the fits after one sample each.

        Where watts are NaN a fit stays as it was; an unknown load counts as the mean one.
        """
        known = np.isfinite(watts)
        y = np.where(known, watts, self.mean_watts)
        x = np.where(np.isfinite(load), load, self.mean_load)
        miss = np.abs(y - self.watts(x))
        limit = _HUBER * np.maximum(self.residual, 1.0)
        doubtful = (self.count >= _SETTLED) & (miss > limit)
        weight = np.where(known, np.where(doubtful, limit / np.maximum(miss, limit), 1.0), 0.0)
        share = weight / np.maximum(self.count + weight, 1e-9)
        dx, dy = x - self.mean_load, y - self.mean_watts
        first = self.count == 0.0
        # Not by the weight: where all samples miss, it is the fit that is wrong, and they must come to count.
        pace = 1.0 / (self.count + 1.0)
        spread = np.where(first, 0.05 * y, self.residual + pace * (np.minimum(miss, 4.0 * limit) - self.residual))
        return LoadFit(
            count=np.minimum(self.count + weight, memory),
            mean_load=self.mean_load + share * dx,
            mean_watts=self.mean_watts + share * dy,
            load_variance=np.where(first, 0.0, (1.0 - share) * (self.load_variance + share * dx * dx)),
            covariance=np.where(first, 0.0, (1.0 - share) * (self.covariance + share * dx * dy)),
            residual=np.where(known, spread, self.residual),
        )
