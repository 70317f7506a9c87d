"""Writes to our own kinds: apply, status, delete."""

from __future__ import annotations

from typing import Final

import msgspec

from wattkeeper.cluster.connection import Connection
from wattkeeper.cluster.encoding import applied, written
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError
from wattkeeper.cluster.interface import OwnKind
from wattkeeper.cluster.parts import PartWriter
from wattkeeper.cluster.resources import RESOURCES

FIELD_MANAGER: Final = "wattkeeper"


class Writer:
    """Writes to our own kinds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = PartWriter(connection)

    async def apply(self, wanted: OwnKind) -> None:
        """Creates an object or brings metadata and spec to what is wanted, by server-side apply.

        What we applied before and no longer want goes; what others added beside it stays; on a field that both want,
        we win. Status is left.
        """
        meta = wanted.metadata
        path = RESOURCES[type(wanted)].item(meta.namespace, meta.name)
        await self._parts.put(path, applied(wanted), manager=FIELD_MANAGER)

    async def write_status(self, wanted: OwnKind) -> None:
        """Brings the leader's part of a status to what is wanted, by server-side apply.

        What we wrote before and no longer say goes; what another service of Wattkeeper's says beside it stays. The UID
        keeps the status off a namesake that was created since, and off an object that is gone.

        Raises:
            NotFoundError: the object is gone, or another one has its name.
        """
        await self._parts.apply(
            wanted.metadata,
            RESOURCES[type(wanted)],
            {"status": written(wanted.status)},
            manager=FIELD_MANAGER,
            subresource="status",
        )

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
            if (await self._parts.look(resource, meta)).uid == meta.uid:
                raise
