"""A LeaderWorkerSet: a replica is a group of pods, which sheds as its controller does, and is never a half."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
from typing_extensions import override

from tests.faults.scene import BY_NAME, NAMESPACE, SERVICES
from tests.faults.witness import Call, Check, Decision, Witness
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.readings import PodPhase
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import LWS_NAME_LABEL, group_of

_GROUPS: Final = tuple(one for one in SERVICES if one.size > 1)
_ON_PODS: Final = frozenset({"set_deletion_cost", "evict", "create_migration"})
# Pods at the gate follow the first of their group with the next decisions.
_FOLLOWED_WITHIN_SECONDS: Final = 20.0
# Whatever keeps a scaler from letting pods out.
_HINDRANCES: Final = ("undecided", "api", "view")


class GroupsAreWhole(Check):
    """No pod of a group is marked, evicted or moved; groups count once; pods follow the first of theirs."""

    text = "4 Groups of pods shed as their controller does, and are counted and let out as a whole"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._halves: dict[int, float] = {}

    @override
    def calling(self, call: Call) -> None:
        service = BY_NAME.get(call.service)
        if service is not None and service.size > 1 and call.verb in _ON_PODS:
            self.fail(f"{call.process}: {call.verb} on {service.name}, whose groups go by their number")

    @override
    def decided(self, decision: Decision) -> None:
        pods = decision.readings.pods
        for one in _GROUPS:
            row = decision.row(one.name)
            if row < 0:
                continue
            there = (pods.service == row) & (pods.node >= 0) & (pods.phase != PodPhase.TERMINATING)
            groups = len(np.unique(pods.group[there]))
            counted = int(decision.result.services.active[row])
            if counted != groups:
                self.fail(f"{one.name} has {groups} groups on nodes, and {counted} are counted")
            self.witness.counts["groups counted"] += groups

    @override
    def second(self, now: float) -> None:
        groups: dict[int, list[Pod]] = defaultdict(list)
        for pod in self.witness.cluster.view.all(Pod).values():
            meta = pod.metadata
            if meta.namespace == NAMESPACE and meta.labels.get(LWS_NAME_LABEL) and not meta.deletion_timestamp:
                groups[group_of(pod)].append(pod)
        halves = {index for index, pods in groups.items() if 0 < sum(map(_waits, pods)) < len(pods)}
        self._halves = {index: self._halves.get(index, now) for index in halves}
        for index, since in self._halves.items():
            after = max(since, *(self.witness.disturbed.get(one, since) for one in _HINDRANCES))
            if now - after > _FOLLOWED_WITHIN_SECONDS:
                self.fail(f"group {index} has been half at the gate for more than {_FOLLOWED_WITHIN_SECONDS:g} s")


def _waits(pod: Pod) -> bool:
    return any(gate.name == POWER_GATE for gate in pod.spec.scheduling_gates)
