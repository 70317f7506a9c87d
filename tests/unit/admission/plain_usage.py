"""Slow, plain versions of what the admission room computes with arrays."""

from __future__ import annotations


def bucket_end(value: float, first: float) -> float:
    """The end of the bucket that holds a value: buckets begin at 0, each 5 % wider than the last."""
    start, width = 0.0, first
    while not start <= value < start + width:
        start, width = start + width, width * 1.05
    return start + width


def percentile(samples: list[tuple[float, float, float]], share: float, first: float, half_life: float) -> float:
    """Of (value, weight, time) samples whose weight halves each half-life."""
    latest = max(time for _, _, time in samples)
    weights: dict[float, float] = {}
    for value, weight, time in samples:
        end = bucket_end(value, first)
        weights[end] = weights.get(end, 0.0) + weight * 0.5 ** ((latest - time) / half_life)
    total, reached = sum(weights.values()), 0.0
    for end in sorted(weights):
        reached += weights[end]
        if reached >= share * total:
            return end
    raise AssertionError("no samples")


def daily_peaks(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One container's (time, bytes), by time: the (end, peak) of each 24 h window, counted from its first sample."""
    peaks: list[tuple[float, float]] = []
    end = 0.0
    for time, value in samples:
        if not peaks or time >= end:
            end = time + 86_400.0 if not peaks else end
            while time >= end:
                end += 86_400.0
            peaks.append((end, value))
        else:
            peaks[-1] = (end, max(peaks[-1][1], value))
    return peaks
