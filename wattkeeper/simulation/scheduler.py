"""The scheduler: puts pending pods on nodes where they fit, spread over zones, then over nodes.

Kubernetes' defaults do so too (PodTopologySpread's default constraints name zone and hostname).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
import numpy as np

from wattkeeper.api.readings import Floats
from wattkeeper.cluster.objects import Node, Pod
from wattkeeper.recommender.nodes import gpu_count
from wattkeeper.recommender.placement import NodeIndex
from wattkeeper.recommender.pods import requested
from wattkeeper.simulation.cluster import TwinCluster

ZONE: Final = "topology.kubernetes.io/zone"


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
            if new.spec.scheduling_gates:
                return  # Kubernetes looks at a pod when its last gate is gone.
            self._waiting[new.metadata.uid] = new

    def reconcile(self) -> None:
        """Binds what fits. What does not fit stays pending."""
        if not self._waiting:
            return
        objects = self._cluster.objects
        nodes = sorted(objects.all(Node).values(), key=lambda node: node.metadata.name)
        index = NodeIndex(tuple(node.metadata.name for node in nodes), [dict(node.metadata.labels) for node in nodes])
        row_of = {node.metadata.name: row for row, node in enumerate(nodes)}
        zones = [node.metadata.labels.get(ZONE, "") for node in nodes]
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
            in_zone: Counter[str] = Counter()
            for row, count in beside.items():
                in_zone[zones[row]] += count
            row = _best(fits.tolist(), zones, in_zone, beside, free)
            free[row] -= wanted
            beside[row] += 1
            spec = msgspec.structs.replace(pod.spec, node_name=nodes[row].metadata.name)
            objects.update(msgspec.structs.replace(pod, spec=spec))


def _best(rows: list[int], zones: list[str], in_zone: Counter[str], beside: Counter[int], free: Floats) -> int:
    return min(rows, key=lambda row: (in_zone[zones[row]], beside[row], -free[row], row))


def _owner(pod: Pod) -> str:
    owners = pod.metadata.owner_references
    return owners[0].uid if owners else pod.metadata.uid
