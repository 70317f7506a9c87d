"""Counts replicas: a pod each, or a group of pods that start and stop together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, PodPhase, PodRows, ServiceRows


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """S services. A group counts once, by the pod of it that is furthest.

    Attributes:
        active: int64[S], those with a pod on a node that is not terminating.
        pending: int64[S], those that have left the gate (or have none) and have no such pod.
        waiting: int64[S], those of which every pod stands at the gate.
        missing: float64[S], what groups lack that are not waiting, in replicas: pods that are not there yet and pods at
            the gate (they follow the first of their group), and for services without a gate those without a node.
    """

    active: Ints
    pending: Ints
    waiting: Ints
    missing: Floats


def count_replicas(pods: PodRows, services: ServiceRows) -> Replicas:
    """Counts the replicas of every service."""
    count = len(services.keys)
    managed = pods.service >= 0
    terminating = pods.phase == PodPhase.TERMINATING
    waiting = managed & (pods.phase == PodPhase.GATED)
    active = managed & ~terminating & (pods.node >= 0)
    pending = managed & ~terminating & (pods.node < 0) & ~waiting
    alone = pods.group < 0

    def single(chosen: Bools) -> Ints:
        return np.bincount(pods.service[chosen & alone], minlength=count)

    replicas = Replicas(
        active=single(active), pending=single(pending), waiting=single(waiting), missing=np.zeros(count)
    )
    rows = np.flatnonzero(managed & ~alone)
    if not len(rows):
        return replicas
    groups, group = np.unique(np.column_stack([pods.service[rows], pods.group[rows]]), axis=0, return_inverse=True)
    service, group = groups[:, 0], group.ravel()

    def members(chosen: Bools) -> Ints:
        return np.bincount(group[chosen[rows]], minlength=len(groups))

    on_node, without, at_gate = members(active), members(pending), members(waiting)
    is_active = on_node > 0
    is_pending = ~is_active & (without > 0)
    is_waiting = ~is_active & ~is_pending & (at_gate > 0)
    size = np.maximum(services.pods_per_replica[service], 1)
    # Pods of a gated service without a node are charged one by one, where each may land.
    there = on_node + members(terminating) + np.where(services.gated[service], without, 0)
    lacking = np.maximum(size - there, 0) / size
    counted = is_active | (is_pending & services.gated[service])

    def per_service(chosen: Bools) -> Ints:
        return np.bincount(service[chosen], minlength=count)

    return Replicas(
        active=replicas.active + per_service(is_active),
        pending=replicas.pending + per_service(is_pending),
        waiting=replicas.waiting + per_service(is_waiting),
        missing=np.bincount(service[counted], weights=lacking[counted], minlength=count).astype(np.float64),
    )
