"""JSON patches (RFC 6902), only as large as what changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec


class Operation(msgspec.Struct, frozen=True):
    """One step. Of the six operations two are needed: nothing is ever taken away from a pod."""

    op: Literal["add", "replace"]
    path: str
    value: Any


@lru_cache(maxsize=4096)
def pointer(*parts: str | int) -> str:
    """Returns a JSON pointer (RFC 6901).

    >>> pointer("metadata", "annotations", "wattkeeper.dev/admission")
    '/metadata/annotations/wattkeeper.dev~1admission'
    """
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def set_members(path: str, there: Mapping[str, object] | None, wanted: Mapping[str, object]) -> list[Operation]:
    """Returns what gives an object members that it lacks or that differ.

    Args:
        path: pointer to the object.
        there: its members; None where the object itself is missing (or null).
        wanted: the members to set.

    >>> set_members("/a", {"b": 1}, {"b": 1, "c": 2})
    [Operation(op='add', path='/a/c', value=2)]
    """
    if not wanted:
        return []
    if there is None:
        return [Operation(op="add", path=path, value=dict(wanted))]
    return [
        Operation(op="replace" if name in there else "add", path=path + pointer(name), value=value)
        for name, value in wanted.items()
        if name not in there or there[name] != value
    ]


def append(path: str, there: object | None, item: object) -> Operation:
    """Returns what puts one more item at the end of an array; None stands for an array that is missing (or null)."""
    if there is None:
        return Operation(op="add", path=path, value=[item])
    return Operation(op="add", path=f"{path}/-", value=item)
