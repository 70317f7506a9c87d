"""Every watched kind in memory, with the API server's bookkeeping: UIDs, generations, resource versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import msgspec

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.interface import WATCHED, ChangeHandler, Watched
from wattkeeper.cluster.store import Store

T = TypeVar("T", bound=Watched)


def kubernetes_time(now: float) -> str:
    """Returns Unix seconds as Kubernetes writes an instant: to the second.

    >>> kubernetes_time(1.9)
    '1970-01-01T00:00:01Z'
    """
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ObjectStore:
    """Objects of all watched kinds. Also the View of the twin's cluster: it is never late."""

    def __init__(self) -> None:
        self._stores: dict[type[Watched], Store[Any]] = {kind: Store(kind) for kind in WATCHED}
        self._version = 0
        self._created = 0
        self._synced = False

    def all(self, kind: type[T]) -> Mapping[str, T]:
        """Returns every object of a kind by UID."""
        return self._of(kind).all()

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """Returns one object by name ("" as namespace for cluster-scoped kinds)."""
        return self._of(kind).get(namespace, name)

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        """Calls the handler for everything there is, as additions, and then for every change, in order."""
        self._of(kind).subscribe(handler)

    def synced(self) -> bool:
        """Says whether watching has started."""
        return self._synced

    def staleness_seconds(self, now: float) -> float:  # noqa: ARG002 - the View's signature; memory is never late.
        """Returns 0 once watching has started, inf before."""
        return 0.0 if self._synced else float("inf")

    def set_synced(self, *, synced: bool) -> None:
        """Says that watching has started, or ended."""
        self._synced = synced

    def add(self, new: T, now: float) -> T:
        """Adds an object under a UID of its own and returns it as stored."""
        self._created += 1
        kind = type(new).__name__
        meta = msgspec.structs.replace(
            new.metadata,
            uid=new.metadata.uid or f"{self._created:08x}-{kind.lower()}",
            generation=1,
            creation_timestamp=new.metadata.creation_timestamp or kubernetes_time(now),
        )
        return self._put(new, meta)

    def update(self, new: T) -> T:
        """Replaces the object of this UID. A changed spec is a new generation; no change at all is none."""
        old = self._of(type(new)).all().get(new.metadata.uid)
        if old is None:
            raise KeyError(new.metadata.uid)
        generation = old.metadata.generation + (0 if spec_of(old) == spec_of(new) else 1)
        meta = msgspec.structs.replace(
            new.metadata, generation=generation, resource_version=old.metadata.resource_version
        )
        same = msgspec.structs.replace(new, metadata=meta)
        return old if same == old else self._put(new, meta)

    def remove(self, gone: Watched) -> None:
        """Removes the object of this UID."""
        self._of(type(gone)).remove(gone.metadata.uid)

    def _put(self, new: T, meta: ObjectMeta) -> T:
        self._version += 1
        stored = msgspec.structs.replace(
            new, metadata=msgspec.structs.replace(meta, resource_version=str(self._version))
        )
        self._of(type(new)).put(stored)
        return stored

    def _of(self, kind: type[T]) -> Store[T]:
        return cast("Store[T]", self._stores[kind])


def spec_of(one: Watched) -> object:
    """Returns what a change of is a new generation: the spec; nothing for kinds of which none is kept."""
    return getattr(one, "spec", None)
