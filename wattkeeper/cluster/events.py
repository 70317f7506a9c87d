"""Kubernetes Events (events.k8s.io/v1), as series and within a rate.

An Event that repeats is not written again: the count of its series is raised, at most once a minute. Writes beyond the
rate are dropped and counted, because a flood of Events hurts the API server and helps nobody.

An Event that gets no answer is owed, and written under the same name until there is one: the API server may have it
already, and takes a name once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec

from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.connection import MERGE_PATCH, Connection
from wattkeeper.cluster.errors import ClusterError, ConflictError, NotFoundError, UnreachableError
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.metrics import ClusterMetrics
from wattkeeper.cluster.resources import EVENTS, RESOURCES, SECRETS
from wattkeeper.cluster.timestamps import micro_time
from wattkeeper.cluster.trust import Secret
from wattkeeper.cluster.writes import FIELD_MANAGER

# The API server counts bytes (kubernetes 1.36 pkg/apis/core/validation/events.go).
_LONGEST_NOTE_BYTES: Final = 1024
_LONGEST_WORD: Final = 128
_LONGEST_NAME: Final = 253
_MOST_SERIES: Final = 1024
_SERIES_SECONDS: Final = 60.0
# A series that paused for longer than the API server keeps Events by default starts anew.
_FORGET_SECONDS: Final = 3600.0
_BURST: Final = 50.0
_PER_SECOND: Final = 2.0
_MOST_OWED: Final = 256
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)
_Key = tuple[str, str]


@dataclass(kw_only=True, slots=True)
class _Series:
    namespace: str
    name: str
    count: int
    began_at: float
    seen_at: float
    written_at: float


class EventRecorder:
    """Writes Events."""

    def __init__(self, connection: Connection, clock: Clock, metrics: ClusterMetrics, *, instance: str) -> None:
        self._connection = connection
        self._clock = clock
        self._metrics = metrics
        self._instance = instance[:_LONGEST_WORD] or "wattkeeper"
        # A namesake created later is another object and gets Events of its own, hence the UID.
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._owed: OrderedDict[_Key, tuple[EventRecord, _Series]] = OrderedDict()
        self._paying: asyncio.Task[None] | None = None
        self._tokens = _BURST
        self._tokens_at = clock.now()

    async def stop(self) -> None:
        """Gives up what is still owed."""
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.gather(self._paying, return_exceptions=True)
            self._paying = None

    async def record(self, event: EventRecord) -> None:
        """Writes an Event or raises the count of its series. Without an answer it is written later."""
        now = self._clock.now()
        key = (event.regarding.metadata.uid, event.dedupe_key)
        series = self._series.get(key)
        if series is not None and now - series.seen_at <= _FORGET_SECONDS:
            self._series.move_to_end(key)
            series.count += 1
            series.seen_at = now
            if key in self._owed:
                return
            if now - series.written_at < _SERIES_SECONDS or not self._may_write(now):
                return
            series.written_at = now
            try:
                await self._raise_count(series)
            except NotFoundError:
                del self._series[key]  # The API server has dropped it by age: it is written anew.
            else:
                return
        if not self._may_write(now):
            self._metrics.events_dropped.inc()
            return
        # Entered before it is written, so that a repetition meanwhile is counted and not written beside it.
        self._series[key] = series = _new_series(event, now)
        self._series.move_to_end(key)
        self._owed.pop(key, None)
        while len(self._series) > _MOST_SERIES:
            self._series.popitem(last=False)
        try:
            await self._create(event, series)
        except (UnreachableError, ConflictError) as error:
            self._owe(key, event, series, error)
        except BaseException:
            self._series.pop(key, None)
            raise

    def _owe(self, key: _Key, event: EventRecord, series: _Series, error: ClusterError) -> None:
        _log.warning("an Event %s is written later: %s", event.reason, error)
        self._owed[key] = (event, series)
        if len(self._owed) > _MOST_OWED:
            dropped, _ = self._owed.popitem(last=False)
            self._series.pop(dropped, None)
            self._metrics.events_dropped.inc()
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay(_asked(error)), name="events")

    async def _pay(self, asked_seconds: float) -> None:
        """Writes what is owed, the oldest first, until nothing is."""
        pause = _FIRST_PAUSE_SECONDS
        while self._owed:
            await self._clock.sleep(max(pause, asked_seconds))
            try:
                while self._owed:
                    await self._pay_one()
            except UnreachableError as error:
                pause, asked_seconds = min(2 * pause, _LONGEST_PAUSE_SECONDS), _asked(error)

    async def _pay_one(self) -> None:
        key, (event, series) = next(iter(self._owed.items()))
        try:
            await self._create(event, series)
        except UnreachableError:
            raise
        except ConflictError:
            pass  # Nobody else would choose this name: it was written, and the answer got lost.
        except ClusterError as error:
            _log.warning("an Event %s is not written: %s", event.reason, error)
            self._metrics.events_dropped.inc()
            self._series.pop(key, None)
        if self._owed.get(key, (None, None))[1] is series:
            del self._owed[key]

    def _may_write(self, now: float) -> bool:
        self._tokens = min(_BURST, self._tokens + max(now - self._tokens_at, 0.0) * _PER_SECOND)
        self._tokens_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    async def _create(self, event: EventRecord, series: _Series) -> None:
        about = event.regarding
        meta = about.metadata
        resource = SECRETS if isinstance(about, Secret) else RESOURCES[type(about)]
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": series.name, "namespace": series.namespace},
            "eventTime": micro_time(series.began_at),
            "type": event.type,
            "reason": event.reason[:_LONGEST_WORD],
            "action": event.action[:_LONGEST_WORD],
            "note": cut(event.note),
            "reportingController": "wattkeeper.dev/wattkeeper",
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
        }
        await self._connection.request(
            "POST",
            EVENTS.collection(series.namespace),
            query={"fieldManager": FIELD_MANAGER},
            body=msgspec.json.encode(body),
        )

    async def _raise_count(self, series: _Series) -> None:
        body = {"series": {"count": series.count, "lastObservedTime": micro_time(series.seen_at)}}
        await self._connection.request(
            "PATCH",
            EVENTS.item(series.namespace, series.name),
            query={"fieldManager": FIELD_MANAGER},
            body=msgspec.json.encode(body),
            content_type=MERGE_PATCH,
        )


def _asked(error: ClusterError) -> float:
    """Returns for how long the API server wants to be left alone; no Event is worth more than a minute's silence."""
    asked = error.retry_after_seconds if isinstance(error, UnreachableError) else None
    return min(asked or 0.0, 60.0)


def _new_series(event: EventRecord, now: float) -> _Series:
    meta = event.regarding.metadata
    suffix = f".{secrets.token_hex(8)}"
    name = meta.name[: _LONGEST_NAME - len(suffix)].rstrip(".-") + suffix
    # Events of cluster-scoped objects live in namespace default.
    return _Series(namespace=meta.namespace or "default", name=name, count=1, began_at=now, seen_at=now, written_at=now)


def cut(note: str) -> str:
    """Returns as much of a note as an Event takes, without half a character at the end."""
    return note.encode()[:_LONGEST_NOTE_BYTES].decode(errors="ignore")
