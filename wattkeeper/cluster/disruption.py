"""What killing and migrating need: evictions, deletion costs, who gets traffic, and PowerMigrations.

An eviction that a PodDisruptionBudget forbids and one that flow control puts off are both answered 429. The first
names its cause (kubernetes 1.36 pkg/registry/core/pod/storage/eviction.go).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wattkeeper.api.meta import Wire
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.cluster.actuation import ACTUATOR_MANAGER, FINALIZER
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import JSON_PATCH, Connection
from wattkeeper.cluster.encoding import applied, written
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError, UnreachableError
from wattkeeper.cluster.objects import Pod
from wattkeeper.cluster.parts import PartWriter
from wattkeeper.cluster.resources import ENDPOINT_SLICES, RESOURCES

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Of two pods of a ReplicaSet that are alike otherwise, the one with the lower cost goes first. Absent is 0."""
_COST_PATH: Final = "/metadata/annotations/" + DELETION_COST.replace("/", "~1")
_MANAGER: Final = {"fieldManager": ACTUATOR_MANAGER}


class _Target(Wire, frozen=True, kw_only=True):
    uid: str = ""


class _Ready(Wire, frozen=True, kw_only=True):
    ready: bool | None = None


class _Endpoint(Wire, frozen=True, kw_only=True):
    target_ref: _Target | None = None
    conditions: _Ready = _Ready()


class _Slice(Wire, frozen=True, kw_only=True):
    endpoints: tuple[_Endpoint, ...] | None = None


class _Slices(Wire, frozen=True, kw_only=True):
    items: tuple[_Slice, ...] = ()


class DisruptionWriter:
    """Writes under the actuator's own field manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = PartWriter(connection)

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        """Sets or removes this very pod's deletion cost, where it is still what was seen."""
        meta = pod.metadata
        seen = meta.annotations.get(DELETION_COST)
        operations: list[dict[str, object]] = [{"op": "test", "path": "/metadata/uid", "value": meta.uid}]
        # What is absent tests as null (seen with Kubernetes 1.36); a patch can add nothing into what is absent.
        if meta.annotations:
            operations.append({"op": "test", "path": _COST_PATH, "value": seen})
        else:
            operations.append({"op": "test", "path": "/metadata/annotations", "value": None})
        if cost is not None and not meta.annotations:
            operations.append({"op": "add", "path": "/metadata/annotations", "value": {DELETION_COST: str(cost)}})
        elif cost is not None:
            operations.append({"op": "add", "path": _COST_PATH, "value": str(cost)})
        elif seen is not None:
            operations.append({"op": "remove", "path": _COST_PATH})
        else:
            return
        path = RESOURCES[Pod].item(meta.namespace, meta.name)
        body = msgspec.json.encode(operations)
        try:
            await self._connection.request("PATCH", path, query=_MANAGER, body=body, content_type=JSON_PATCH)
        except (RefusedError, ConflictError) as error:
            # The API server answers a failed test like an invalid object: look which it was.
            now = read_answer(await self._connection.request("GET", path), Pod).metadata
            if now.uid != meta.uid:
                raise NotFoundError(f"Pod {meta.namespace}/{meta.name} is another one by now.") from error
            if now.resource_version != meta.resource_version:
                raise ConflictError(f"Pod {meta.namespace}/{meta.name} has changed: {error}") from error
            raise

    async def evict(self, pod: Pod) -> None:
        """Evicts this very pod; one that is gone, or whose name another one has, is a success."""
        meta = pod.metadata
        body: dict[str, Any] = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta.name, "namespace": meta.namespace},
            "deleteOptions": {"preconditions": {"uid": meta.uid}},
        }
        path = RESOURCES[Pod].item(meta.namespace, meta.name, "eviction")
        try:
            await self._connection.request("POST", path, query=_MANAGER, body=msgspec.json.encode(body))
        except NotFoundError:
            return
        except (ConflictError, UnreachableError) as error:
            # An API server tries for 10 s to evict a pod whose UID differs, and may not answer before we give up.
            waits = isinstance(error, UnreachableError) and error.retry_after_seconds is not None
            if waits or (await self._parts.look(RESOURCES[Pod], meta)).uid == meta.uid:
                raise

    async def serving_pods(self, namespace: str) -> frozenset[str]:
        """Returns the UIDs of pods that a Service of a namespace sends traffic to."""
        answer = await self._connection.request("GET", ENDPOINT_SLICES.collection(namespace))
        found = (one for each in read_answer(answer, _Slices).items for one in each.endpoints or ())
        # Absent means ready (discovery/v1, EndpointConditions).
        return frozenset(one.target_ref.uid for one in found if one.target_ref and one.conditions.ready is not False)

    async def create_migration(self, new: PowerMigration) -> None:
        """Creates a migration."""
        path = RESOURCES[PowerMigration].collection(new.metadata.namespace)
        await self._connection.request("POST", path, query=_MANAGER, body=applied(new))

    async def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        """Brings all of a migration's status but the reservation to what is wanted."""
        part = {name: value for name, value in written(status).items() if name != "reservation"}
        resource = RESOURCES[PowerMigration]
        await self._parts.apply(
            regarding.metadata, resource, {"status": part}, manager=ACTUATOR_MANAGER, subresource="status"
        )

    async def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        """Sets or removes the finalizer."""
        metadata = {"finalizers": [FINALIZER]} if held else {}
        resource = RESOURCES[PowerMigration]
        await self._parts.apply(one.metadata, resource, {}, manager=ACTUATOR_MANAGER, metadata=metadata)
