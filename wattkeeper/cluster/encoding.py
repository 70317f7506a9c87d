"""Our own kinds as the API server wants them.

Unlike msgspec's `omit_defaults`, a default that says something is written out: a status of 0 watts or a target of
0 replicas is a fact to show, and a spec's default must win over what somebody else has set. Only None, "" and empty
collections are left out; they are what Kubernetes calls absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import msgspec

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.interface import OwnKind
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.cluster.resources import RESOURCES, Resource


def written(value: object) -> Any:
    """Returns structs as dicts by their wire names, with all that is not absent."""
    if isinstance(value, msgspec.Struct):
        return _written_struct(value)
    if isinstance(value, dict):
        return {key: written(entry) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple | list):
        return [written(entry) for entry in cast("tuple[Any, ...]", value)]
    return value


def _written_struct(struct: msgspec.Struct) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, wire, required in _fields(type(struct)):
        field = getattr(struct, name)
        entry = written(field)
        if required and entry == {} and isinstance(field, msgspec.Struct):
            out[wire] = _empty(field)
        elif required or entry not in (None, "", [], {}):
            out[wire] = entry
    return out


def _empty(struct: msgspec.Struct) -> dict[str, Any]:
    """Returns a required struct that says nothing, such as a selector of everything, with its empty lists spelt out.

    Server-side apply makes null of an applied {} that had entries before, and then refuses the null (seen with
    Kubernetes 1.36); with an empty list in it the object stays one.
    """
    return {wire: [] for name, wire, _ in _fields(type(struct)) if getattr(struct, name) == ()}


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, bool], ...]:
    """Returns each field's name, its name on the wire, and whether it must be there."""
    return tuple((one.name, one.encode_name, one.required) for one in msgspec.structs.fields(kind))


def applied(wanted: OwnKind | ScaledObject) -> bytes:
    """Returns what server-side apply needs of an object: identity, metadata that we set, and spec."""
    resource = RESOURCES[type(wanted)]
    return msgspec.json.encode(
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": _own_metadata(wanted.metadata),
            "spec": written(wanted.spec),
        }
    )


def applied_part(
    meta: ObjectMeta, resource: Resource, part: Mapping[str, object], metadata: Mapping[str, object]
) -> bytes:
    """Returns what server-side apply needs to write a part of this very object: which it is, as it was seen, and what.

    Args:
        meta: the object's.
        resource: its kind.
        part: top-level fields.
        metadata: further fields of the metadata.
    """
    kept = ("name", "namespace", "uid", "resourceVersion")
    identity = {name: value for name, value in written(meta).items() if name in kept}
    return msgspec.json.encode(
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {**identity, **metadata},
            **part,
        }
    )


def _own_metadata(meta: ObjectMeta) -> dict[str, Any]:
    """Leaves out what the server sets. Apply goes by name: an object that was deleted meanwhile is made again."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    return {name: value for name, value in written(meta).items() if name in kept}
