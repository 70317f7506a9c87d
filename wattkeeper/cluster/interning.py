"""Pods of one service say the same things: keep each thing once."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from msgspec.structs import force_setattr

from wattkeeper.cluster.objects import Container, Pod

_MOST_ENTRIES: Final = 16_384
V = TypeVar("V")


class Interner:
    """Shares equal parts between pods: half of their memory, for a few microseconds a pod (tests/perf/informer.py).

    Parts are replaced inside frozen structs, which is sound only here, before anybody else has seen the pod. A table is
    emptied when full; that costs sharing, never correctness. There is one per type, because keys of different types may
    be equal: nothing at all is () as owners, labels and containers alike.
    """

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._dicts: dict[tuple[str, ...], dict[str, str]] = {}
        self._containers: dict[tuple[object, ...], tuple[Container, ...]] = {}

    def share(self, pod: Pod) -> None:
        """Replaces parts of a pod by equal ones that are there already."""
        for table in (self._values, self._dicts, self._containers):
            if len(table) > _MOST_ENTRIES:
                table.clear()
        meta, spec, status = pod.metadata, pod.spec, pod.status
        force_setattr(meta, "namespace", self._same(meta.namespace))
        force_setattr(meta, "labels", self._same_dict(meta.labels))
        force_setattr(meta, "annotations", self._same_dict(meta.annotations))
        force_setattr(meta, "owner_references", self._same(meta.owner_references))
        force_setattr(spec, "node_name", self._same(spec.node_name))
        force_setattr(spec, "node_selector", self._same_dict(spec.node_selector))
        if spec.affinity is not None:
            force_setattr(spec, "affinity", self._same(spec.affinity))
        force_setattr(spec, "containers", self._same_containers(spec.containers))
        force_setattr(status, "phase", self._same(status.phase))

    def _same(self, value: V) -> V:
        return self._values.setdefault(value, value)

    def _same_dict(self, value: dict[str, str]) -> dict[str, str]:
        return self._dicts.setdefault((*value, *value.values()), value)

    def _same_containers(self, value: tuple[Container, ...]) -> tuple[Container, ...]:
        key: list[object] = []
        for one in value:
            requests, limits = one.resources.requests, one.resources.limits
            key += (one.name, len(requests), len(limits), *requests, *requests.values(), *limits, *limits.values())
        return self._containers.setdefault(tuple(key), value)
