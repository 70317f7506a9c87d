"""Our own kinds as the API server wants them.

Unlike msgspec's `omit_defaults`, a default that says something is written out: a status of 0 watts or a target of
0 replicas is a fact to show, and a spec's default must win over what somebody else has set. Only None, "" and empty
collections are left out; they are what Kubernetes calls absent.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.interface import OwnKind
from wattkeeper.cluster.resources import RESOURCES


def written(value: object) -> Any:
    """Returns structs as dicts by their wire names, with all that is not absent."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        fields = ((wire, getattr(value, name)) for name, wire in names)
        return {wire: written(field) for wire, field in fields if not _absent(field)}
    if isinstance(value, dict):
        return {key: written(entry) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple | list):
        return [written(entry) for entry in cast("tuple[Any, ...]", value)]
    return value


def _absent(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, tuple | list | dict) and not value)


def applied(wanted: OwnKind) -> bytes:
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


def _own_metadata(meta: ObjectMeta) -> dict[str, Any]:
    """Leaves out what the server sets; a UID stays, so that a namesake is refused instead of overwritten."""
    kept = ("name", "namespace", "uid", "labels", "annotations", "ownerReferences")
    return {name: value for name, value in written(meta).items() if name in kept}
