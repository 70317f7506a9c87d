"""The API server's side of a mutating webhook for pods: it asks about new ones and applies the patch in the answer.

Who is asked about follows the rules of the chart's webhook configuration: pods that carry the marks, in namespaces that
were opted in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from wattkeeper.api.admission import concerned, opted_in
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Namespace, Pod
from wattkeeper.simulation.errors import UnusablePatchError

_REVIEW: Final = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
_POD: Final = {"group": "", "version": "v1", "kind": "Pod"}

Ask = Callable[[bytes], bytes]
"""Takes the body of an AdmissionReview and returns that of the answer, as a webhook does over HTTPS."""


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    patch: bytes = b""


class _Answer(msgspec.Struct, frozen=True):
    response: _Response


class PodWebhook:
    """Asks one webhook."""

    def __init__(self, view: View, ask: Ask) -> None:
        self._view = view
        self._ask = ask
        self._asked = 0

    def admit(self, new: Pod) -> Pod:
        """Returns a pod as it is stored once the webhook was asked about it."""
        namespace = self._view.get(Namespace, "", new.metadata.namespace)
        if namespace is None or not opted_in(namespace.metadata.labels) or not concerned(new.metadata.labels):
            return new
        self._asked += 1
        pod = msgspec.json.decode(msgspec.json.encode(new))
        request = {
            "uid": f"review-{self._asked}",
            "kind": _POD,
            "operation": "CREATE",
            "namespace": new.metadata.namespace,
            "name": new.metadata.name,
            "object": pod,
        }
        body = self._ask(msgspec.json.encode({**_REVIEW, "request": request}))
        patch = msgspec.json.decode(body, type=_Answer).response.patch
        return msgspec.convert(patched(pod, msgspec.json.decode(patch)), Pod) if patch else new


def patched(document: Any, operations: Sequence[dict[str, Any]]) -> Any:
    """Returns a JSON document after a JSON patch (RFC 6902) of additions and replacements.

    >>> patched({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "replace", "path": "/a/0", "value": 0}])
    {'a': [0, 2]}

    Raises:
        UnusablePatchError: another operation, or a path to something that is not there.
    """
    made = copy.deepcopy(document)
    for operation in operations:
        *parents, last = (
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].removeprefix("/").split("/")
        )
        holder: Any = made
        try:
            for part in parents:
                holder = _member(holder, part)
            _set(holder, operation["op"], last, operation["value"])
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise UnusablePatchError(f"cannot {operation['op']} {operation['path']}: {error!r}") from error
    return made


def _member(holder: Any, name: str) -> Any:
    return cast("list[Any]", holder)[int(name)] if isinstance(holder, list) else holder[name]


def _set(holder: Any, operation: str, name: str, value: object) -> None:
    if operation not in ("add", "replace"):
        raise ValueError(operation)
    if isinstance(holder, dict):
        members = cast("dict[str, object]", holder)
        if operation == "replace" and name not in members:
            raise KeyError(name)
        members[name] = value
        return
    items = cast("list[object]", holder)
    if operation == "replace":
        items[int(name)] = value
    else:
        items.insert(len(items) if name == "-" else int(name), value)
