"""Server-side apply of a part of an object that is there: a status, or a few fields of the metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from wattkeeper.api.meta import ObjectMeta, Wire
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import APPLY_PATCH, Connection
from wattkeeper.cluster.encoding import applied_part
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError, UnreachableError
from wattkeeper.cluster.resources import Resource

_MOST_ATTEMPTS: Final = 4
_COLLIDED: Final = "PATCH {path}: {count} conflicts in a row, try again later"


def _whatever_it_says(_body: bytes) -> bool:
    return True


class _Identified(Wire, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()


class PartWriter:
    """Applies parts. Each field manager's parts are its own: what it applied before and no longer does goes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def apply(
        self,
        meta: ObjectMeta,
        resource: Resource,
        part: Mapping[str, object],
        *,
        manager: str,
        subresource: str = "",
        metadata: Mapping[str, object] = MappingProxyType({}),
        still: Callable[[bytes], bool] = _whatever_it_says,
    ) -> None:
        """Applies a part of this very object; on a field that others want too, we win.

        The API server ignores the UID in what is applied to a status (seen with Kubernetes 1.36), but not the
        resourceVersion. So the one that was seen goes along, and after a conflict we look whose object it is by now.
        Without a UID whatever has the name is written.

        Args:
            meta: of the object as it was seen.
            resource: its kind.
            part: what is applied.
            manager: whose part it is.
            subresource: such as status.
            metadata: what is applied of the metadata.
            still: says, of an object that has changed since, whether the part still holds.

        Raises:
            NotFoundError: the object is gone, or another one has its name.
            ConflictError: the part does not hold any more.
        """
        path = resource.item(meta.namespace, meta.name, subresource)
        if not meta.uid:
            await self.put(path, applied_part(meta, resource, part, metadata), manager=manager)
            return
        if not meta.resource_version:
            meta = await self._seen(resource, meta, still)
        for _ in range(_MOST_ATTEMPTS):
            try:
                await self._send(path, applied_part(meta, resource, part, metadata), manager)
            except ConflictError:
                meta = await self._seen(resource, meta, still)
            except RefusedError:
                await self._seen(resource, meta, still)
                raise
            else:
                return
        raise UnreachableError(_COLLIDED.format(count=_MOST_ATTEMPTS, path=path))

    async def put(self, path: str, body: bytes, *, manager: str) -> None:
        """Sends an apply that does not depend on what is there: a conflict means only that it collided."""
        for _ in range(_MOST_ATTEMPTS):
            try:
                await self._send(path, body, manager)
            except ConflictError:
                continue
            return
        raise UnreachableError(_COLLIDED.format(count=_MOST_ATTEMPTS, path=path))

    async def look(self, resource: Resource, meta: ObjectMeta) -> ObjectMeta:
        """Returns the metadata of the object that has this name now, its UID "" if there is none."""
        return read_answer(await self._read(resource, meta), _Identified).metadata

    async def _read(self, resource: Resource, meta: ObjectMeta) -> bytes:
        try:
            return await self._connection.request("GET", resource.item(meta.namespace, meta.name))
        except NotFoundError:
            return b"{}"

    async def _seen(self, resource: Resource, meta: ObjectMeta, still: Callable[[bytes], bool]) -> ObjectMeta:
        """Returns what identifies the object as it is by now.

        Raises:
            NotFoundError: the object is gone, or another one has its name.
            ConflictError: the part does not hold any more.
        """
        body = await self._read(resource, meta)
        found = read_answer(body, _Identified).metadata
        name = f"{resource.kind} {meta.namespace}/{meta.name}"
        if found.uid != meta.uid:
            raise NotFoundError(f"{name} is gone, or another object by now: it is left alone.")
        if not still(body):
            raise ConflictError(f"{name} says something else by now: look again.")
        return replace(meta, resource_version=found.resource_version)

    async def _send(self, path: str, body: bytes, manager: str) -> None:
        query = {"fieldManager": manager, "force": "true"}
        await self._connection.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)
