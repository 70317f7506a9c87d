"""The table of pods: dense columns, one row written per change, however many pods there are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np

from wattkeeper.api.admission import ADMISSION_ANNOTATION, POWER_GATE
from wattkeeper.api.quantity import parse_quantity
from wattkeeper.api.readings import Bools, Floats, Ints, PodKey, PodPhase, PodRows, ServiceKey
from wattkeeper.cluster.objects import Pod, PodSpec
from wattkeeper.recommender.nodes import gpu_count

LWS_NAME_LABEL = "leaderworkerset.sigs.k8s.io/name"
LWS_GROUP_LABEL = "leaderworkerset.sigs.k8s.io/group-index"
LWS_REVISION_LABEL = "leaderworkerset.sigs.k8s.io/template-revision-hash"
TEMPLATE_HASH_LABEL = "pod-template-hash"
FINISHED = ("Succeeded", "Failed")
STUCK_SECONDS = 60.0
"""So long after its grace period a pod is no longer waited for. deletionTimestamp is the period's end (kubernetes 1.36
staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go): a kubelet that works kills what is left, and cleans up."""
_FIRST_CAPACITY = 1024
_MOST_DIGITS = 10


class Interned:
    """Small integers for names, never reused: arrays hold the integers, so that a lookup is an array access."""

    def __init__(self) -> None:
        self.ids: dict[object, int] = {}

    def id_of(self, name: object) -> int:
        """Returns the name's integer, a new one if it was never seen."""
        return self.ids.setdefault(name, len(self.ids))

    def rows(self, row_of: dict[str, int] | dict[ServiceKey, int]) -> Ints:
        """Returns int64[len(ids) + 1]: the row of each integer, -1 where there is none (and for integer -1)."""
        table = np.full(len(self.ids) + 1, -1, dtype=np.int64)
        for name, row in row_of.items():
            table[self.id_of(name) if name in self.ids else -1] = row
        table[-1] = -1
        return table


def service_of(pod: Pod) -> ServiceKey | None:
    """Returns the scale target that a pod belongs to, by what its controllers wrote on it; None for others.

    A Deployment's ReplicaSet is called `<deployment>-<pod-template-hash>`, and its pods carry the hash.
    """
    metadata = pod.metadata
    group = metadata.labels.get(LWS_NAME_LABEL)
    if group:
        return ServiceKey(metadata.namespace, "LeaderWorkerSet", group)
    template_hash = metadata.labels.get(TEMPLATE_HASH_LABEL)
    if template_hash:
        for owner in metadata.owner_references:
            if owner.kind == "ReplicaSet" and owner.name.endswith(f"-{template_hash}"):
                return ServiceKey(metadata.namespace, "Deployment", owner.name[: -len(template_hash) - 1])
    return None


def phase_of(pod: Pod) -> PodPhase:
    """Returns where a pod stands, as far as its watts go."""
    if not pod.spec.node_name:
        gated = any(gate.name == POWER_GATE for gate in pod.spec.scheduling_gates)
        return PodPhase.GATED if gated else PodPhase.PENDING
    if pod.metadata.deletion_timestamp:
        return PodPhase.TERMINATING
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)
    return PodPhase.RUNNING if ready else PodPhase.LOADING


def is_stuck(pod: Pod, now: float) -> bool:
    """Says whether a pod should have ended, and has not."""
    end = unix_seconds(pod.metadata.deletion_timestamp)
    return end > 0.0 and now - end > STUCK_SECONDS


def stuck_pods(pods: PodRows, now: float) -> Bools:
    """Returns bool[P], which pods should have ended, and have not."""
    late = (pods.since > 0.0) & (now - pods.since > STUCK_SECONDS)
    return np.asarray(late & (pods.phase == PodPhase.TERMINATING), dtype=np.bool_)


def group_of(pod: Pod) -> int:
    """Returns the number of a LeaderWorkerSet pod's group, -1 for a pod that is a replica by itself."""
    index = pod.metadata.labels.get(LWS_GROUP_LABEL, "")
    return int(index) if index.isdecimal() and len(index) < _MOST_DIGITS else -1


def unix_seconds(timestamp: str | None) -> float:
    """Returns an RFC 3339 timestamp as Unix seconds, 0 for none or one that cannot be read."""
    if not timestamp:
        return 0.0
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def requested(spec: PodSpec) -> tuple[float, float]:
    """Returns the (GPUs, CPU cores) that a pod's containers request; GPUs may stand under limits alone."""
    gpus = cores = 0.0
    for container in spec.containers:
        resources = container.resources
        gpus += gpu_count(resources.requests) or gpu_count(resources.limits)
        try:
            cores += parse_quantity(resources.requests.get("cpu", 0))
        except ValueError:
            continue
    return gpus, cores


