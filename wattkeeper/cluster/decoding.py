"""Bytes of lists and watches into slim structs, in one pass; what does not fit is told apart, never lost silently.

Kubernetes treats null as absent and older API servers send `creationTimestamp: null` in pod templates, so an object
that does not fit is tried again without its nulls before it counts as undecodable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from wattkeeper.cluster.answers import UNREADABLE, ApiStatus
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.interning import Interner
from wattkeeper.cluster.objects import Pod

# A client-side apply leaves a second copy of the whole object in this annotation.
_BULK: Final = "kubectl.kubernetes.io/last-applied-configuration"
T = TypeVar("T", bound=Watched)


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    next_page: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    metadata: _ListMeta = _ListMeta()


class _RawPage(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = _ListMeta()


class _Event(msgspec.Struct, Generic[T], frozen=True):
    type: str
    object: T


class _RawEvent(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Identity(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Identified(msgspec.Struct, frozen=True):
    metadata: _Identity = _Identity()


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecodable:
    """An object that does not fit its struct."""

    uid: str
    namespace: str
    name: str
    resource_version: str
    reason: str

    @property
    def key(self) -> str:
        """The UID, or what there is instead."""
        return self.uid or f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """One page of a list. next_page is "" on the last one."""

    objects: list[T]
    undecodable: list[Undecodable]
    resource_version: str
    next_page: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change(Generic[T]):
    """An object was added, modified or deleted."""

    type: str
    object: T | Undecodable


@dataclass(frozen=True, kw_only=True, slots=True)
class Bookmark:
    """Nothing changed up to here."""

    resource_version: str


class BrokenStreamError(UnreachableError):
    """No list, no watch event, or an ERROR event: asking again from the same place may bring the same again."""


class Decoder(Generic[T]):
    """Decodes one kind."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        # Only of pods are there so many that sharing pays.
        self._interner = Interner() if kind is Pod else None
        self._pages: msgspec.json.Decoder[_Page[T]] = msgspec.json.Decoder(_Page[kind])
        self._events: msgspec.json.Decoder[_Event[T]] = msgspec.json.Decoder(_Event[kind])
        self._raw_pages = msgspec.json.Decoder(_RawPage)
        self._raw_events = msgspec.json.Decoder(_RawEvent)
        self._objects: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def page(self, body: bytes) -> Page[T]:
        """Decodes a page of a list.

        Raises:
            BrokenStreamError: the body is no list.
        """
        undecodable: list[Undecodable] = []
        try:
            page = self._pages.decode(body)
            objects, meta = page.items, page.metadata
        except UNREADABLE:
            try:
                raw = self._raw_pages.decode(body)
            except UNREADABLE as error:
                raise BrokenStreamError(f"the list of {self._kind.__name__}s is no list: {error}") from error
            objects, meta = list[T](), raw.metadata
            for item in raw.items or ():
                found = self._leniently(item)
                if isinstance(found, Undecodable):
                    undecodable.append(found)
                else:
                    objects.append(found)
        if not meta.resource_version:
            raise BrokenStreamError(f"the list of {self._kind.__name__}s has no resourceVersion")
        for one in objects:
            self._slim(one)
        return Page(
            objects=objects,
            undecodable=undecodable,
            resource_version=meta.resource_version,
            next_page=meta.next_page,
        )

    def event(self, line: bytes) -> Change[T] | Bookmark | ApiStatus:
        """Decodes a line of a watch; an ApiStatus is the server's ERROR event.

        Raises:
            BrokenStreamError: the line is no event.
        """
        try:
            event = self._events.decode(line)
        except UNREADABLE:
            return self._event_leniently(line)
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            self._slim(event.object)
            return Change(type=event.type, object=event.object)
        # Bookmarks and errors may look like an object whose fields are all absent.
        return self._event_leniently(line)

    def _slim(self, one: T) -> None:
        one.metadata.annotations.pop(_BULK, None)
        if self._interner is not None and isinstance(one, Pod):
            self._interner.share(one)

    def _event_leniently(self, line: bytes) -> Change[T] | Bookmark | ApiStatus:
        try:
            event = self._raw_events.decode(line)
            match event.type:
                case "ERROR":
                    return msgspec.json.decode(event.object, type=ApiStatus)
                case "BOOKMARK":
                    marked = msgspec.json.decode(event.object, type=_Identified)
                    return Bookmark(resource_version=marked.metadata.resource_version)
                case "ADDED" | "MODIFIED" | "DELETED":
                    return Change(type=event.type, object=self._leniently(event.object))
                case _:
                    raise BrokenStreamError(f"a watch event of the unknown type {event.type[:40]!r}")
        except UNREADABLE as error:
            start = line[:80].decode(errors="replace")
            raise BrokenStreamError(f"a watch line that is no event: {error}; it starts {start!r}") from error

    def _leniently(self, raw: msgspec.Raw) -> T | Undecodable:
        try:
            return self._objects.decode(raw)
        except UNREADABLE:
            pass  # Tried again below, without nulls.
        try:
            return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), self._kind)
        except UNREADABLE as error:
            try:
                meta = msgspec.json.decode(raw, type=_Identified).metadata
            except UNREADABLE:
                meta = _Identity()
            return Undecodable(
                uid=meta.uid,
                namespace=meta.namespace,
                name=meta.name,
                resource_version=meta.resource_version,
                reason=str(error),
            )


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _without_nulls(entry) for key, entry in entries.items() if entry is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in cast("list[Any]", value)]
    return value
