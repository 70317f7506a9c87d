"""The LeaderWorkerSet controller: groups of pods that begin and end together, the highest number first.

With the restart policy RecreateGroupOnPodRestart, its default: a group that loses a pod ends, and begins anew. Its
StatefulSets are no objects here, all pods of a group are created at once, and a changed template rolls nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import msgspec

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.objects import LeaderWorkerSet, Pod, PodStatus, WorkloadStatus
from wattkeeper.recommender.pods import LWS_GROUP_LABEL, LWS_NAME_LABEL, LWS_REVISION_LABEL, group_of
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.kubelet import Kubelet

_HASH = 10


class GroupController:
    """Brings every LeaderWorkerSet to its replicas."""

    def __init__(self, cluster: TwinCluster, kubelet: Kubelet) -> None:
        self._cluster = cluster
        self._kubelet = kubelet

    def reconcile(self, now: float) -> None:
        """Creates and deletes groups, then counts them into the statuses."""
        objects = self._cluster.objects
        for one in list(objects.all(LeaderWorkerSet).values()):
            groups: dict[int, list[Pod]] = defaultdict(list)
            for pod in objects.all(Pod).values():
                if _belongs(pod, one):
                    groups[group_of(pod)].append(pod)
            size = one.spec.leader_worker_template.size
            for index, pods in sorted(groups.items(), reverse=True):
                staying = [pod for pod in pods if not pod.metadata.deletion_timestamp]
                if index >= one.spec.replicas or len(staying) < size:
                    for pod in staying:
                        self._kubelet.delete(pod, now)
            whole = [pods for index, pods in groups.items() if _is_whole(pods, size) and index < one.spec.replicas]
            # Their pods have the names of those before them: they begin when the last of these has ended.
            there = {group_of(pod) for pod in objects.all(Pod).values() if _belongs(pod, one)}
            new = [index for index in range(one.spec.replicas) if index not in there]
            whole.extend([self._cluster.create(_pod(one, index, worker)) for worker in range(size)] for index in new)
            ready = sum(all(map(is_ready, pods)) for pods in whole)
            status = WorkloadStatus(replicas=len(whole), ready_replicas=ready)
            objects.update(msgspec.structs.replace(one, status=status))


def revision_of(one: LeaderWorkerSet) -> str:
    """Returns what tells pods of one template from those of another."""
    template = msgspec.json.encode(one.spec.leader_worker_template, order="deterministic")
    return hashlib.sha256(template).hexdigest()[:_HASH]


def _belongs(pod: Pod, one: LeaderWorkerSet) -> bool:
    meta = pod.metadata
    return meta.namespace == one.metadata.namespace and meta.labels.get(LWS_NAME_LABEL) == one.metadata.name


def _is_whole(pods: list[Pod], size: int) -> bool:
    return sum(not pod.metadata.deletion_timestamp for pod in pods) == size


def _pod(one: LeaderWorkerSet, index: int, worker: int) -> Pod:
    group = one.spec.leader_worker_template
    template = group.leader_template if worker == 0 and group.leader_template is not None else group.worker_template
    leader = f"{one.metadata.name}-{index}"
    # Leaders belong to a StatefulSet of the LeaderWorkerSet's name, workers to one of their leader's.
    owner = one.metadata.name if worker == 0 else leader
    return Pod(
        metadata=ObjectMeta(
            name=leader if worker == 0 else f"{leader}-{worker}",
            namespace=one.metadata.namespace,
            labels={
                **template.metadata.labels,
                LWS_NAME_LABEL: one.metadata.name,
                LWS_GROUP_LABEL: str(index),
                LWS_REVISION_LABEL: revision_of(one),
                "leaderworkerset.sigs.k8s.io/worker-index": str(worker),
            },
            annotations=template.metadata.annotations,
            owner_references=(
                OwnerReference(
                    kind="StatefulSet",
                    name=owner,
                    uid=f"statefulset-{owner}-of-{one.metadata.uid}",
                    api_version="apps/v1",
                    controller=True,
                ),
            ),
        ),
        spec=template.spec,
        status=PodStatus(),
    )
