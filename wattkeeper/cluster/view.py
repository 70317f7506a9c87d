"""The picture of the cluster that the informers keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from wattkeeper.cluster.decoding import Undecodable
from wattkeeper.cluster.informer import Informer
from wattkeeper.cluster.interface import ChangeHandler, Watched
from wattkeeper.cluster.store import Store

T = TypeVar("T", bound=Watched)


class InformerView:
    """All informers' stores as one View."""

    def __init__(self, informers: Mapping[type[Watched], Informer[Any]]) -> None:
        self._informers = informers

    def all(self, kind: type[T]) -> Mapping[str, T]:
        """Returns every object of a kind by UID. The mapping is live and read-only."""
        return self._store(kind).all()

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """Returns one object by name ("" as namespace for cluster-scoped kinds)."""
        return self._store(kind).get(namespace, name)

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        """Calls the handler for everything there is, as additions, and then for every change, in order."""
        self._store(kind).subscribe(handler)

    def synced(self) -> bool:
        """Says whether every kind was listed completely and its watch is alive."""
        return all(informer.synced() for informer in self._informers.values())

    def staleness_seconds(self, now: float) -> float:
        """Returns seconds since the least recently heard watch said anything; inf before the first sync."""
        return max(informer.staleness_seconds(now) for informer in self._informers.values())

    def undecodable(self, kind: type[Watched]) -> tuple[Undecodable, ...]:
        """Returns the objects of a kind that exist and cannot be read: absent above, or there as an old version."""
        return self._informers[kind].undecodable()

    def _store(self, kind: type[T]) -> Store[T]:
        return self._informers[kind].store
