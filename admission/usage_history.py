"""What Prometheus remembers of usage: read once, so that the first requests need not wait for days of samples.

As the Vertical Pod Autoscaler does with `--storage=prometheus` (kubernetes/autoscaler, vertical-pod-autoscaler/pkg/
recommender/input/history: cAdvisor's series, eight days in steps of an hour). A day is a query for each resource, from
the latest on, so that what a time limit cuts off is what counts least.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from admission.usage_model import Sample
from admission.usage_owners import Owner, Owners
from wattkeeper.api.readings import Floats, PodKey
from wattkeeper.cluster.clock import Clock
from wattkeeper.power.readers.errors import ReadError, SourceUnreachableError
from wattkeeper.power.readers.prometheus_api import Answer

_DAY_SECONDS: Final = 86_400
_MOST_NAMESPACES: Final = 50
"""Beyond that a query asks for all, because it would become too long for a URL."""

# The readers' labels have no `container`, but the one of this name.
_QUERY: Final = (
    "(max by (namespace, pod, container_name) (label_replace({figure}, "
    '"container_name", "$1", "container", "(.+)")))[{day}s:{step}s]'
)
# `max`, because a series that two Prometheus replicas scraped, or that began anew with its container, must not count
# twice.
_FIGURES: Final = (
    "rate(container_cpu_usage_seconds_total{selector}[{step}s])",
    "max_over_time(container_memory_working_set_bytes{selector}[{step}s])",
)


class Source(Protocol):
    """A Prometheus (wattkeeper.power.readers.prometheus_api.Prometheus). Calls block."""

    def refresh_token(self) -> None:
        """Reads its token again."""
        ...

    def query(self, promql: str, *, now: float, timeout_seconds: float) -> Answer:
        """Asks one query."""
        ...

    def close(self) -> None:
        """Cuts off whatever is under way, and closes everything."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryOptions:
    """How much is read.

    Attributes:
        days: how far back.
        step_seconds: what one sample covers; a divisor of a day.
        limit_seconds: how long all of it may take.
    """

    days: int = 8
    step_seconds: int = 3_600
    limit_seconds: float = 60.0


class Past(NamedTuple):
    """What was read.

    Attributes:
        batches: samples by time, the oldest first: one of each container of a pod in a batch.
        problems: sentences for people.
    """

    batches: Iterator[list[Sample]]
    problems: tuple[str, ...]


class UsageHistory:
    """Reads from one Prometheus."""

    def __init__(self, source: Source, clock: Clock, options: HistoryOptions | None = None) -> None:
        """Takes over `source`, and closes it when everything is read.

        Args:
            source: where from.
            clock: for the limit.
            options: how much.
        """
        self._source = source
        self._clock = clock
        self._options = options or HistoryOptions()

    async def read(self, owners: Owners) -> Past:
        """Reads what there is of services' pods, within the limit."""
        step = self._options.step_seconds
        end = math.floor(self._clock.now() / step) * step
        grid = _Grid(owners, end=end, steps=self._options.days * _DAY_SECONDS // step, step=step)
        problems: list[str] = []
        reading = asyncio.create_task(self._read(grid, owners.namespaces, problems))
        limit = asyncio.create_task(self._clock.sleep(self._options.limit_seconds))
        try:
            await asyncio.wait((reading, limit), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            else:
                problems.append(f"what was not read within {self._options.limit_seconds:g} s is left out")
        finally:
            reading.cancel()
            limit.cancel()
            # Ends the thread that still waits for an answer; nobody waits for that thread.
            self._source.close()
            await asyncio.gather(reading, limit, return_exceptions=True)
        return Past(grid.batches(), tuple(problems))

    async def _read(self, grid: _Grid, namespaces: frozenset[str], problems: list[str]) -> None:
        if not namespaces:
            return
        try:
            await asyncio.to_thread(self._source.refresh_token)
            for day in range(self._options.days):
                for figure, promql in enumerate(_queries(namespaces, self._options.step_seconds)):
                    await self._ask(grid, figure, promql, grid.end - day * _DAY_SECONDS, problems)
        except ReadError as error:
            problems.append(str(error))

    async def _ask(self, grid: _Grid, figure: int, promql: str, time: float, problems: list[str]) -> None:
        """Asks one query. Only a source that cannot be reached ends the rest."""
        try:
            answer = await asyncio.to_thread(
                self._source.query, promql, now=time, timeout_seconds=self._options.limit_seconds
            )
        except SourceUnreachableError:
            raise
        except ReadError as error:
            problems.append(str(error))
            return
        problems += answer.warnings
        grid.put(figure, answer)


class _Grid:
    """Figures by container of a pod and step; NaN where nothing was read."""

    def __init__(self, owners: Owners, *, end: float, steps: int, step: float) -> None:
        self._owners = owners
        self._steps = steps
        self._step = step
        self.end = end
        self._figures: dict[tuple[PodKey, str], tuple[Owner, Floats]] = {}

    def put(self, figure: int, answer: Answer) -> None:
        """Takes in an answer; what is nobody's is passed over."""
        for labels, points in answer.series:
            pod = PodKey(labels.namespace, labels.pod)
            if not labels.container_name:
                continue
            name = (pod, labels.container_name)
            if name not in self._figures:
                owner = self._owners.owner(pod)
                if owner is None:
                    continue
                self._figures[name] = (owner, np.full((2, self._steps), np.nan))
            row = self._figures[name][1][figure]
            for time, value in points:
                place = self._steps - 1 + round((time - self.end) / self._step)
                if 0 <= place < self._steps:
                    row[place] = value

    def batches(self) -> Iterator[list[Sample]]:
        """Returns samples by step.

        The first step in which a pod is seen is the one in which it loaded, unless that is where history begins.
        """
        first = {name: _first_known(figures) for name, (_, figures) in self._figures.items()}
        for step in range(self._steps):
            time = self.end - (self._steps - 1 - step) * self._step
            yield [
                Sample(
                    owner.service,
                    name[1],
                    owner.uid,
                    time,
                    float(figures[0, step]),
                    float(figures[1, step]),
                    step > 0 and step == first[name],
                    self._step / 60.0,
                )
                for name, (owner, figures) in self._figures.items()
                if not np.isnan(figures[:, step]).all()
            ]


def _first_known(figures: Floats) -> int:
    """Returns the first step with a figure, -1 where there is none."""
    known = np.flatnonzero(~np.isnan(figures).all(axis=0))
    return int(known[0]) if known.size else -1


def _queries(namespaces: frozenset[str], step: int) -> Sequence[str]:
    where = ['container!=""', 'container!="POD"']
    if len(namespaces) <= _MOST_NAMESPACES:
        where.append(f'namespace=~"{"|".join(sorted(namespaces))}"')
    selector = f"{{{','.join(where)}}}"
    return [
        _QUERY.format(figure=figure.format(selector=selector, step=step), day=_DAY_SECONDS, step=step)
        for figure in _FIGURES
    ]
