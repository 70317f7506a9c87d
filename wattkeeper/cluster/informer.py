"""Keeps one kind in memory: list page by page, then watch from there, for ever.

Rules:
- A watch goes on from the last resourceVersion it heard of. Where the server no longer knows it (410, as an HTTP
  status or as an ERROR event), everything is listed again after a jittered pause, and what is missing in the list is
  reported as deleted.
- A watch that says nothing for `silence_seconds` is dead, whatever TCP says.
- No failure repeats without a growing, jittered pause, and a server's Retry-After is a lower bound of it.
- An object that cannot be decoded is named in the log and counted, and its last good version is kept.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from wattkeeper.cluster.answers import ApiStatus
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.connection import LIST_SECONDS, Connection
from wattkeeper.cluster.decoding import Bookmark, BrokenStreamError, Change, Decoder, Page, Undecodable
from wattkeeper.cluster.errors import ClusterError, ExpiredError, ForbiddenError, NotFoundError, UnreachableError
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.metrics import ClusterMetrics
from wattkeeper.cluster.resources import RESOURCES
from wattkeeper.cluster.store import Store

T = TypeVar("T", bound=Watched)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How patient an informer is.

    Attributes:
        page_size: objects per page of a list.
        watch_seconds: how long a watch is asked to live before it is renewed (jittered up to half as long again).
        silence_seconds: a watch that says nothing for longer is dead; bookmarks come about once a minute.
        grace_seconds: how long a lost watch still counts as alive while it is renewed.
        first_pause_seconds, longest_pause_seconds: the pause after a failure doubles from one to the other.
        relist_seconds: a repeated list waits up to this long, because an API server's restart makes everybody list.
        missing_kind_seconds: how often a kind whose CRD is missing is looked for.
    """

    page_size: int = 500
    watch_seconds: int = 240
    silence_seconds: float = 70.0
    grace_seconds: float = 10.0
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    relist_seconds: float = 3.0
    missing_kind_seconds: float = 60.0


PATIENT = Pace()


