"""Reads everything from Prometheus: a query per source, and one or two per policy or budget that brings its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from wattkeeper.api.readings import Measurements, ServiceKey
from wattkeeper.power.readers.dcgm import IdleWatts
from wattkeeper.power.readers.detection import Detected, detect
from wattkeeper.power.readers.errors import ReadError, SourceUnreachableError, shortened
from wattkeeper.power.readers.interpretation import Interpreted, interpret
from wattkeeper.power.readers.prometheus_api import Answer, Prometheus
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.power.readers.samples import Reading, Series
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.single_values import is_selector, single_value
from wattkeeper.power.readers.sources import Source, sources

K = TypeVar("K", ServiceKey, str)

_THREADS = 6
_LEAST_SECONDS = 0.05
# Shares of the deadline: when queries give up, and when the round does whatever they do.
_ASK_SHARE, _WAIT_SHARE = 0.9, 0.95
# Share of what is left that finding out what there is may take: a slow Prometheus must not keep readings out for ever.
_DETECT_SHARE = 0.5
_MOST_SAID = 5


class PrometheusReader:
    """A Reader of one Prometheus.

    Not safe for two rounds at once: whoever calls it has a loop of rounds.
    """

    def __init__(self, prometheus: Prometheus, settings: ReaderSettings | None = None) -> None:
        """Takes over `prometheus`, and closes it in the end."""
        self._prometheus = prometheus
        self._settings = settings or ReaderSettings()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="prometheus")
        # Queries that threads work on, or will.
        self.running: set[Future[Answer]] = set()
        self._idle_watts = IdleWatts()
        self._rounds = 0
        self.detected = Detected()

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        """Reads one round; see Reader."""
        return (await self.interpreted(request, now)).measurements

    async def interpreted(self, request: ReadRequest, now: float) -> Interpreted:
        """Reads one round and keeps what each source said apart."""
        begin = asyncio.get_running_loop().time()
        deadline = begin + self._settings.deadline_seconds * _ASK_SHARE
        taken = _Round()
        self._rounds += 1
        tasks: list[asyncio.Task[None]] = []
        if self.running:
            taken.said.append(f"{len(self.running)} queries of earlier rounds still hang.")
        try:
            await asyncio.to_thread(self._prometheus.refresh_token)
            tasks = [
                asyncio.create_task(self._sources(taken, deadline, now)),
                asyncio.create_task(self._own_queries(request, taken, deadline, now)),
            ]
            last = begin + self._settings.deadline_seconds * _WAIT_SHARE
            await asyncio.wait(tasks, timeout=max(last - asyncio.get_running_loop().time(), 0.0))
        except ReadError as error:
            taken.said.append(f"Prometheus: {error}.")
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):  # Nobody foresaw it: half a round is better than none, said aloud.
                    taken.said.append(f"Prometheus: {type(ended).__name__}: {shortened(str(ended))}.")
            self._end()
        # A thread: with 10,000 pods it takes a quarter of a second, in which KEDA's calls on this loop would wait.
        return await asyncio.to_thread(
            interpret,
            taken.found,
            self._settings,
            self._idle_watts,
            interval_seconds=self.detected.interval_seconds(self._settings),
            demand_interval_seconds=self.detected.demand_interval_seconds(self._settings),
            demand=taken.demand,
            meters=taken.meters,
            problems=taken.problems(),
        )

    async def ask(self, promql: str, now: float) -> Sequence[Series]:
        """Asks one query of its own, within the settings' deadline.

        Raises:
            ReadError: no usable answer.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.deadline_seconds
        try:
            return await self._ask(promql, _Round(), deadline, now)
        finally:
            self._end()

    async def close(self) -> None:
        """Closes connections and ends threads."""
        self._prometheus.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sources(self, taken: _Round, deadline: float, now: float) -> None:
        try:
            if self._detection_due(now):
                begin = asyncio.get_running_loop().time()
                until = begin + _DETECT_SHARE * (deadline - begin)
                self.detected = await detect(
                    lambda promql: self._ask(promql, taken, until, now), self._settings, now, self.detected
                )
        except ReadError as error:
            taken.said.append(f"Prometheus: {error}.")
            if not self.detected.present:
                return
        detected = self.detected
        if not detected.present:
            taken.said.append("Prometheus has no series of Kepler, dcgm-exporter, vLLM or a meter: `wattkeeper probe`.")
        asked = [(source, source.selector(detected.present)) for source in sources(self._settings)]
        await asyncio.gather(
            *(self._source(source, selector, taken, deadline, now) for source, selector in asked if selector)
        )

    def _detection_due(self, now: float) -> bool:
        """Says whether to look again for sources.

        A reader often starts before the exporters, or in a cluster without pods: while something is missing it looks
        again soon.
        """
        settings = self._settings
        every = settings.detect_seconds if self.detected.complete else settings.incomplete_detect_seconds
        return now - self.detected.at >= every or now < self.detected.at

    async def _source(self, source: Source, selector: str, taken: _Round, deadline: float, now: float) -> None:
        window = math.ceil(self.detected.window_seconds(source, self._settings) * 1000.0)
        try:
            answer = await self._ask(f"{selector}[{window}ms]", taken, deadline, now)
        except ReadError as error:
            taken.said.append(f"{source.name}: {error}.")
            return
        for one in answer:
            taken.found.setdefault(one.labels.metric, []).append(one)
        expected = self.detected.present.intersection(source.marker)
        if expected and not any(one.labels.metric in expected for one in answer):
            taken.said.append(f"{source.name} was there and is gone: no sample in the last {window / 1000.0:g} s.")
            self.detected = replace(self.detected, at=-math.inf)  # Look again in the next round.

    async def _own_queries(self, request: ReadRequest, taken: _Round, deadline: float, now: float) -> None:
        demands = [(f"service {key.namespace}/{key.name}", key, query) for key, query in request.demands]
        meters = [(f"budget {name}", name, query) for name, query in request.meters]
        # Each round begins elsewhere: with too many queries for the deadline, all get their turn.
        first = self._rounds * _THREADS % len(demands) if demands else 0
        await asyncio.gather(
            *(self._own_query(what, key, query, taken.meters, taken, deadline, now) for what, key, query in meters),
            *(
                self._own_query(what, key, query, taken.demand, taken, deadline, now)
                for what, key, query in (*demands[first:], *demands[:first])
            ),
        )

    async def _own_query(
        self, what: str, key: K, query: str, into: dict[K, Reading], taken: _Round, deadline: float, now: float
    ) -> None:
        try:
            answer = await self._ask(query, taken, deadline, now)
            sampled = await self._ask(f"timestamp({query})", taken, deadline, now) if is_selector(query) else ()
        except ReadError as error:
            taken.failed.append(f"{what}: {error}.")
            return
        value = single_value(what, answer, sampled, now)
        if isinstance(value, str):
            taken.failed.append(value)
        else:
            into[key] = value

    async def _ask(self, promql: str, taken: _Round, deadline: float, now: float) -> Sequence[Series]:
        loop = asyncio.get_running_loop()

        def ask() -> Answer:
            return self._prometheus.query(promql, now=now, timeout_seconds=max(deadline - loop.time(), _LEAST_SECONDS))

        running = self._threads.submit(ask)
        self.running.add(running)
        running.add_done_callback(self.running.discard)
        waiting = asyncio.wrap_future(running)
        waiting.add_done_callback(_seen)
        done, _ = await asyncio.wait({waiting}, timeout=max(deadline - loop.time(), 0.0))
        if not done:
            raise SourceUnreachableError(f"no whole answer within {self._settings.deadline_seconds:g} s")
        answer = waiting.result()
        for warning in answer.warnings:
            sentence = f"Prometheus warns (the answer may be incomplete): {shortened(warning)}."
            if sentence not in taken.said:
                taken.said.append(sentence)
        return answer.series

    def _end(self) -> None:
        """Drops queries that wait for a thread, and cuts off those that have one."""
        if [one for one in tuple(self.running) if not one.cancel()]:
            self._prometheus.abort()


def _seen(future: asyncio.Future[Answer]) -> None:
    # Nobody waits for it any more where its round is over.
    if not future.cancelled():
        future.exception()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Round:
    """What a round has taken in so far; a deadline ends it with what is there."""

    found: dict[str, list[Series]] = field(default_factory=dict[str, list[Series]])
    demand: dict[ServiceKey, Reading] = field(default_factory=dict[ServiceKey, Reading])
    meters: dict[str, Reading] = field(default_factory=dict[str, Reading])
    said: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])

    def problems(self) -> list[str]:
        """Returns what to tell people, with queries of their own after a few only counted."""
        more = len(self.failed) - _MOST_SAID
        return [*self.said, *self.failed[:_MOST_SAID], *([f"{more} more queries failed."] if more > 0 else [])]
