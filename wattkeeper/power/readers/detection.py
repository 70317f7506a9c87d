"""Finds out what a Prometheus holds: which metrics, and how often each source is really sampled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from wattkeeper.power.readers import dcgm, rates
from wattkeeper.power.readers.errors import ReadError
from wattkeeper.power.readers.samples import Labels, Point, Series
from wattkeeper.power.readers.settings import WINDOW_INTERVALS, ReaderSettings
from wattkeeper.power.readers.sources import (
    DCGM,
    KEPLER_NODES,
    KEPLER_PODS,
    LEGACY_KEPLER,
    OF_DEMAND,
    OF_WATTS,
    VLLM,
    Source,
    all_metrics,
    sources,
)

# A common scrape interval, and Prometheus' own default is a minute.
USUAL_INTERVAL_SECONDS = 30.0
_LOOK_BACK = "5m"
_MOST_WINDOW_SECONDS = 300.0

Ask = Callable[[str], Awaitable[Sequence[Series]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Detected:
    """What there is.

    Attributes:
        present: metrics that have series now (within Prometheus' look-back of five minutes).
        here: sources that have such series.
        intervals: seconds between samples, by source.
        collect_seconds: how often dcgm-exporter itself measures; NaN unknown.
        at: Unix seconds.
    """

    present: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    intervals: Mapping[str, float] = field(default_factory=dict[str, float])
    collect_seconds: float = math.nan
    at: float = -math.inf

    @property
    def complete(self) -> bool:
        """Whether nodes, pods and demand were found, each with its interval."""
        found = self.here & self.intervals.keys()
        return ({KEPLER_NODES, KEPLER_PODS} <= found or LEGACY_KEPLER in found) and VLLM in found

    def interval_seconds(self, settings: ReaderSettings) -> float:
        """Returns how often the slowest source of watts yields something new."""
        return self._slowest(OF_WATTS, settings, self.collect_seconds)

    def demand_interval_seconds(self, settings: ReaderSettings) -> float:
        """Returns how often model servers are sampled."""
        return self._slowest(OF_DEMAND, settings, math.nan)

    def _slowest(self, names: AbstractSet[str], settings: ReaderSettings, own: float) -> float:
        if settings.interval_seconds is not None:
            return settings.interval_seconds
        intervals = (*(self.intervals[name] for name in names & self.intervals.keys()), own)
        return max((one for one in intervals if math.isfinite(one)), default=USUAL_INTERVAL_SECONDS)

    def window_seconds(self, source: Source, settings: ReaderSettings) -> float:
        """Returns what a source is averaged over."""
        known = self.intervals.get(source.paced_by or source.name, USUAL_INTERVAL_SECONDS)
        scraped = settings.interval_seconds or known
        window = settings.window_seconds or WINDOW_INTERVALS * scraped
        if source.name == DCGM and math.isfinite(self.collect_seconds):
            window = max(window, WINDOW_INTERVALS * self.collect_seconds)
        return min(window, _MOST_WINDOW_SECONDS)


async def detect(ask: Ask, settings: ReaderSettings, now: float, before: Detected) -> Detected:
    """Finds out what there is.

    Args:
        ask: asks one query, evaluated now.
        settings: zones.
        now: Unix seconds.
        before: what there was. Its intervals stay where none can be measured: were the usual one taken once every
            source of watts (or of demand) has vanished, old readings would count as fresh for longer.

    Raises:
        ReadError: Prometheus does not say which metrics it has.
    """
    wanted = "|".join(sorted(all_metrics(settings)))
    present = frozenset(one.labels.metric for one in await ask(f'count by (__name__)({{__name__=~"{wanted}"}})'))
    found = [
        (source, marker)
        for source in sources(settings)
        if (marker := next((name for name in source.marker if name in present), None)) is not None
    ]
    histories = await asyncio.gather(*(_one_history(ask, marker, source.matchers) for source, marker in found))
    intervals: dict[str, float] = {}
    collect_seconds = math.nan
    for (source, marker), points in zip(found, histories, strict=True):
        spacing = rates.spacing_seconds(points)
        if math.isfinite(spacing):
            intervals[source.name] = spacing
        elif source.name in before.intervals:  # There is not enough of it, or no time to ask.
            intervals[source.name] = before.intervals[source.name]
        if marker == dcgm.ENERGY:
            steps = rates.step_seconds(points)
            measured = steps if steps > rates.STEPPING * spacing else math.nan
            collect_seconds = measured if math.isfinite(spacing) else before.collect_seconds
    for names in (OF_WATTS, OF_DEMAND):
        if names.isdisjoint(intervals):
            intervals |= {name: before.intervals[name] for name in names & before.intervals.keys()}
            collect_seconds = before.collect_seconds if names is OF_WATTS else collect_seconds
    here = frozenset(source.name for source, _ in found)
    return Detected(present=present, here=here, intervals=intervals, collect_seconds=collect_seconds, at=now)


async def _one_history(ask: Ask, metric: str, matchers: str) -> list[Point]:
    """Returns all samples that Prometheus looks back to, of the series that has most of them; none if it fails.

    Another interval stands in then, and the round itself says that Prometheus fails.
    """
    try:
        longest = await ask(f"topk(1, count_over_time({metric}{{{matchers}}}[{_LOOK_BACK}]))")
        if not longest:
            return []
        chosen = [part for part in (matchers, *_identity(longest[0].labels)) if part]
        found = await ask(f"{metric}{{{','.join(chosen)}}}[{_LOOK_BACK}]")
    except ReadError:
        return []
    return max((list(one.points) for one in found), key=len, default=list[Point]())


def _identity(labels: Labels) -> list[str]:
    """Returns matchers that pick this series, or a few beside it."""
    pairs = {
        "job": labels.job,
        "instance": labels.instance,
        "node_name": labels.node_name,
        "zone": labels.zone,
        "UUID": labels.gpu_uuid_dcgm,
        "gpu_uuid": labels.gpu_uuid,
        "pod_id": labels.pod_id,
        "pod": labels.pod,
        "container_id": labels.container_id,
    }
    return [f"{name}={_quoted(value)}" for name, value in pairs.items() if value]


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
