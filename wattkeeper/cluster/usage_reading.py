"""Reads metrics.k8s.io/v1beta1, which metrics-server and others serve behind the API server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from wattkeeper.api.quantity import parse_quantity
from wattkeeper.api.readings import PodKey
from wattkeeper.cluster.answers import UNREADABLE, read_answer
from wattkeeper.cluster.connection import LIST_SECONDS, Connection
from wattkeeper.cluster.errors import MetricsMissingError, NotFoundError, UnreachableError
from wattkeeper.cluster.metrics import ClusterMetrics
from wattkeeper.cluster.resources import POD_METRICS
from wattkeeper.cluster.usage import ContainerUsage, PodUsage

# metrics-server answers whole whatever is asked for; another server may not.
_PAGE_SIZE: Final = "500"
_MOST_PAGES: Final = 1_000
_DURATION: Final = re.compile(r"([0-9]*\.?[0-9]+)(h|ms|us|µs|ns|m|s)")
_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class _Meta(msgspec.Struct, frozen=True):
    name: str
    namespace: str


class _Container(msgspec.Struct, frozen=True):
    name: str
    usage: dict[str, str | int]


class _PodMetrics(msgspec.Struct, frozen=True):
    metadata: _Meta
    timestamp: str
    window: str
    containers: list[_Container]


class _ListMeta(msgspec.Struct, frozen=True):
    next_page: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = _ListMeta()


class UsageReader:
    """Reads every pod's usage."""

    def __init__(self, connection: Connection, metrics: ClusterMetrics) -> None:
        self._connection = connection
        self._metrics = metrics

    async def read(self) -> tuple[PodUsage, ...]:
        """Reads all pages. An entry that cannot be read is left out and counted.

        Raises:
            MetricsMissingError: nothing serves metrics.k8s.io.
            UnreachableError: whatever serves it does not answer, or not with a list.
        """
        found: list[PodUsage] = []
        query = {"limit": _PAGE_SIZE}
        for _ in range(_MOST_PAGES):
            page = await self._page(query)
            found += self._readable(page)
            if not page.metadata.next_page:
                return tuple(found)
            query["continue"] = page.metadata.next_page
        raise UnreachableError(f"metrics.k8s.io: a list of more than {_MOST_PAGES} pages does not end")

    async def _page(self, query: dict[str, str]) -> _List:
        try:
            body = await self._connection.request("GET", POD_METRICS.collection(), query=query, seconds=LIST_SECONDS)
        except NotFoundError as error:
            raise MetricsMissingError(
                "Nothing serves metrics.k8s.io in this cluster: install metrics-server to have pods' usage."
            ) from error
        return read_answer(body, _List)

    def _readable(self, page: _List) -> Iterator[PodUsage]:
        for raw in page.items or ():
            try:
                yield _usage(msgspec.json.decode(raw, type=_PodMetrics))
            except (*UNREADABLE, ValueError):
                self._metrics.unreadable_usage.inc()


def _usage(one: _PodMetrics) -> PodUsage:
    """Returns one entry; raises ValueError where a figure is none."""
    timestamp = datetime.fromisoformat(one.timestamp)
    if timestamp.tzinfo is None:
        raise ValueError(f"a timestamp without a time zone: {one.timestamp}")
    return PodUsage(
        key=PodKey(one.metadata.namespace, one.metadata.name),
        timestamp=timestamp.timestamp(),
        window_seconds=duration_seconds(one.window),
        containers=tuple(
            ContainerUsage(
                name=container.name,
                cores=_amount(container.usage.get("cpu")),
                memory_bytes=_amount(container.usage.get("memory")),
            )
            for container in one.containers
        ),
    )


def _amount(quantity: str | int | None) -> float:
    if quantity is None:
        return math.nan
    value = parse_quantity(quantity)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"a usage of {quantity}")
    return value


def duration_seconds(text: str) -> float:
    """Returns a Go duration in seconds.

    Raises:
        ValueError: it is none.

    >>> duration_seconds("1m0.5s"), duration_seconds("0s")
    (60.5, 0.0)
    """
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError(f"no duration: {text[:40]}")
    return sum(float(part.group(1)) * _UNIT_SECONDS[part.group(2)] for part in parts)
