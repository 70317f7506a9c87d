"""What the actuator may write, on objects in memory, and whose part of a status is whose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from wattkeeper.api.meta import Condition
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.cluster.actuation import ACTUATOR_MANAGER, FINALIZER, check_fields, check_ours, is_still
from wattkeeper.cluster.braking import PAUSE, PAUSED_REPLICAS, Brakeable, brake_patch, check_brake
from wattkeeper.cluster.errors import ConflictError, NotFoundError
from wattkeeper.cluster.interface import OwnKind
from wattkeeper.cluster.kserve import KServeService, ManagedFields
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.cluster.writes import FIELD_MANAGER
from wattkeeper.simulation.store import ObjectStore


class StatusParts:
    """Remembers which conditions each field manager has written, as an API server does."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)

    def leader(self, old: OwnKind, wanted: OwnKind) -> OwnKind:
        """Returns an object once the leader has applied its part of the status."""
        conditions = self._merged(old, wanted.status.conditions, FIELD_MANAGER)
        if isinstance(old, PowerRecommendation) and isinstance(wanted, PowerRecommendation):
            status = replace(wanted.status, actuation=old.status.actuation, conditions=conditions)
            return replace(old, status=status)
        if isinstance(old, PowerMigration) and isinstance(wanted, PowerMigration):
            status = replace(old.status, reservation=wanted.status.reservation, conditions=conditions)
            return replace(old, status=status)
        return replace(old, status=replace(wanted.status, conditions=conditions))  # pyright: ignore[reportArgumentType] - both of one kind

    def actuator(
        self, old: PowerRecommendation, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> PowerRecommendation:
        """Returns a recommendation once the actuator has applied its part of the status."""
        merged = self._merged(old, conditions, ACTUATOR_MANAGER)
        return replace(old, status=replace(old.status, actuation=actuation, conditions=merged))

    def migration(self, old: PowerMigration, status: PowerMigrationStatus) -> PowerMigration:
        """Returns a migration once the actuator has applied its part of the status."""
        merged = self._merged(old, status.conditions, ACTUATOR_MANAGER)
        return replace(old, status=replace(status, reservation=old.status.reservation, conditions=merged))

    def _merged(self, old: OwnKind, given: tuple[Condition, ...], manager: str) -> tuple[Condition, ...]:
        """A condition keeps its place in the list; what this manager no longer says goes."""
        key = (old.metadata.uid, manager)
        new = {one.type: one for one in given}
        gone = self._types[key] - new.keys()
        self._types[key] = frozenset(new)
        kept = [new.pop(one.type, one) for one in old.status.conditions if one.type not in gone]
        return (*kept, *new.values())


class ActuationObjects:
    """The actuator's verbs."""

    def __init__(
        self, objects: ObjectStore, parts: StatusParts, create: Callable[[ScaledObject], ScaledObject]
    ) -> None:
        self._objects = objects
        self._parts = parts
        self._create = create
        self._pauses: dict[str, str] = {}

    def write(
        self, regarding: PowerRecommendation, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        """Brings the actuator's part of a recommendation's status to what is wanted."""
        self._objects.update(self._parts.actuator(self._same(regarding), actuation, conditions))

    def hold(self, one: PowerRecommendation, *, held: bool) -> None:
        """Sets or removes the finalizer; an object that is to go goes with its last one."""
        now = self._same(one)
        others = tuple(name for name in now.metadata.finalizers if name != FINALIZER)
        finalizers = (*others, FINALIZER) if held else others
        self._objects.update(replace(now, metadata=replace(now.metadata, finalizers=finalizers)))
        if now.metadata.deletion_timestamp and not finalizers:
            self._objects.remove(now)

    def set_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        """Changes bounds of a service that is still as it was seen."""
        check_fields(fields)
        meta = service.metadata
        now = self._objects.get(type(service), meta.namespace, meta.name)
        if now is None:
            raise NotFoundError(f"{type(service).__name__} {meta.namespace}/{meta.name} is not there.")
        if now.metadata.resource_version != meta.resource_version:
            raise ConflictError(f"{type(service).__name__} {meta.namespace}/{meta.name} has changed")
        raw: dict[str, Any] = msgspec.to_builtins(now)
        for field, value in fields.items():
            *parents, last = field.split(".")
            place = raw
            for step in parents:
                place = place.setdefault(step, {})
            place.pop(last, None)
            if value is not None:
                place[last] = value
        changed = msgspec.convert(raw, type(now))
        managed = claimed(now.metadata.managed_fields, ACTUATOR_MANAGER, fields)
        self._objects.update(replace(changed, metadata=replace(changed.metadata, managed_fields=managed)))

    def apply(self, wanted: ScaledObject) -> None:
        """Creates a ScaledObject or brings it to what is wanted."""
        check_ours(wanted)
        old = self._objects.get(ScaledObject, wanted.metadata.namespace, wanted.metadata.name)
        if old is None:
            self._create(wanted)
        else:
            check_ours(old)
            self._objects.update(replace(old, spec=wanted.spec))

    def delete(self, gone: ScaledObject) -> None:
        """Deletes this very ScaledObject."""
        check_ours(gone)
        self._objects.remove(gone)

    def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        """Holds down what KEDA scales by, where it is still as it was seen."""
        check_brake(target, fields)
        meta = target.metadata
        now = self._objects.get(type(target), meta.namespace, meta.name)
        if now is None:
            raise NotFoundError(f"{type(target).__name__} {meta.namespace}/{meta.name} is not there.")
        if now.metadata.resource_version != meta.resource_version:
            raise ConflictError(f"{type(target).__name__} {meta.namespace}/{meta.name} has changed")
        if if_ours and self._pauses.get(meta.uid) != meta.annotations.get(PAUSED_REPLICAS):
            raise ConflictError(f"the pause of {type(target).__name__} {meta.namespace}/{meta.name} is somebody else's")
        if PAUSE in fields:
            self._pauses[meta.uid] = str(fields[PAUSE])
        raw = merged(msgspec.to_builtins(now), brake_patch(target, fields))
        self._objects.update(msgspec.convert(raw, type(now)))

    def _same(self, one: PowerRecommendation) -> PowerRecommendation:
        meta = one.metadata
        now = self._objects.get(PowerRecommendation, meta.namespace, meta.name)
        if now is None or now.metadata.uid != meta.uid:
            raise NotFoundError(f"PowerRecommendation {meta.namespace}/{meta.name} is not there, or another one.")
        if meta.resource_version != now.metadata.resource_version and not is_still(one, now):
            raise ConflictError(f"PowerRecommendation {meta.namespace}/{meta.name} says something else by now.")
        return now


def merged(raw: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an object with a merge patch applied (RFC 7396)."""
    out = dict(raw)
    for name, value in patch.items():
        if isinstance(value, dict):
            out[name] = merged(out.get(name) or {}, cast("dict[str, Any]", value))
        elif value is None:
            out.pop(name, None)
        else:
            out[name] = value
    return out


def claimed(
    before: tuple[ManagedFields, ...], manager: str, fields: Mapping[str, int | None]
) -> tuple[ManagedFields, ...]:
    """Returns who wrote what once a manager has written these fields: they are its own now."""
    paths = [tuple(f"f:{step}" for step in field.split(".")) for field in fields]
    entries: list[ManagedFields] = []
    for entry in before:
        raw: dict[str, Any] = msgspec.to_builtins(entry.fields_v1)
        for path in paths:
            if entry.manager == manager:
                _nested(raw, path[:-1])[path[-1]] = {}
            else:
                _nested(raw, path[:-1]).pop(path[-1], None)
        entries.append(replace(entry, fields_v1=raw))
    if not any(entry.manager == manager for entry in before):
        raw = {}
        for path in paths:
            _nested(raw, path[:-1])[path[-1]] = {}
        entries.append(ManagedFields(manager=manager, fields_v1=raw))
    return tuple(entries)


def _nested(raw: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for step in path:
        raw = raw.setdefault(step, {})
    return raw
