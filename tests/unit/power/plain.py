"""Slow, plain versions of what the power room computes with arrays."""

from __future__ import annotations

FIRST_WATTS, RATIO = 1.0, 1.05


def bucket_end(watts: float) -> float:
    """The end of the bucket that holds a value: buckets begin at 0, 1, 2.05, ..., each 5 % wider than the last."""
    start, width = 0.0, FIRST_WATTS
    while not start <= watts < start + width:
        start, width = start + width, width * RATIO
    return start + width


def percentile(samples: list[tuple[float, float, float]], share: float, now: float, half_life: float) -> float:
    """Of (watts, seconds, time) samples whose weight halves each half-life."""
    weights: dict[float, float] = {}
    for watts, seconds, time in samples:
        end = bucket_end(watts)
        weights[end] = weights.get(end, 0.0) + seconds * 0.5 ** ((now - time) / half_life)
    total, reached = sum(weights.values()), 0.0
    for end in sorted(weights):
        reached += weights[end]
        if reached >= share * total:
            return end
    raise AssertionError("no samples")


def domain_rung(rungs: list[int], domains: list[list[int]], domain: int) -> int:
    """The worst rung that more than a fifth of a domain's nodes stand on, or worse."""
    inside = [rung for rung, names in zip(rungs, domains, strict=True) if domain in names]
    return max((rung for rung in range(4) if rung == 0 or 5 * sum(r >= rung for r in inside) > len(inside)), default=0)
