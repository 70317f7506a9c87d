"""Pods of one service say the same things: keep each thing once."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from msgspec.structs import force_setattr

from wattkeeper.cluster.objects import Pod

_MOST_ENTRIES: Final = 65_536
# A client-side apply leaves a second copy of the whole object here.
_BULK: Final = "kubectl.kubernetes.io/last-applied-configuration"
V = TypeVar("V")


class Interner:
    """Shares equal parts between pods: a third of their memory, for a few microseconds a pod (tests/perf/informer.py).

    Parts are replaced inside frozen structs, which is sound only here, before anybody else has seen the pod. The table
    is emptied when full; that costs sharing, never correctness.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def share(self, pod: Pod) -> None:
        """Replaces parts of a pod by equal ones that are there already."""
        if len(self._known) > _MOST_ENTRIES:
            self._known.clear()
        meta, spec, status = pod.metadata, pod.spec, pod.status
        if _BULK in meta.annotations:
            del meta.annotations[_BULK]
        force_setattr(meta, "namespace", self._same(meta.namespace))
        force_setattr(meta, "labels", self._same_dict(meta.labels))
        force_setattr(meta, "annotations", self._same_dict(meta.annotations))
        force_setattr(meta, "owner_references", self._same(meta.owner_references))
        force_setattr(spec, "node_name", self._same(spec.node_name))
        force_setattr(spec, "node_selector", self._same_dict(spec.node_selector))
        if spec.affinity is not None:
            force_setattr(spec, "affinity", self._same(spec.affinity))
        key: list[object] = []
        for one in spec.containers:
            requests, limits = one.resources.requests, one.resources.limits
            key += (one.name, len(requests), len(limits), *requests, *requests.values(), *limits, *limits.values())
        force_setattr(spec, "containers", self._known.setdefault(tuple(key), spec.containers))
        force_setattr(status, "phase", self._same(status.phase))

    def _same(self, value: V) -> V:
        return self._known.setdefault(value, value)

    def _same_dict(self, value: dict[str, str]) -> dict[str, str]:
        return self._known.setdefault((*value, *value.values()), value)
