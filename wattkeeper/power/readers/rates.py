"""Counters turned into what they count per second, from the points of one window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence

from wattkeeper.power.readers.samples import Part, Point

Measure = Callable[[Sequence[Point]], Part]


def gauge(points: Sequence[Point]) -> Part:
    """Returns the last value."""
    when, value = points[-1]
    return Part(value, when, when)


def positive_gauge(points: Sequence[Point]) -> Part:
    """Returns the last value, unknown where it is 0: exporters say 0 W before their first measurement."""
    when, value = points[-1]
    return Part(value if value > 0.0 else math.nan, when, when)


def per_second(points: Sequence[Point]) -> Part:
    """Returns the mean rate of a counter that may stand still (a pod that does nothing).

    A step down is a reset (an exporter's restart, or a pod's counter begun anew): that step says nothing and is left
    out with its time, because what was counted since the reset cannot be told from a glitch.
    """
    gained = seconds = 0.0
    before, value_before = points[0]
    for when, value in points[1:]:
        if value >= value_before:
            gained += value - value_before
            seconds += when - before
        before, value_before = when, value
    return Part(gained / seconds if seconds > 0.0 else math.nan, before, before)


def while_advancing(points: Sequence[Point], *, least_changes: int = 1) -> Part:
    """Returns the rate of a counter that always advances (a machine's joules), over the time in which it did.

    Its timestamp is that of the last change: an exporter that answers with a frozen counter grows old. Where the
    exporter measures less often than it is scraped, the counter moves in steps; between first and last step the rate
    is exact, while the window's ends would cut steps off.

    Args:
        points: of one series.
        least_changes: with fewer the value is unknown. One change is enough for a counter that moves with every
            scrape, a counter that moves in steps needs two.
    """
    last_seen = points[-1][0]
    changes: list[Point] = []
    before = points[0]
    for point in points[1:]:
        if point[1] > before[1]:
            changes.append(point)
        elif point[1] != before[1]:  # A reset, or NaN.
            changes.clear()
            points = (point,)
        before = point
    if not changes or len(changes) < least_changes:
        return Part(math.nan, changes[-1][0] if changes else points[0][0], last_seen)
    begin = changes[0] if len(changes) > 1 else points[0]
    end = changes[-1]
    return Part((end[1] - begin[1]) / (end[0] - begin[0]), end[0], last_seen)


def whole_machine(points: Sequence[Point]) -> Part:
    """Returns the rate of one of several counters of which, on a machine that runs, some always advance.

    One that stands still adds 0, and does not make the machine's reading any younger: see `frozen`.
    """
    part = while_advancing(points)
    return part._replace(value=0.0) if math.isnan(part.value) and part.timestamp < part.sampled else part


def frozen(rows: Iterable[tuple[str, Hashable, Part]], gone_seconds: float) -> set[str]:
    """Returns nodes that are sampled while nothing of what must advance there does.

    Args:
        rows: (node, what the part is, the part); parts are timed by their last change.
        gone_seconds: how much later than the last change a node may be sampled. Where that is more than the window,
            standing still in all of it is enough.
    """
    advanced: dict[str, float] = {}
    sampled: dict[str, float] = {}
    moves: set[str] = set()
    for node, _, part in rows:
        advanced[node] = max(part.timestamp, advanced.get(node, 0.0))
        sampled[node] = max(part.sampled, sampled.get(node, 0.0))
        if part.value > 0.0:
            moves.add(node)
    return {
        node
        for node, when in advanced.items()
        if when < sampled[node] - gone_seconds or (node not in moves and when < sampled[node])
    }


STEPPING = 1.5
"""A counter that moves less often than every so many scrapes moves in steps of its exporter's own."""


def step_seconds(points: Sequence[Point]) -> float:
    """Returns how often a counter that always advances moves; NaN with fewer than three changes."""
    times = [now for (_, value), (now, value_now) in itertools.pairwise(points) if value_now != value]
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 2 else math.nan


def spacing_seconds(points: Sequence[Point]) -> float:
    """Returns the median time between samples; NaN with fewer than three."""
    gaps = sorted(now - before for (before, _), (now, _) in itertools.pairwise(points))
    return gaps[len(gaps) // 2] if len(gaps) > 1 else math.nan
