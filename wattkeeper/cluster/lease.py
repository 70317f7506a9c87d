"""Who leads: Leases of coordination.k8s.io/v1.

A Lease is expired when *we* have not seen it change for as long as its holder asked for. The holder's own times are
never compared with ours, because clocks differ. Every write is guarded by the resourceVersion that was read.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wattkeeper.api.meta import ObjectMeta, Wire
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import MERGE_PATCH, Connection
from wattkeeper.cluster.errors import ConflictError, NotFoundError
from wattkeeper.cluster.resources import LEASES
from wattkeeper.cluster.timestamps import micro_time
from wattkeeper.cluster.writes import FIELD_MANAGER

_REQUEST_SECONDS: Final = 5.0


class LeaseSpec(Wire, frozen=True, kw_only=True):
    """Who holds the Lease, and for how long after each renewal."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Wire, frozen=True, kw_only=True):
    """A Lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class Leases:
    """Takes, renews and gives up Leases."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # What each Lease said when it last changed, and when that was seen.
        self._seen: dict[tuple[str, str], tuple[LeaseSpec, float]] = {}

    async def hold(
        self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float, by_force: bool = False
    ) -> bool:
        """Takes or renews a Lease, by force from whoever has it. Returns whether the holder has it now."""
        lease = await self._read(namespace, name)
        if lease is None:
            return await self._create(namespace, name, holder, duration_seconds, now)
        spec = lease.spec
        known, changed_at = self._seen.get((namespace, name), (None, now))
        if known != spec:
            changed_at = now
            self._seen[namespace, name] = (spec, now)
        ours = spec.holder_identity == holder
        taken = not ours and bool(spec.holder_identity)
        if taken and not by_force and now - changed_at < (spec.lease_duration_seconds or duration_seconds):
            return False
        wanted: dict[str, object] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_seconds,
            "renewTime": micro_time(now),
        }
        if not ours:
            wanted["acquireTime"] = micro_time(now)
            wanted["leaseTransitions"] = (spec.lease_transitions or 0) + 1
        return await self._write(lease, wanted)

    async def release(self, *, namespace: str, name: str, holder: str) -> None:
        """Gives a Lease up if this holder has it."""
        lease = await self._read(namespace, name)
        if lease is not None and lease.spec.holder_identity == holder:
            await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})

    async def _read(self, namespace: str, name: str) -> Lease | None:
        try:
            body = await self._connection.request("GET", LEASES.item(namespace, name), seconds=_REQUEST_SECONDS)
        except NotFoundError:
            return None
        return read_answer(body, Lease)

    async def _create(self, namespace: str, name: str, holder: str, duration_seconds: int, now: float) -> bool:
        lease = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration_seconds,
                "acquireTime": micro_time(now),
                "renewTime": micro_time(now),
                "leaseTransitions": 0,
            },
        }
        try:
            await self._connection.request(
                "POST",
                LEASES.collection(namespace),
                query={"fieldManager": FIELD_MANAGER},
                body=msgspec.json.encode(lease),
                seconds=_REQUEST_SECONDS,
            )
        except ConflictError:
            return False
        return True

    async def _write(self, lease: Lease, spec: dict[str, object]) -> bool:
        """Changes a Lease if it still is as it was read."""
        meta = lease.metadata
        try:
            await self._connection.request(
                "PATCH",
                LEASES.item(meta.namespace, meta.name),
                query={"fieldManager": FIELD_MANAGER},
                body=msgspec.json.encode({"metadata": {"resourceVersion": meta.resource_version}, "spec": spec}),
                content_type=MERGE_PATCH,
                seconds=_REQUEST_SECONDS,
            )
        except (ConflictError, NotFoundError):
            return False
        return True
