"""Reads exporters directly, for clusters without Prometheus and for tests: it keeps the last samples itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import aiohttp

from wattkeeper.api.readings import Measurements
from wattkeeper.power.readers import dcgm, rates
from wattkeeper.power.readers.dcgm import IdleWatts
from wattkeeper.power.readers.errors import ReadError
from wattkeeper.power.readers.exposition import Exposed, Parser
from wattkeeper.power.readers.history import History
from wattkeeper.power.readers.interpretation import Interpreted, interpret
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.power.readers.settings import WINDOW_INTERVALS, ReaderSettings
from wattkeeper.power.readers.sources import all_metrics
from wattkeeper.power.readers.targets import Target, fetch

_AT_ONCE = 64
_ASK_SHARE = 0.9
_MOST_SAID = 5
# Before two rounds have shown how often they come.
_FIRST_INTERVAL_SECONDS = 5.0
# Long enough to see how often dcgm-exporter measures (every 30 s by default), and to average over it.
_STEPS_SECONDS = 180.0
# Below it rounds come too close to each other to tell how often they come.
_LEAST_INTERVAL_SECONDS = 0.1
_KEPT_ROUNDS = 9

Targets = Callable[[], Sequence[Target]]


class ScrapeReader:
    """A Reader of exporters and model servers themselves.

    Watts of counters are there from the second round on. There is nobody to evaluate PromQL here: demand and meters
    by query are absent, with a problem that says so.

    Not safe for two rounds at once: whoever calls it has a loop of rounds.
    """

    def __init__(self, targets: Targets, settings: ReaderSettings | None = None) -> None:
        """Opens nothing yet.

        Args:
            targets: returns what to scrape, anew for every round.
            settings: without an interval, that of the rounds themselves.
        """
        self._targets = targets
        self._settings = settings or ReaderSettings()
        self._wanted = all_metrics(self._settings)
        self._session: aiohttp.ClientSession | None = None
        self._history = History({dcgm.ENERGY: _STEPS_SECONDS})
        self._idle_watts = IdleWatts()
        self._parsers: dict[Target, Parser] = {}
        self._rounds: list[float] = []
        self.names: AbstractSet[str] = frozenset()

    async def read(self, request: ReadRequest, now: float) -> Measurements:
        """Reads one round; see Reader."""
        return (await self.interpreted(request, now)).measurements

    async def interpreted(self, request: ReadRequest, now: float) -> Interpreted:
        """Reads one round and keeps what each source said apart."""
        self._rounds = [*(when for when in self._rounds if when < now), now][-_KEPT_ROUNDS:]
        said: list[str] = []
        targets = self._targets()
        names: set[str] = set()
        for exposed in await self._scrape(targets, said):
            self._history.add(exposed.samples, now)
            names |= exposed.names
        self.names = names
        said += _unanswered(request)
        scraped, collected = self._intervals()
        window = self._settings.window_seconds or WINDOW_INTERVALS * scraped
        of_gpus = min(max(window, WINDOW_INTERVALS * collected), _STEPS_SECONDS)
        found = self._history.found(now, dict.fromkeys(dcgm.METRICS, of_gpus), window)
        # A thread: with 10,000 pods it takes a quarter of a second, in which KEDA's calls on this loop would wait.
        return await asyncio.to_thread(
            interpret,
            found,
            self._settings,
            self._idle_watts,
            interval_seconds=max(scraped, collected),
            demand_interval_seconds=scraped,
            demand={},
            meters={},
            problems=said,
        )

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()

    async def _scrape(self, targets: Sequence[Target], said: list[str]) -> list[Exposed]:
        if not targets:
            said.append("There is nothing to scrape: name exporters' URLs.")
            return []
        self._parsers = {one: self._parsers.get(one) or self._parser(one) for one in targets}
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE, limit_per_host=0))
        tasks = {asyncio.create_task(self._one(self._session, target)): target for target in targets}
        done, late = await asyncio.wait(tasks, timeout=self._settings.deadline_seconds * _ASK_SHARE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        exposed: list[Exposed] = []
        failed = [f"{tasks[task].url}: no whole answer within {self._settings.deadline_seconds:g} s." for task in late]
        for task in done:
            answer = task.result()
            if isinstance(answer, Exposed):
                exposed.append(answer)
                if answer.malformed_count:
                    shown = " | ".join(answer.malformed)
                    failed.append(f"{tasks[task].url}: {answer.malformed_count} lines mean nothing, such as: {shown}")
            else:
                failed.append(f"{tasks[task].url}: {answer}.")
        said += sorted(failed)[:_MOST_SAID]
        if len(failed) > _MOST_SAID:
            said.append(f"{len(failed) - _MOST_SAID} more targets failed.")
        return exposed

    async def _one(self, session: aiohttp.ClientSession, target: Target) -> Exposed | ReadError:
        try:
            text = await fetch(session, target)
        except ReadError as error:
            return error
        # A thread, so that a long text holds up neither the other answers nor whoever serves gRPC on this loop.
        return await asyncio.to_thread(self._parsers[target].parse, text)

    def _parser(self, target: Target) -> Parser:
        authority = target.url.partition("://")[2].partition("/")[0]
        defaults = {"instance": authority, "node": target.node or ""}
        if target.pod is not None:
            defaults |= {"kubernetes_namespace": target.pod.namespace, "kubernetes_pod_name": target.pod.name}
        return Parser(self._wanted, **defaults)

    def _intervals(self) -> tuple[float, float]:
        """Returns how often targets are scraped, and how often dcgm-exporter measures where that is less often."""
        spacing = rates.spacing_seconds([(when, 0.0) for when in self._rounds])
        if not spacing >= _LEAST_INTERVAL_SECONDS:
            spacing = _FIRST_INTERVAL_SECONDS
        scraped = self._settings.interval_seconds or spacing
        steps = rates.step_seconds(self._history.longest(dcgm.ENERGY))
        return scraped, steps if steps > rates.STEPPING * scraped else scraped


def _unanswered(request: ReadRequest) -> list[str]:
    queries = len(request.demands) + len(request.meters)
    if not queries:
        return []
    return [f"{queries} queries of policies and budgets need a Prometheus to evaluate PromQL: set its URL."]
