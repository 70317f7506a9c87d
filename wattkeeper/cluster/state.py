"""Bytes that outlive a restart, in ConfigMaps `name-0`, `name-1`, ...

A ConfigMap takes at most 1 MiB, so the state is cut into shards of at most 512 KiB. Shard 0 says how many there are and
carries the sha256 of the whole. It is written last, and so a write that was cut off leaves shards that do not belong
together: the checksum finds that out.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Final

import msgspec

from wattkeeper.api.meta import Wire
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import APPLY_PATCH, Connection
from wattkeeper.cluster.errors import NotFoundError, RefusedError, StateCorruptError
from wattkeeper.cluster.resources import CONFIG_MAPS
from wattkeeper.cluster.writes import FIELD_MANAGER

SHARD_BYTES: Final = 512 * 1024
# 64 MiB: more is no state of ours, and a broken count must not make us read for ever.
_MOST_SHARDS: Final = 128
_KEY: Final = "state"


class _Shard(Wire, frozen=True, kw_only=True):
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class StateStore:
    """Reads and writes sharded state."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, namespace: str, name: str) -> bytes | None:
        """Returns the state; None if there is none.

        Raises:
            StateCorruptError: something is there and cannot be read whole.
        """
        remedy = f"Delete the ConfigMaps {name}-* in namespace {namespace} to start without it."
        first = await self._shard(namespace, name, 0)
        if first is None:
            if await self._shard(namespace, name, 1) is None:
                return None
            raise StateCorruptError(f"State {namespace}/{name} has no first shard. {remedy}")
        shards = [first]
        for index in range(1, _count(first)):
            shard = await self._shard(namespace, name, index)
            if shard is None:
                raise StateCorruptError(f"State {namespace}/{name} lacks shard {index} of {_count(first)}. {remedy}")
            shards.append(shard)
        try:
            state = b"".join(b64decode(shard.binary_data.get(_KEY, ""), validate=True) for shard in shards)
        except ValueError as error:
            raise StateCorruptError(f"State {namespace}/{name} is no base64: {error}. {remedy}") from error
        if hashlib.sha256(state).hexdigest() != first.data.get("sha256"):
            raise StateCorruptError(
                f"State {namespace}/{name} does not match its checksum: a write was cut off. {remedy}"
            )
        return state

    async def write(self, namespace: str, name: str, state: bytes) -> None:
        """Replaces the state and deletes shards that it no longer needs.

        Raises:
            RefusedError: the state is larger than 64 MiB.
        """
        pieces = [state[at : at + SHARD_BYTES] for at in range(0, len(state), SHARD_BYTES)] or [b""]
        if len(pieces) > _MOST_SHARDS:
            raise RefusedError(f"State of {len(state)} bytes is over {_MOST_SHARDS} shards of {SHARD_BYTES} bytes.")
        old = await self._shard(namespace, name, 0)
        for index in range(len(pieces) - 1, -1, -1):
            data = {"shards": str(len(pieces)), "sha256": hashlib.sha256(state).hexdigest()} if index == 0 else {}
            await self._put(namespace, f"{name}-{index}", data, pieces[index])
        await self._delete_from(namespace, name, len(pieces), _count(old) if old else 0)

    async def _shard(self, namespace: str, name: str, index: int) -> _Shard | None:
        try:
            body = await self._connection.request("GET", CONFIG_MAPS.item(namespace, f"{name}-{index}"))
        except NotFoundError:
            return None
        return read_answer(body, _Shard)

    async def _put(self, namespace: str, name: str, data: dict[str, str], piece: bytes) -> None:
        shard = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
            "binaryData": {_KEY: b64encode(piece).decode()},
        }
        await self._connection.request(
            "PATCH",
            CONFIG_MAPS.item(namespace, name),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=msgspec.json.encode(shard),
            content_type=APPLY_PATCH,
        )

    async def _delete_from(self, namespace: str, name: str, first: int, old_count: int) -> None:
        """Deletes shards from `first` on, past what the old state named, in case an earlier clean-up was cut off."""
        for index in range(first, _MOST_SHARDS):
            try:
                await self._connection.request("DELETE", CONFIG_MAPS.item(namespace, f"{name}-{index}"))
            except NotFoundError:
                if index >= old_count:
                    return


def _count(first: _Shard) -> int:
    """Returns how many shards the first one names; 1 where it does not say (the checksum then fails)."""
    named = first.data.get("shards", "")
    return min(int(named), _MOST_SHARDS) if named.isdigit() else 1
