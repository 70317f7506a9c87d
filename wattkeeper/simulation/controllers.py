"""Deployment and ReplicaSet controllers in one: as many pods as the spec asks for, and which go first."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import msgspec
import numpy as np

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.objects import Deployment, Pod, PodStatus, WorkloadStatus
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.kubelet import Kubelet

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
# Kubernetes' own alphabet for generated names: no vowels, nothing that is easily misread.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"


class ReplicaController:
    """Brings every Deployment to its replicas, at once (slow start and surges of rollouts are left out)."""

    def __init__(self, cluster: TwinCluster, kubelet: Kubelet, seed: int) -> None:
        self._cluster = cluster
        self._kubelet = kubelet
        self._random = np.random.default_rng([seed, 11])

    def reconcile(self, now: float) -> None:
        """Creates and deletes pods, then counts them into the statuses."""
        objects = self._cluster.objects
        own: dict[str, list[Pod]] = {}
        for pod in objects.all(Pod).values():
            if pod.metadata.owner_references and not pod.metadata.deletion_timestamp:
                own.setdefault(pod.metadata.owner_references[0].uid, []).append(pod)
        for deployment in list(objects.all(Deployment).values()):
            pods = own.get(replica_set_uid(deployment), [])
            for pod in victims(pods, max(len(pods) - deployment.spec.replicas, 0)):
                self._kubelet.delete(pod, now)
                pods.remove(pod)
            while len(pods) < deployment.spec.replicas:
                pods.append(self._cluster.create(self._new_pod(deployment)))
            status = WorkloadStatus(replicas=len(pods), ready_replicas=sum(is_ready(pod) for pod in pods))
            objects.update(msgspec.structs.replace(deployment, status=status))

    def _new_pod(self, deployment: Deployment) -> Pod:
        template_hash = template_hash_of(deployment)
        owner = f"{deployment.metadata.name}-{template_hash}"
        suffix = "".join(_ALPHABET[letter] for letter in self._random.integers(0, len(_ALPHABET), 5))
        template = deployment.spec.template
        return Pod(
            metadata=ObjectMeta(
                name=f"{owner}-{suffix}",
                namespace=deployment.metadata.namespace,
                labels={**template.metadata.labels, "pod-template-hash": template_hash},
                annotations=template.metadata.annotations,
                owner_references=(
                    OwnerReference(
                        kind="ReplicaSet",
                        name=owner,
                        uid=replica_set_uid(deployment),
                        api_version="apps/v1",
                        controller=True,
                    ),
                ),
            ),
            spec=template.spec,
            status=PodStatus(),
        )


def template_hash_of(deployment: Deployment) -> str:
    """Returns what a Deployment's ReplicaSet is named after: a hash of its pod template."""
    digest = hashlib.sha256(msgspec.json.encode(deployment.spec.template, order="deterministic")).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def replica_set_uid(deployment: Deployment) -> str:
    """Returns the UID of a Deployment's one ReplicaSet, which is no object here."""
    return f"replicaset-of-{deployment.metadata.uid}"


def is_ready(pod: Pod) -> bool:
    """Says whether a pod serves."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)


def victims(pods: list[Pod], count: int) -> list[Pod]:
    """Returns the pods that a ReplicaSet deletes first.

    The order is the ReplicaSet controller's (kubernetes 1.36 pkg/controller/controller_utils.go, ActivePodsWithRanks):
    not on a node, not ready, lower deletion cost, more of the set's pods on the same node, newer; names settle ties.
    """
    on_node = Counter(pod.spec.node_name for pod in pods)

    def rank(pod: Pod) -> tuple[bool, bool, int, int]:
        cost = pod.metadata.annotations.get(DELETION_COST, "0")
        return (
            bool(pod.spec.node_name),
            is_ready(pod),
            int(cost) if cost.removeprefix("-").isdigit() else 0,
            -on_node[pod.spec.node_name],
        )

    # Two stable sorts, because newest first is a descending order of text.
    newest = sorted(sorted(pods, key=lambda pod: pod.metadata.name), key=_age, reverse=True)
    return sorted(newest, key=rank)[:count]


def _age(pod: Pod) -> str:
    return pod.metadata.creation_timestamp
