"""Deployment and ReplicaSet controllers in one: as many pods as the spec asks for, of its template; which go first."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Deployment, Pod, PodStatus, WorkloadStatus
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.kubelet import Kubelet

# Kubernetes' own alphabet for generated names: no vowels, nothing that is easily misread.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_DEFAULT_SHARE: Final = "25%"


class ReplicaController:
    """Brings every Deployment to its replicas and its template, at once (slow start is left out)."""

    def __init__(self, cluster: TwinCluster, kubelet: Kubelet, seed: int) -> None:
        self._cluster = cluster
        self._kubelet = kubelet
        self._random = np.random.default_rng([seed, 11])
        self._hashes: dict[str, tuple[int, str]] = {}

    def reconcile(self, now: float) -> None:
        """Creates and deletes pods, then counts them into the statuses."""
        objects = self._cluster.objects
        own: dict[str, list[Pod]] = {}
        for pod in objects.all(Pod).values():
            if pod.metadata.owner_references and not pod.metadata.deletion_timestamp:
                own.setdefault(pod.metadata.owner_references[0].uid, []).append(pod)
        for deployment in list(objects.all(Deployment).values()):
            prefix = replica_sets_uid(deployment)
            sets = {uid: pods for uid, pods in own.items() if uid.startswith(prefix)}
            pods = self._reconciled(deployment, sets, now)
            status = WorkloadStatus(replicas=len(pods), ready_replicas=sum(is_ready(pod) for pod in pods))
            objects.update(msgspec.structs.replace(deployment, status=status))

    def _reconciled(self, deployment: Deployment, sets: dict[str, list[Pod]], now: float) -> list[Pod]:
        wanted = replica_sets_uid(deployment) + self._template_hash(deployment)
        new = sets.pop(wanted, [])
        old = [pod for uid in sorted(sets) for pod in sets[uid]]
        step = rollout_step(deployment, new, old)
        for pod in (*victims(old, step.old_fewer, beside=new), *victims(new, step.new_fewer, beside=old)):
            self._kubelet.delete(pod, now)
            (new if pod in new else old).remove(pod)
        new.extend(self._cluster.create(self._new_pod(deployment)) for _ in range(step.new_more))
        return [*new, *old]

    def _new_pod(self, deployment: Deployment) -> Pod:
        template_hash = self._template_hash(deployment)
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
                        uid=replica_sets_uid(deployment) + template_hash,
                        api_version="apps/v1",
                        controller=True,
                    ),
                ),
            ),
            spec=template.spec,
            status=PodStatus(),
        )

    def _template_hash(self, deployment: Deployment) -> str:
        meta = deployment.metadata
        generation, known = self._hashes.get(meta.uid, (-1, ""))
        if generation != meta.generation:
            known = template_hash_of(deployment)
            self._hashes[meta.uid] = meta.generation, known
        return known


class RolloutStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a Deployment does next: pods of its template more or fewer, and pods of former templates fewer."""

    new_more: int = 0
    new_fewer: int = 0
    old_fewer: int = 0


def rollout_step(deployment: Deployment, new: Sequence[Pod], old: Sequence[Pod]) -> RolloutStep:
    """Returns the next step towards a Deployment's replicas and template.

    Follows kubernetes 1.36 pkg/controller/deployment/rolling.go and recreate.go. A Deployment that is scaled down
    in the middle of a rollout gives up old pods first (Kubernetes takes from all sets in proportion).
    """
    replicas = deployment.spec.replicas
    if not old:
        return RolloutStep(new_more=max(replicas - len(new), 0), new_fewer=max(len(new) - replicas, 0))
    if deployment.spec.strategy.type == "Recreate":
        return RolloutStep(old_fewer=len(old))
    rolling = deployment.spec.strategy.rolling_update
    surge = _count(None if rolling is None else rolling.max_surge, replicas, up=True)
    unavailable = _count(None if rolling is None else rolling.max_unavailable, replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1  # Kubernetes resolves percentages so that a rollout can go on.
    total, most = len(new) + len(old), replicas + surge
    if total > most:
        fewer = min(total - most, len(old))
        return RolloutStep(old_fewer=fewer, new_fewer=total - most - fewer)
    least, waiting = replicas - unavailable, sum(not is_ready(pod) for pod in new)
    spare = max(total - least - waiting, 0)
    ready = sum(is_ready(pod) for pod in old)
    unhealthy = min(len(old) - ready, spare)
    fewer = min(unhealthy + max(len(new) - waiting + ready - least, 0), len(old)) if spare else 0
    return RolloutStep(new_more=max(min(most - total, replicas - len(new)), 0), old_fewer=fewer)


def _count(said: int | str | None, replicas: int, *, up: bool) -> int:
    wanted = _DEFAULT_SHARE if said is None else said
    if isinstance(wanted, int):
        return wanted
    share = replicas * int(wanted.removesuffix("%")) / 100
    return math.ceil(share) if up else math.floor(share)


def template_hash_of(deployment: Deployment) -> str:
    """Returns what a Deployment's ReplicaSet is named after: a hash of its pod template."""
    digest = hashlib.sha256(msgspec.json.encode(deployment.spec.template, order="deterministic")).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def replica_sets_uid(deployment: Deployment) -> str:
    """Returns what the UIDs of a Deployment's ReplicaSets, which are no objects here, begin with."""
    return f"replicaset-of-{deployment.metadata.uid}-"


def is_ready(pod: Pod) -> bool:
    """Says whether a pod serves."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)


def victims(pods: Sequence[Pod], count: int, *, beside: Sequence[Pod] = ()) -> list[Pod]:
    """Returns the pods that a ReplicaSet deletes first.

    The order is the ReplicaSet controller's (kubernetes 1.36 pkg/controller/controller_utils.go, ActivePodsWithRanks):
    not on a node, pending, not ready, lower deletion cost, more pods of the Deployment on the same node, ready for less
    time, newer; names settle ties.

    Args:
        pods: of the set.
        count: how many.
        beside: pods of the Deployment's other sets.
    """
    if not count:
        return []
    on_node = Counter(pod.spec.node_name for pod in (*pods, *beside))

    def rank(pod: Pod) -> tuple[bool, bool, bool, int, int]:
        cost = pod.metadata.annotations.get(DELETION_COST, "0")
        return (
            bool(pod.spec.node_name),
            pod.status.phase == "Running",
            is_ready(pod),
            int(cost) if cost.removeprefix("-").isdigit() else 0,
            -on_node[pod.spec.node_name],
        )

    # Stable sorts, because newest first is a descending order of text.
    named = sorted(pods, key=lambda pod: pod.metadata.name)
    newest = sorted(sorted(named, key=_age, reverse=True), key=_ready_since, reverse=True)
    return sorted(newest, key=rank)[:count]


def _age(pod: Pod) -> str:
    return pod.metadata.creation_timestamp


def _ready_since(pod: Pod) -> str:
    ready = (one for one in pod.status.conditions if one.type == "Ready" and one.status == "True")
    return next((one.last_transition_time or "" for one in ready), "")