class Informer(Generic[T]):
    """Fills one store."""

    def __init__(
        self,
        store: Store[T],
        connection: Connection,
        clock: Clock,
        metrics: ClusterMetrics,
        *,
        pace: Pace = PATIENT,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.store = store
        self.name = store.kind.__name__
        self.failure: ClusterError | None = None
        self._resource = RESOURCES[store.kind]
        self._connection = connection
        self._clock = clock
        self._metrics = metrics
        self._pace = pace
        self._dice = dice
        self._decoder: Decoder[T] = Decoder(store.kind)
        self._resource_version = ""
        self._listed = False
        self._heard_at = -math.inf
        self._lost_since: float | None = None
        self._failures = 0
        self._nonsense = 0
        self._undecodable: dict[str, Undecodable] = {}
        self._settled = asyncio.Event()
        self._events = metrics.watch_events.labels(self.name)
        metrics.objects.labels(self.name).set_function(lambda: len(store.all()))
        metrics.undecodable_objects.labels(self.name).set_function(lambda: len(self._undecodable))
        metrics.synced.labels(self.name).set_function(lambda: float(self.synced()))
        metrics.staleness_seconds.labels(self.name).set_function(lambda: self.staleness_seconds(clock.now()))
        metrics.handler_failures.labels(self.name).set_function(lambda: store.handler_failures)

    def synced(self) -> bool:
        """Says whether the kind was listed completely and its watch is alive, or was a moment ago."""
        if not self._listed:
            return False
        return self._lost_since is None or self._clock.now() - self._lost_since <= self._pace.grace_seconds

    def staleness_seconds(self, now: float) -> float:
        """Returns seconds since the server last said anything about this kind; inf before the first list."""
        return max(now - self._heard_at, 0.0) if self._listed else math.inf

    def undecodable(self) -> tuple[Undecodable, ...]:
        """Returns the objects that exist and cannot be read."""
        return tuple(self._undecodable.values())

    async def first_listed(self) -> None:
        """Waits for the first complete list.

        Raises:
            ForbiddenError, NotFoundError: it cannot be had until somebody changes the installation.
        """
        await self._settled.wait()
        if not self._listed and self.failure is not None:
            raise self.failure

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        while True:
            try:
                if not self._resource_version:
                    await self._list()
                await self._watch()
            except NotFoundError as error:
                if self._resource.optional:
                    await self._do_without()
                else:
                    await self._recover(error)
            except ClusterError as error:
                await self._recover(error)
            except Exception as error:
                # Whatever it was, this kind must not stay as it is for ever while everything looks alive.
                _log.exception("watching %ss failed in a way that nobody foresaw", self.name)
                self._resource_version = ""
                await self._recover(ClusterError(f"watching {self.name}s failed: {error!r}"))

    async def _list(self) -> None:
        """Lists everything; raises ClusterError where a page fails, and the next attempt starts at the first page."""
        again = self._listed
        uids: set[str] = set()
        undecodable: dict[str, Undecodable] = {}
        query = {"limit": str(self._pace.page_size)}
        while True:
            page = await self._page(query)
            for one in page.objects:
                uids.add(one.metadata.uid)
                self.store.put(one)
            for bad in page.undecodable:
                self._report(bad)
                uids.add(bad.key)
                undecodable[bad.key] = bad
            if not page.next_page:
                break
            query["continue"] = page.next_page
        self._undecodable = undecodable
        missed = self.store.keep_only(uids)
        self._resource_version = page.resource_version
        self._listed = True
        self._settled.set()
        self._heard()
        if again:
            self._metrics.relists.labels(self.name).inc()
            _log.info("listed %ss again: %d of them had gone unseen", self.name, missed)

    async def _page(self, query: dict[str, str]) -> Page[T]:
        path = self._resource.collection()
        return self._decoder.page(await self._connection.request("GET", path, query=query, seconds=LIST_SECONDS))

    async def _watch(self) -> None:
        """Follows changes until the server ends the watch, which it does in time; raises ClusterError otherwise."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._resource_version,
            "timeoutSeconds": str(int(self._pace.watch_seconds * (1 + self._dice() / 2))),
        }
        began = self._clock.now()
        stream = self._connection.lines(
            self._resource.collection(), query=query, silence_seconds=self._pace.silence_seconds
        )
        async with aclosing(stream):
            async for lines in stream:
                self._heard()
                for line in lines:
                    if line:
                        self._take(line)
        self._lost_since = self._clock.now()
        # A watch that the server ends at once is a failure, or this would be a hot loop.
        if self._clock.now() - began < 1.0:
            raise UnreachableError(f"the watch of {self.name}s ended as soon as it had begun")
        self._failures = 0

    def _take(self, line: bytes) -> None:
        """Takes in one event."""
        event = self._decoder.event(line)
        if isinstance(event, Change):
            self._events.inc()
            self._change(event)
        elif isinstance(event, Bookmark):
            self._resource_version = event.resource_version or self._resource_version
        else:
            self._complain(event)
        self._failures = 0
        self._nonsense = 0

    def _change(self, event: Change[T]) -> None:
        one = event.object
        if isinstance(one, Undecodable):
            self._resource_version = one.resource_version or self._resource_version
            if event.type == "DELETED":
                self._undecodable.pop(one.key, None)
                self.store.remove(one.uid)
            else:
                self._report(one)
                self._undecodable[one.key] = one
            return
        self._resource_version = one.metadata.resource_version
        if self._undecodable:
            self._undecodable.pop(one.metadata.uid, None)
        if event.type == "DELETED":
            self.store.remove(one.metadata.uid)
        else:
            self.store.put(one)

    def _complain(self, status: ApiStatus) -> None:
        """Raises what an ERROR event means."""
        message = f"the watch of {self.name}s was refused: {status.message[:300]} (code {status.code})"
        if status.code == 410 or status.reason in ("Expired", "Gone"):
            raise ExpiredError(message)
        retry_after = status.details.retry_after_seconds if status.details else 0.0
        raise BrokenStreamError(message, retry_after_seconds=retry_after or None)

    def _report(self, bad: Undecodable) -> None:
        known = self._undecodable.get(bad.key)
        if known is not None and known.reason == bad.reason:
            return  # Said already: a bad object that changes all the time must not fill the log.
        _log.error(
            "%s %s/%s cannot be read and is left at its last good version, if it has one: %s",
            self.name,
            bad.namespace,
            bad.name or "?",
            bad.reason,
        )

    def _heard(self) -> None:
        self._heard_at = self._clock.now()
        self._lost_since = None
        self.failure = None

    async def _do_without(self) -> None:
        """The CRD is not installed, so there are no such objects. It may come later."""
        if not self._listed:
            _log.info("the API server knows no %ss: there are none until their CRD is installed", self.name)
        self.store.keep_only(set())
        self._undecodable.clear()
        self._resource_version = ""
        self._listed = True
        self._settled.set()
        self._heard()
        await self._clock.sleep(self._pace.missing_kind_seconds)

    async def _recover(self, error: ClusterError) -> None:
        """Notes a failure and pauses before the next attempt."""
        self.failure = error
        if isinstance(error, ForbiddenError | NotFoundError):
            self._settled.set()
        self._metrics.watch_failures.labels(self.name).inc()
        if self._lost_since is None:
            self._lost_since = self._clock.now()
        if isinstance(error, BrokenStreamError):
            # What could not be read may have been a change; asking again brings it again, readable or not.
            self._nonsense += 1
        if isinstance(error, ExpiredError) or self._nonsense > 1:
            self._resource_version = ""
        pace = self._pace
        longest = min(pace.first_pause_seconds * 2 ** min(self._failures, 16), pace.longest_pause_seconds)
        self._failures += 1
        pause = longest * (0.5 + self._dice() / 2)
        if not self._resource_version:
            pause = max(pause, pace.relist_seconds * self._dice())
        if isinstance(error, UnreachableError) and error.retry_after_seconds is not None:
            pause = max(pause, min(error.retry_after_seconds, 4 * pace.longest_pause_seconds))
        level = logging.ERROR if isinstance(error, ForbiddenError) else logging.WARNING
        _log.log(level, "watching %ss failed, next attempt in %.1f s: %s", self.name, pause, error)
        await self._clock.sleep(pause)
