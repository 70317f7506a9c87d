"""The twin's cluster: wattkeeper.cluster.interface in memory, with Kubernetes' semantics and without its network.

What services may do is the interface's; what people and Kubernetes itself do (create nodes and Deployments, patch a
budget, set replicas) has verbs of its own below.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import NotFoundError, RefusedError, StateCorruptError
from wattkeeper.cluster.interface import EventRecord, OwnKind, View, Watched
from wattkeeper.cluster.objects import Deployment
from wattkeeper.simulation.fixtures import check_possible
from wattkeeper.simulation.store import ObjectStore

T = TypeVar("T", bound=Watched)

_MOST_EVENTS: Final = 1_000
SERVER_MINOR: Final = 36


@dataclass(kw_only=True, slots=True)
class SeenEvent:
    """A series of events.

    Attributes:
        first_seen, last_seen: Unix seconds.
        count: how often it was recorded.
    """

    record: EventRecord
    first_seen: float
    last_seen: float
    count: int = 1


@dataclass(kw_only=True, slots=True)
class _Lease:
    holder: str
    duration_seconds: int
    renewed: float


class TwinCluster:
    """A cluster in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.objects = ObjectStore()
        self._events: deque[SeenEvent] = deque(maxlen=_MOST_EVENTS)
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._state: dict[tuple[str, str], bytes] = {}
        self._torn: set[tuple[str, str]] = set()

    @property
    def view(self) -> View:
        """What is watched."""
        return self.objects

    @property
    def server_minor(self) -> int:
        """The minor version of the Kubernetes that the twin follows."""
        return SERVER_MINOR

    @property
    def events(self) -> tuple[SeenEvent, ...]:
        """The last series of events, oldest first."""
        return tuple(self._events)

    async def start(self) -> None:
        """Starts watching."""
        self.objects.set_synced(synced=True)

    async def stop(self) -> None:
        """Stops watching."""
        self.objects.set_synced(synced=False)

    async def apply(self, wanted: OwnKind) -> None:
        """Creates the object or brings metadata and spec of the existing one to what is wanted. Status is left."""
        meta = wanted.metadata
        old = self.objects.get(type(wanted), meta.namespace, meta.name)
        if old is None:
            bare = type(wanted)(metadata=msgspec.structs.replace(meta, uid=""), spec=wanted.spec)  # pyright: ignore[reportArgumentType, reportCallIssue] - metadata and spec of one kind
            self.create(bare)
            return
        merged = msgspec.structs.replace(
            old.metadata,
            labels={**old.metadata.labels, **meta.labels},
            annotations={**old.metadata.annotations, **meta.annotations},
            owner_references=meta.owner_references or old.metadata.owner_references,
        )
        self.objects.update(msgspec.structs.replace(old, metadata=merged, spec=wanted.spec))

    async def write_status(self, wanted: OwnKind) -> None:
        """Replaces an object's status whole."""
        meta = wanted.metadata
        old = self.objects.get(type(wanted), meta.namespace, meta.name)
        if old is None or (meta.uid and old.metadata.uid != meta.uid):
            raise NotFoundError(f"{type(wanted).__name__} {meta.namespace}/{meta.name} is not there: apply it first.")
        self.objects.update(msgspec.structs.replace(old, status=wanted.status))

    async def delete(self, gone: OwnKind) -> None:
        """Deletes this very object (by UID)."""
        if not gone.metadata.uid:
            raise RefusedError(f"{gone.metadata.name} has no UID: delete what the view shows.")
        self.objects.remove(gone)

    async def record(self, event: EventRecord) -> None:
        """Keeps an event; one with a known key raises the count of its series."""
        now = self._clock.now()
        key = (event.regarding.metadata.uid, event.dedupe_key)
        for seen in self._events:
            if (seen.record.regarding.metadata.uid, seen.record.dedupe_key) == key:
                seen.count += 1
                seen.last_seen = now
                return
        self._events.append(SeenEvent(record=event, first_seen=now, last_seen=now))

    async def hold_lease(self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float) -> bool:
        """Takes or renews a Lease."""
        lease = self._leases.get((namespace, name))
        if lease and lease.holder not in ("", holder) and now - lease.renewed < lease.duration_seconds:
            return False
        self._leases[namespace, name] = _Lease(holder=holder, duration_seconds=duration_seconds, renewed=now)
        return True

    async def release_lease(self, *, namespace: str, name: str, holder: str) -> None:
        """Gives a Lease up if this holder has it."""
        lease = self._leases.get((namespace, name))
        if lease and lease.holder == holder:
            lease.holder = ""

    async def read_state(self, *, namespace: str, name: str) -> bytes | None:
        """Reads what write_state wrote."""
        if (namespace, name) in self._torn:
            raise StateCorruptError(f"State {namespace}/{name} does not match its checksum: a write was cut off.")
        return self._state.get((namespace, name))

    async def write_state(self, *, namespace: str, name: str, state: bytes) -> None:
        """Keeps bytes."""
        self._state[namespace, name] = state
        self._torn.discard((namespace, name))

    def tear_state(self, *, namespace: str, name: str) -> None:
        """Leaves state as a write that was cut off leaves it."""
        self._torn.add((namespace, name))

    def create(self, new: T) -> T:
        """Creates an object of any kind, as a user or a controller would, and returns it as stored.

        Raises:
            ImpossibleFixtureError: no real cluster could hold it beside what there is.
        """
        check_possible(new, self.objects)
        return self.objects.add(new, self._clock.now())

    def replace(self, new: T) -> T:
        """Replaces an object that is there, by UID, and returns it as stored."""
        return self.objects.update(new)

    def scale(self, *, namespace: str, name: str, replicas: int) -> None:
        """Sets a Deployment's replicas, as the HPA and KEDA do through its scale subresource."""
        deployment = self.objects.get(Deployment, namespace, name)
        if deployment is None:
            raise NotFoundError(f"Deployment {namespace}/{name} is not there.")
        spec = msgspec.structs.replace(deployment.spec, replicas=replicas)
        self.objects.update(msgspec.structs.replace(deployment, spec=spec))
