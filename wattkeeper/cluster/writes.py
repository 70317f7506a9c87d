"""Writes to our own kinds: apply, status, delete."""

from __future__ import annotations

from typing import Final

import msgspec

from wattkeeper.api.meta import ObjectMeta, Wire
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import APPLY_PATCH, JSON_PATCH, Connection
from wattkeeper.cluster.encoding import applied, written
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError, UnreachableError
from wattkeeper.cluster.interface import OwnKind
from wattkeeper.cluster.resources import RESOURCES

FIELD_MANAGER: Final = "wattkeeper"
_MOST_ATTEMPTS: Final = 4


class _Identified(Wire, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()


class Writer:
    """Writes to our own kinds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def apply(self, wanted: OwnKind) -> None:
        """Creates an object or brings metadata and spec to what is wanted, by server-side apply.

        What we applied before and no longer want goes; what others added beside it stays; on a field that both want,
        we win. Status is left.
        """
        meta = wanted.metadata
        await self._retried(
            "PATCH",
            RESOURCES[type(wanted)].item(meta.namespace, meta.name),
            body=applied(wanted),
            content_type=APPLY_PATCH,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
        )

    async def write_status(self, wanted: OwnKind) -> None:
        """Replaces the status whole, whatever was there.

        A JSON patch whose "add" puts a whole new value in the place of the old: fields that are gone vanish, no
        resourceVersion is needed, and the "test" keeps the status off a namesake that was created since.

        Raises:
            NotFoundError: the object is gone, or another one has its name.
        """
        meta = wanted.metadata
        path = RESOURCES[type(wanted)].item(meta.namespace, meta.name, "status")
        operations: list[dict[str, object]] = [{"op": "add", "path": "/status", "value": written(wanted.status)}]
        if meta.uid:
            operations.insert(0, {"op": "test", "path": "/metadata/uid", "value": meta.uid})
        try:
            await self._retried(
                "PATCH",
                path,
                body=msgspec.json.encode(operations),
                content_type=JSON_PATCH,
                query={"fieldManager": FIELD_MANAGER},
            )
        except RefusedError as error:
            # The API server answers a failed test like an invalid object: look which it was.
            if meta.uid and await self._uid(wanted) != meta.uid:
                kind = RESOURCES[type(wanted)].kind
                raise NotFoundError(
                    f"{kind} {meta.namespace}/{meta.name} is another object by now: its status is left alone."
                ) from error
            raise

    async def delete(self, gone: OwnKind) -> None:
        """Deletes this very object; one that is gone, or whose name another one has, is a success.

        Raises:
            RefusedError: the object carries no UID.
        """
        meta = gone.metadata
        resource = RESOURCES[type(gone)]
        if not meta.uid:
            raise RefusedError(f"{resource.kind} {meta.namespace}/{meta.name} has no UID: delete what the view shows.")
        body = {"preconditions": {"uid": meta.uid}, "propagationPolicy": "Background"}
        try:
            await self._connection.request(
                "DELETE", resource.item(meta.namespace, meta.name), body=msgspec.json.encode(body)
            )
        except NotFoundError:
            return
        except ConflictError:
            if await self._uid(gone) == meta.uid:
                raise

    async def _uid(self, one: OwnKind) -> str:
        """Returns the UID that the object of this name has now; "" if there is none."""
        path = RESOURCES[type(one)].item(one.metadata.namespace, one.metadata.name)
        try:
            body = await self._connection.request("GET", path)
        except NotFoundError:
            return ""
        return read_answer(body, _Identified).metadata.uid

    async def _retried(self, method: str, path: str, *, body: bytes, content_type: str, query: dict[str, str]) -> None:
        """Sends a write that does not depend on what is there; a conflict means only that it collided."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                await self._connection.request(method, path, query=query, body=body, content_type=content_type)
            except ConflictError as error:
                if attempt == _MOST_ATTEMPTS:
                    raise UnreachableError(f"{attempt} conflicts in a row, try again later: {error}") from error
            else:
                return
