"""Requests to an API server as rules and assertions speak of them: by verb and resource instead of method and path."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

Object = dict[str, Any]
WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request.

    Attributes:
        door: whose it is: the proxy has a door for each client.
        verb: as RBAC says it: get, list, watch, create, update, patch or delete.
        resource: the plural, "" for paths that name none, such as /version.
        namespace, name, subresource: "" where the path has none.
        body: what was sent.
    """

    door: str
    verb: str
    path: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def writes(self) -> bool:
        """Whether it asks for a change."""
        return self.verb in WRITES

    @property
    def sent(self) -> Any:
        """The body's JSON: an object, or the operations of a JSON patch; {} without a body."""
        return json.loads(self.body) if self.body else {}

    def __str__(self) -> str:
        """Says it in a line."""
        scope = f"{self.namespace}/" if self.namespace else ""
        sub = f"/{self.subresource}" if self.subresource else ""
        return f"{self.door}: {self.verb} {self.resource or self.path} {scope}{self.name}{sub}"


@dataclass(kw_only=True)
class Exchange:
    """A request that the API server has got, and what it answered.

    Attributes:
        fault: what was done to the answer, "" for nothing.
        status: HTTP status, None while there is no answer.
        answer: the answer's body; of a watch nothing is kept.
    """

    asked: Asked
    fault: str = ""
    status: int | None = None
    answer: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether the API server has done what was asked."""
        return self.status is not None and self.status < 300

    @property
    def object(self) -> Object:
        """The object that the API server answered with."""
        return cast("Object", json.loads(self.answer))

    def __str__(self) -> str:
        """Says it in a line."""
        return f"{self.asked} -> {self.status}{f' ({self.fault})' if self.fault else ''}"


def parse(door: str, method: str, path: str, query: Mapping[str, str], body: bytes) -> Asked:
    """Returns what a request asks for."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = "", list[str]()
    if parts[0] == "api":
        rest = parts[2:]
    elif parts[0] == "apis":
        group, rest = "".join(parts[1:2]), parts[3:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = [*rest, "", "", ""][:3]
    return Asked(
        door=door,
        verb=_verb(method, named=bool(name), watches=query.get("watch") in ("1", "true")),
        path=path,
        group=group,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
        query=dict(query),
        body=body,
    )


def _verb(method: str, *, named: bool, watches: bool) -> str:
    if method == "GET":
        return "watch" if watches else "get" if named else "list"
    return {"POST": "create", "PUT": "update"}.get(method, method.lower())


Which = Callable[[Asked], bool]
"""Says whether a request is meant."""


def writes(resource: str = "", **exactly: str) -> Which:
    """Means requests that change something, of one resource where that is named; see `asks`."""
    return lambda asked: asked.writes and asks(resource=resource, **exactly)(asked)


def watches(resource: str = "", **exactly: str) -> Which:
    """Means watches, of one resource where that is named; see `asks`."""
    return asks(resource=resource, verb="watch", **exactly)


def asks(**exactly: str) -> Which:
    """Means requests whose attributes of Asked are these; "" stands for any."""
    wanted = {name: value for name, value in exactly.items() if value}
    return lambda asked: all(getattr(asked, name) == value for name, value in wanted.items())


def first_of_each(which: Which, told_apart: Callable[[Asked], str] = lambda _: "") -> Which:
    """Means the first request of each kind among those that are meant: of each verb and object, or part of one.

    Those that are tried again, and what comes later, get through.

    Args:
        which: those that are meant.
        told_apart: further tells kinds apart, such as by what is written.
    """
    met: set[tuple[str, str, str, str, str]] = set()

    def first(asked: Asked) -> bool:
        if not which(asked):
            return False
        kind = (asked.verb, asked.resource, asked.name, asked.subresource, told_apart(asked))
        new = kind not in met
        met.add(kind)
        return new

    return first
