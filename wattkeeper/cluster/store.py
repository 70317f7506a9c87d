"""All objects of one kind, in memory, and who is told about changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from wattkeeper.cluster.interface import ChangeHandler, Watched

T = TypeVar("T", bound=Watched)

_log = logging.getLogger(__name__)


class Store(Generic[T]):
    """Objects by UID, with an index by name. Only its informer writes to it.

    Attributes:
        handler_failures: how often a subscriber raised.
    """

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.handler_failures = 0
        self._objects: dict[str, T] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._handlers: list[ChangeHandler[T]] = []
        self._view = MappingProxyType(self._objects)

    def all(self) -> Mapping[str, T]:
        """Returns the live objects by UID, read-only."""
        return self._view

    def get(self, namespace: str, name: str) -> T | None:
        """Returns the object that now has a name."""
        uid = self._uids.get((namespace, name))
        return None if uid is None else self._objects.get(uid)

    def subscribe(self, handler: ChangeHandler[T]) -> None:
        """Tells the handler all there is, then every change."""
        for one in list(self._objects.values()):
            self._tell(handler, None, one)
        self._handlers.append(handler)

    def put(self, new: T) -> None:
        """Adds or replaces an object; one that has not changed since (same resourceVersion) is no news."""
        meta = new.metadata
        old = self._objects.get(meta.uid)
        if old is not None and old.metadata.resource_version == meta.resource_version:
            return
        self._objects[meta.uid] = new
        self._uids[meta.namespace, meta.name] = meta.uid
        for handler in self._handlers:
            self._tell(handler, old, new)

    def remove(self, uid: str) -> None:
        """Removes an object, if it is there."""
        old = self._objects.pop(uid, None)
        if old is None:
            return
        key = (old.metadata.namespace, old.metadata.name)
        # A successor of the same name may be in already.
        if self._uids.get(key) == uid:
            del self._uids[key]
        for handler in self._handlers:
            self._tell(handler, old, None)

    def keep_only(self, uids: set[str]) -> int:
        """Removes all others: what a list no longer shows was deleted unseen. Returns how many."""
        gone = [uid for uid in self._objects if uid not in uids]
        for uid in gone:
            self.remove(uid)
        return len(gone)

    def _tell(self, handler: ChangeHandler[T], old: T | None, new: T | None) -> None:
        try:
            handler(old, new)
        except Exception:
            # A subscriber's mistake must not end the watch that all others live on.
            self.handler_failures += 1
            subject = new or old
            name = f"{subject.metadata.namespace}/{subject.metadata.name}" if subject is not None else "?"
            _log.exception("a subscriber failed on a change of %s %s", self.kind.__name__, name)
