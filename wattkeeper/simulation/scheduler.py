"""The scheduler: puts pending pods on nodes where they fit, spread over nodes."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from wattkeeper.cluster.objects import Node, Pod
from wattkeeper.recommender.nodes import gpu_count
from wattkeeper.recommender.placement import NodeIndex
from wattkeeper.recommender.pods import requested
from wattkeeper.simulation.cluster import TwinCluster


class Scheduler:
    """Binds pods, oldest first. GPUs, node selectors and required affinity decide; CPU is never what is short."""

    def __init__(self, cluster: TwinCluster) -> None:
        self._cluster = cluster
        self._waiting: dict[str, Pod] = {}
        cluster.objects.subscribe(Pod, self._changed)

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is not None:
            self._waiting.pop(pod.metadata.uid, None)
        if new is not None and not new.spec.node_name and not new.metadata.deletion_timestamp:
            self._waiting[new.metadata.uid] = new

    def reconcile(self) -> None:
        """Binds what fits. What does not fit stays pending."""
        if not self._waiting:
            return
        objects = self._cluster.objects
        nodes = sorted(objects.all(Node).values(), key=lambda node: node.metadata.name)
        index = NodeIndex(tuple(node.metadata.name for node in nodes), [dict(node.metadata.labels) for node in nodes])
        row_of = {node.metadata.name: row for row, node in enumerate(nodes)}
        free = np.array([gpu_count(node.status.allocatable) for node in nodes], dtype=np.float64)
        siblings: dict[str, Counter[int]] = {}
        for pod in objects.all(Pod).values():
            row = row_of.get(pod.spec.node_name, -1)
            if row >= 0:
                free[row] -= requested(pod.spec)[0]
                siblings.setdefault(_owner(pod), Counter())[row] += 1
        for pod in sorted(self._waiting.values(), key=lambda pod: pod.metadata.uid):
            wanted = requested(pod.spec)[0]
            fits = np.flatnonzero(index.allows(pod.spec) & (free >= wanted))
            if not len(fits):
                continue
            beside = siblings.setdefault(_owner(pod), Counter())
            row = min(fits.tolist(), key=lambda row: (beside[row], -free[row], row))
            free[row] -= wanted
            beside[row] += 1
            spec = msgspec.structs.replace(pod.spec, node_name=nodes[row].metadata.name)
            objects.update(msgspec.structs.replace(pod, spec=spec))


def _owner(pod: Pod) -> str:
    owners = pod.metadata.owner_references
    return owners[0].uid if owners else pod.metadata.uid
