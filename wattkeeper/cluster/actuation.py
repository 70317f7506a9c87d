"""What the actuator writes: its part of recommendations, KServe's bounds, ScaledObjects of its own, the brake."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from wattkeeper.api.meta import Condition, Wire
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation, PowerRecommendationStatus
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.braking import PAUSED_REPLICAS, Brakeable, brake_patch, check_brake
from wattkeeper.cluster.connection import MERGE_PATCH, Connection
from wattkeeper.cluster.encoding import applied, written
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError
from wattkeeper.cluster.kserve import REPLICA_FIELDS, KServeService, ManagedFields
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.cluster.parts import PartWriter
from wattkeeper.cluster.resources import RESOURCES

ACTUATOR_MANAGER: Final = "wattkeeper-actuator"
FINALIZER: Final = "wattkeeper.dev/actuator"
OURS: Final[tuple[str, str]] = ("app.kubernetes.io/managed-by", "wattkeeper-actuator")
"""The label of every ScaledObject that is ours to change."""


def is_ours(one: ScaledObject) -> bool:
    """Says whether the actuator made a ScaledObject."""
    return one.metadata.labels.get(OURS[0]) == OURS[1]


def check_fields(fields: Mapping[str, int | None]) -> None:
    """Raises RefusedError for a field that is none of those that may be changed."""
    if not fields.keys() <= REPLICA_FIELDS:
        raise RefusedError(f"{', '.join(sorted(fields.keys() - REPLICA_FIELDS))}: not ours to change.")


def check_ours(one: ScaledObject) -> None:
    """Raises RefusedError for a ScaledObject that is not marked as ours."""
    if not is_ours(one):
        name = f"{one.metadata.namespace}/{one.metadata.name}"
        raise RefusedError(f"ScaledObject {name} lacks the label {OURS[0]}={OURS[1]}: it is not ours to change.")


def is_still(seen: PowerRecommendation, now: PowerRecommendation) -> bool:
    """Says whether a recommendation notes and recommends what it was seen to.

    The leader writes it all the time, so another version alone says nothing. But what is planned from a late view knows
    less than the note that is there, and must not replace it: it may be all that is left of what a user had. And what
    was recommended before is nothing to act on, however long the watch has been silent: a half-open one says nothing.
    """
    return seen.spec == now.spec and _acted_on(seen.status) == _acted_on(now.status)


def _acted_on(status: PowerRecommendationStatus) -> tuple[object, ...]:
    bounds = (status.lower_bound.replicas, status.upper_bound.replicas)
    return status.actuation, status.mode, status.target.replicas, bounds, status.reason


def _still(seen: PowerRecommendation, body: bytes) -> bool:
    return is_still(seen, read_answer(body, PowerRecommendation))


class _OwnedMeta(Wire, frozen=True, kw_only=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class _Owned(Wire, frozen=True, kw_only=True):
    metadata: _OwnedMeta = _OwnedMeta()


class ActuationWriter:
    """Writes under the actuator's own field manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = PartWriter(connection)

    async def write_actuation(
        self, regarding: PowerRecommendation, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        """Brings the actuator's part of a status to what is wanted, from what was seen: no other note is written over.

        Raises:
            NotFoundError: the recommendation is gone, or another one has its name.
            ConflictError: it notes or recommends something else by now.
        """
        status: dict[str, Any] = {}
        if actuation is not None:
            status["actuation"] = written(actuation)
        if conditions:
            status["conditions"] = written(conditions)
        # An empty status would be a part of ours, too: without one, all that was ours goes.
        part = {"status": status} if status else {}
        resource = RESOURCES[PowerRecommendation]
        await self._parts.apply(
            regarding.metadata,
            resource,
            part,
            manager=ACTUATOR_MANAGER,
            subresource="status",
            still=partial(_still, regarding),
        )

    async def hold(self, one: PowerRecommendation, *, held: bool) -> None:
        """Sets or removes the finalizer, from what was seen. No other field of the metadata is ever ours.

        Raises:
            NotFoundError: the recommendation is gone, or another one has its name.
            ConflictError: it notes or recommends something else by now.
        """
        await self._parts.apply(
            one.metadata,
            RESOURCES[PowerRecommendation],
            {},
            manager=ACTUATOR_MANAGER,
            metadata={"finalizers": [FINALIZER]} if held else {},
            still=partial(_still, one),
        )

    async def set_replica_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        """Changes bounds of a service that is still as it was seen.

        By a merge patch: what is taken away from an applied object goes, and here it has to become what it was.
        """
        check_fields(fields)
        meta = service.metadata
        body: dict[str, Any] = {"metadata": {"resourceVersion": meta.resource_version}}
        for field, value in fields.items():
            *parents, last = field.split(".")
            place = body
            for step in parents:
                place = place.setdefault(step, {})
            place[last] = value
        await self._connection.request(
            "PATCH",
            RESOURCES[type(service)].item(meta.namespace, meta.name),
            query={"fieldManager": ACTUATOR_MANAGER},
            body=msgspec.json.encode(body),
            content_type=MERGE_PATCH,
        )

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        """Creates a ScaledObject or brings it to what is wanted.

        An apply would take over whatever has the name, so we look whose that is. One that somebody makes in between is
        taken over all the same.

        Raises:
            RefusedError: another one has the name that is not ours to change, or somebody refuses ours.
        """
        check_ours(wanted)
        meta = wanted.metadata
        there = await self._parts.look(RESOURCES[ScaledObject], meta)
        if there.uid:
            check_ours(replace(wanted, metadata=there))
        path = RESOURCES[ScaledObject].item(meta.namespace, meta.name)
        await self._parts.put(path, applied(wanted), manager=ACTUATOR_MANAGER)

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        """Deletes this very ScaledObject."""
        check_ours(gone)
        meta, resource = gone.metadata, RESOURCES[ScaledObject]
        body = {"preconditions": {"uid": meta.uid}, "propagationPolicy": "Background"}
        try:
            path = resource.item(meta.namespace, meta.name)
            await self._connection.request("DELETE", path, body=msgspec.json.encode(body))
        except NotFoundError:
            return
        except ConflictError:
            if (await self._parts.look(resource, meta)).uid == meta.uid:
                raise

    async def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        """Holds down what KEDA scales by, or lets it go, where it is still as it was seen.

        Raises:
            ConflictError: it is not, or somebody else's pause is there (`if_ours`).
        """
        check_brake(target, fields)
        meta = target.metadata
        if if_ours and await self._pausers(target) != {ACTUATOR_MANAGER}:
            raise ConflictError(f"The pause of ScaledObject {meta.namespace}/{meta.name} is somebody else's.")
        await self._connection.request(
            "PATCH",
            RESOURCES[type(target)].item(meta.namespace, meta.name),
            query={"fieldManager": ACTUATOR_MANAGER},
            body=msgspec.json.encode(brake_patch(target, fields)),
            content_type=MERGE_PATCH,
        )

    async def _pausers(self, target: Brakeable) -> set[str]:
        """Returns who has written the pause that is there, as the API server remembers it."""
        resource, meta = RESOURCES[type(target)], target.metadata
        body = await self._connection.request("GET", resource.item(meta.namespace, meta.name))
        return {
            entry.manager
            for entry in read_answer(body, _Owned).metadata.managed_fields
            if f"f:{PAUSED_REPLICAS}" in entry.fields_v1.get("f:metadata", {}).get("f:annotations", {})
        }
