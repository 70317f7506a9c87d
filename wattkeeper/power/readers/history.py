"""The last samples of every series that is scraped directly: what Prometheus' storage is to the other reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wattkeeper.power.readers.samples import Labels, Point, Series


class History:
    """Samples by series, for as long as a window."""

    def __init__(self, keep_seconds: Mapping[str, float]) -> None:
        """Begins empty.

        Args:
            keep_seconds: metrics that are kept for longer than a window.
        """
        self._keep_seconds = keep_seconds
        self._points: dict[str, dict[Labels, list[Point]]] = {}

    def add(self, samples: Iterable[tuple[Labels, float, float | None]], now: float) -> None:
        """Takes in a scrape.

        Args:
            samples: (labels, value, Unix seconds where the exporter says so).
            now: when it was scraped, for samples that carry no time of their own. None is younger: one from a clock
                that is ahead would stay fresh until then, and keep those after it out.
        """
        for labels, value, said in samples:
            when = now if said is None else min(said, now)
            of_metric = self._points.setdefault(labels.metric, {})
            points = of_metric.get(labels)
            if points is None:
                of_metric[labels] = [(when, value)]
            elif when > points[-1][0]:
                points.append((when, value))

    def longest(self, metric: str) -> list[Point]:
        """Returns all samples of the series of a metric that has most of them."""
        return max(self._points.get(metric, {}).values(), key=len, default=list[Point]())

    def found(self, now: float, windows: Mapping[str, float], window_seconds: float) -> dict[str, list[Series]]:
        """Returns the series of a window by metric, and forgets what is older.

        Args:
            now: Unix seconds.
            windows: how far back, in seconds, by metric.
            window_seconds: how far back for all others.
        """
        result: dict[str, list[Series]] = {}
        for metric, of_metric in self._points.items():
            window = windows.get(metric, window_seconds)
            since, keep = now - window, now - max(window, self._keep_seconds.get(metric, 0.0))
            series: list[Series] = []
            for labels, points in list(of_metric.items()):
                while points and points[0][0] < keep:
                    del points[0]
                if not points:
                    del of_metric[labels]
                    continue
                if inside := tuple(point for point in points if point[0] >= since):
                    series.append(Series(labels, inside))
            if series:
                result[metric] = series
        return result
