"""Who stands at the power gate, as the view's changes bring it: a change costs the same however many wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import FINISHED, group_of, service_of

LWS_WORKER_LABEL: Final = "leaderworkerset.sigs.k8s.io/worker-index"
_LEADER: Final = "0"
_NO_GROUP: Final = -1
K = TypeVar("K")


class Group(NamedTuple):
    """One group of a LeaderWorkerSet: one replica."""

    service: ServiceKey
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A pod at the gate.

    Attributes:
        service: None for a pod of nothing that can be capped.
        follows: the group that it is a worker of: it needs no opening of its own once its leader is out.
        seen_at: Unix seconds, when the view first showed it.
        number: rises with every pod that comes to the gate.
    """

    pod: Pod
    service: ServiceKey | None
    follows: Group | None
    seen_at: float
    number: int

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts the oldest first; names settle ties."""
        meta = self.pod.metadata
        return meta.creation_timestamp, meta.name, meta.uid


class GateQueue:
    """Pods at the gate, by UID, by service and by group.

    Attributes:
        number: of the last pod that came.
    """

    def __init__(self) -> None:
        self.number = 0
        self._by_uid: dict[str, Waiting] = {}
        self._by_service: dict[ServiceKey | None, dict[str, Waiting]] = defaultdict(dict)
        self._followers: dict[Group, dict[str, Waiting]] = defaultdict(dict)
        self._leaders_out: dict[Group, str] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def get(self, uid: str) -> Waiting | None:
        """Returns a pod that still waits."""
        return self._by_uid.get(uid)

    def by_service(self) -> Mapping[ServiceKey | None, Collection[Waiting]]:
        """Returns all that wait; services for which nobody does are not in it."""
        return {service: waiting.values() for service, waiting in self._by_service.items()}

    def of(self, service: ServiceKey | None) -> Iterable[Waiting]:
        """Returns who waits for one service."""
        return self._by_service[service].values() if service in self._by_service else ()

    def behind(self, group: Group) -> tuple[Waiting, ...]:
        """Returns the workers of a group that wait."""
        return tuple(self._followers[group].values()) if group in self._followers else ()

    def leader_is_out(self, group: Group) -> bool:
        """Says whether a group's leader has left the gate."""
        return group in self._leaders_out

    def change(self, old: Pod | None, new: Pod | None, now: float) -> Waiting | None:
        """Takes one change of a pod. Returns it if it stands at the gate now."""
        if new is None or not alive(new):
            gone = new or old
            if gone is not None:
                self._remove(gone.metadata.uid)
                self._forget_leader(gone)
            return None
        if not at_gate(new):
            self._remove(new.metadata.uid)
            group = led_by(new)
            if group is not None:
                self._leaders_out[group] = new.metadata.uid
            return None
        return self._put(new, now)

    def _put(self, pod: Pod, now: float) -> Waiting:
        uid = pod.metadata.uid
        known = self._by_uid.get(uid)
        if known is None:
            self.number += 1
        else:
            self._remove(uid)
        one = Waiting(
            pod=pod,
            service=service_of(pod),
            follows=followed_by(pod),
            seen_at=now if known is None else known.seen_at,
            number=self.number if known is None else known.number,
        )
        self._by_uid[uid] = one
        self._by_service[one.service][uid] = one
        if one.follows is not None:
            self._followers[one.follows][uid] = one
        return one

    def _remove(self, uid: str) -> None:
        one = self._by_uid.pop(uid, None)
        if one is None:
            return
        _drop(self._by_service, one.service, uid)
        if one.follows is not None:
            _drop(self._followers, one.follows, uid)

    def _forget_leader(self, gone: Pod) -> None:
        group = led_by(gone)
        # A successor may be out already.
        if group is not None and self._leaders_out.get(group) == gone.metadata.uid:
            del self._leaders_out[group]


def alive(pod: Pod) -> bool:
    """Says whether a pod may yet start or runs."""
    return not pod.metadata.deletion_timestamp and pod.status.phase not in FINISHED


def at_gate(pod: Pod) -> bool:
    """Says whether the power gate holds a pod."""
    return any(gate.name == POWER_GATE for gate in pod.spec.scheduling_gates)


def led_by(pod: Pod) -> Group | None:
    """Returns the group that a pod leads, None for any other pod."""
    return _group(pod) if pod.metadata.labels.get(LWS_WORKER_LABEL) == _LEADER else None


def followed_by(pod: Pod) -> Group | None:
    """Returns the group that a pod is a worker of, None for any other pod."""
    return _group(pod) if pod.metadata.labels.get(LWS_WORKER_LABEL, _LEADER) != _LEADER else None


def _group(pod: Pod) -> Group | None:
    service, index = service_of(pod), group_of(pod)
    return None if service is None or index == _NO_GROUP else Group(service, index)


def _drop(table: dict[K, dict[str, Waiting]], key: K, uid: str) -> None:
    entries = table[key]
    entries.pop(uid, None)
    if not entries:
        del table[key]