class PodTable:
    """Columns over P pods. Removal moves the last row into the gap, so rows are dense and unordered.

    Attributes:
        without_node: by UID, what the pods of services ask of a node that have left the gate and have none yet.
    """

    def __init__(self) -> None:
        self.node_names = Interned()
        self.service_keys = Interned()
        self.templates = Interned()
        self.without_node: dict[str, PodSpec] = {}
        self.keys: list[PodKey] = []
        self.row_of: dict[PodKey, int] = {}
        self.row_by_uid: dict[str, int] = {}
        self._uids: list[str] = []
        # Node id, service id, phase, group, template id, admitted.
        self._whole = np.zeros((6, _FIRST_CAPACITY), dtype=np.int64)
        self._real = np.zeros((4, _FIRST_CAPACITY), dtype=np.float64)  # GPUs, CPU cores, since, created
        self._flags = np.zeros((2, _FIRST_CAPACITY), dtype=np.bool_)  # has reported requests, tokens

    def __len__(self) -> int:
        return len(self.keys)

    def change(self, old: Pod | None, new: Pod | None) -> None:
        """Takes one change of a pod. Finished pods draw nothing and have no row."""
        if new is None or new.status.phase in FINISHED or (new.metadata.deletion_timestamp and not new.spec.node_name):
            gone = new or old
            if gone is not None:
                self._remove(gone.metadata.uid)
            return
        row = self.row_by_uid.get(new.metadata.uid)
        if row is None:
            row = self._append(PodKey(new.metadata.namespace, new.metadata.name), new.metadata.uid)
        service = service_of(new)
        phase = phase_of(new)
        labels = new.metadata.labels
        if phase is PodPhase.PENDING and service is not None:
            self.without_node[new.metadata.uid] = new.spec
        else:
            self.without_node.pop(new.metadata.uid, None)
        self._whole[:, row] = (
            self.node_names.id_of(new.spec.node_name) if new.spec.node_name else -1,
            -1 if service is None else self.service_keys.id_of(service),
            phase,
            group_of(new),
            self.templates.id_of(labels.get(TEMPLATE_HASH_LABEL) or labels.get(LWS_REVISION_LABEL)),
            ADMISSION_ANNOTATION in new.metadata.annotations,
        )
        created = unix_seconds(new.metadata.creation_timestamp)
        self._real[:, row] = (*requested(new.spec), self._since(new, phase), created)

    @property
    def node_id(self) -> Ints:
        """int64[P], into node_names, -1 while pending."""
        return self._whole[0, : len(self)]

    @property
    def service_id(self) -> Ints:
        """int64[P], into service_keys, -1 for a pod of no Deployment or LeaderWorkerSet."""
        return self._whole[1, : len(self)]

    @property
    def phase(self) -> Ints:
        """int64[P], PodPhase."""
        return self._whole[2, : len(self)]

    @property
    def group(self) -> Ints:
        """int64[P], pods of a service with the same number are one replica; -1 for a pod that is one by itself."""
        return self._whole[3, : len(self)]

    @property
    def template_id(self) -> Ints:
        """int64[P], pods of a service with another number were made from another template."""
        return self._whole[4, : len(self)]

    @property
    def admitted(self) -> Bools:
        """bool[P], the admission plugin has seen the pod."""
        return self._whole[5, : len(self)] > 0

    def rows(self, uids: Iterable[str]) -> Ints:
        """Returns the rows of pods by UID, of those that have one."""
        return np.array([self.row_by_uid[uid] for uid in uids if uid in self.row_by_uid], dtype=np.int64)

    @property
    def gpus(self) -> Floats:
        """float64[P]."""
        return self._real[0, : len(self)]

    @property
    def cpu_cores(self) -> Floats:
        """float64[P]."""
        return self._real[1, : len(self)]

    @property
    def since(self) -> Floats:
        """float64[P], Unix seconds since when the pod is in its phase, 0 unknown."""
        return self._real[2, : len(self)]

    @property
    def created(self) -> Floats:
        """float64[P], Unix seconds, 0 unknown."""
        return self._real[3, : len(self)]

    @property
    def uids(self) -> tuple[str, ...]:
        """P UIDs."""
        return tuple(self._uids)

    @property
    def reported_requests(self) -> Bools:
        """bool[P], the pod has reported requests before; whoever reads them marks it here."""
        return self._flags[0, : len(self)]

    @property
    def reported_tokens(self) -> Bools:
        """bool[P], the same for generated tokens."""
        return self._flags[1, : len(self)]

    @staticmethod
    def _since(pod: Pod, phase: PodPhase) -> float:
        if phase is PodPhase.TERMINATING:
            return unix_seconds(pod.metadata.deletion_timestamp)
        if phase is PodPhase.RUNNING:
            ready = next(condition for condition in pod.status.conditions if condition.type == "Ready")
            return unix_seconds(ready.last_transition_time)
        return unix_seconds(pod.status.start_time or pod.metadata.creation_timestamp)

    def _append(self, key: PodKey, uid: str) -> int:
        row = len(self.keys)
        if row == self._whole.shape[1]:
            self._whole = np.concatenate([self._whole, np.zeros_like(self._whole)], axis=1)
            self._real = np.concatenate([self._real, np.zeros_like(self._real)], axis=1)
            self._flags = np.concatenate([self._flags, np.zeros_like(self._flags)], axis=1)
        self._flags[:, row] = False
        self.keys.append(key)
        self._uids.append(uid)
        self.row_by_uid[uid] = row
        self.row_of[key] = row
        return row

    def _remove(self, uid: str) -> None:
        row = self.row_by_uid.pop(uid, None)
        if row is None:
            return
        self.without_node.pop(uid, None)
        key = self.keys[row]
        if self.row_of.get(key) == row:  # A namesake with another UID may have taken the name already.
            del self.row_of[key]
        last = len(self.keys) - 1
        if row != last:
            self._whole[:, row] = self._whole[:, last]
            self._real[:, row] = self._real[:, last]
            self._flags[:, row] = self._flags[:, last]
            self.keys[row] = self.keys[last]
            self._uids[row] = self._uids[last]
            self.row_by_uid[self._uids[row]] = row
            if self.row_of.get(self.keys[row]) == last:
                self.row_of[self.keys[row]] = row
        self.keys.pop()
        self._uids.pop()
