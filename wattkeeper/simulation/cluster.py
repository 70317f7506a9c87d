"""The twin's cluster: wattkeeper.cluster.interface in memory, with Kubernetes' semantics and without its network.

What services may do is the interface's; what people and Kubernetes itself do (create nodes and Deployments, patch a
budget, set replicas) has verbs of its own below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.api.readings import PodKey
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import (
    ConflictError,
    MetricsMissingError,
    NotFoundError,
    RefusedError,
    StateCorruptError,
)
from wattkeeper.cluster.interface import EventRecord, OwnKind, View, Watched
from wattkeeper.cluster.kserve import KServeService
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod, ScaledObject
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind
from wattkeeper.cluster.usage import PodUsage
from wattkeeper.recommender.affinity import required_terms, requiring
from wattkeeper.simulation.actuation import ActuationObjects, StatusParts
from wattkeeper.simulation.disruption import DisruptionObjects
from wattkeeper.simulation.fixtures import check_possible
from wattkeeper.simulation.store import ObjectStore, kubernetes_time
from wattkeeper.simulation.trust import TrustObjects
from wattkeeper.simulation.workloads import find_workload

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
        self.trust = TrustObjects()
        self._parts = StatusParts()
        self._actuation = ActuationObjects(self.objects, self._parts, self.create)
        self.disruption = DisruptionObjects(self.objects, self._parts, self.create)
        self._events: deque[SeenEvent] = deque(maxlen=_MOST_EVENTS)
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._state: dict[tuple[str, str], bytes] = {}
        self._torn: set[tuple[str, str]] = set()
        self._usage: dict[PodKey, PodUsage] | None = None
        self._read_usage: Callable[[], tuple[PodUsage, ...]] | None = None
        self._admit: Callable[[Pod], Pod] | None = None

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
        """Brings the leader's part of a status to what is wanted. What another service says in it stays."""
        meta = wanted.metadata
        old = self.objects.get(type(wanted), meta.namespace, meta.name)
        if old is None or (meta.uid and old.metadata.uid != meta.uid):
            raise NotFoundError(f"{type(wanted).__name__} {meta.namespace}/{meta.name} is not there: apply it first.")
        self.objects.update(self._parts.leader(old, wanted))

    async def delete(self, gone: OwnKind) -> None:
        """Deletes this very object (by UID)."""
        if not gone.metadata.uid:
            raise RefusedError(f"{gone.metadata.name} has no UID: delete what the view shows.")
        now = self.objects.all(type(gone)).get(gone.metadata.uid)
        if now is None or not now.metadata.finalizers:
            self.objects.remove(gone)
        elif not now.metadata.deletion_timestamp:
            stamp = kubernetes_time(self._clock.now())
            meta = msgspec.structs.replace(now.metadata, deletion_timestamp=stamp)
            self.objects.update(msgspec.structs.replace(now, metadata=meta))

    async def write_actuation(
        self, regarding: PowerRecommendation, *, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        """Brings the actuator's part of a recommendation's status to what is wanted."""
        self._actuation.write(regarding, actuation, conditions)

    async def hold_recommendation(self, one: PowerRecommendation, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer."""
        self._actuation.hold(one, held=held)

    async def set_replica_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        """Changes replica bounds of a KServe service, as it was seen."""
        self._actuation.set_fields(service, fields)

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        """Creates a ScaledObject of our own, or brings it to what is wanted."""
        self._actuation.apply(wanted)

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        """Deletes this very ScaledObject (by UID)."""
        self._actuation.delete(gone)

    async def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        """Holds down what KEDA scales by, as it was seen, or lets it go."""
        self._actuation.set_brake(target, fields, if_ours=if_ours)

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        """Sets or removes a pod's deletion cost."""
        self.disruption.set_deletion_cost(pod, cost)

    async def evict(self, pod: Pod) -> None:
        """Evicts this very pod (by UID)."""
        self.disruption.evict(pod)

    async def serving_pods(self, namespace: str) -> frozenset[str]:
        """Returns the UIDs of pods that a Service of a namespace sends traffic to."""
        return self.disruption.serving_pods(namespace)

    async def create_migration(self, new: PowerMigration) -> None:
        """Creates a migration."""
        self.disruption.create_migration(new)

    async def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        """Brings the actuator's part of a migration's status to what is wanted."""
        self.disruption.write_migration(regarding, status)

    async def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer."""
        self.disruption.hold_migration(one, held=held)

    async def open_gate(self, pod: Pod, *, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        """Takes the power gate off this very pod (by UID)."""
        name = f"Pod {pod.metadata.namespace}/{pod.metadata.name}"
        now = self.objects.get(Pod, pod.metadata.namespace, pod.metadata.name)
        if now is None or now.metadata.uid != pod.metadata.uid:
            raise NotFoundError(f"{name} is not there, or another one: its gate stays.")
        left = tuple(gate for gate in now.spec.scheduling_gates if gate.name != POWER_GATE)
        if left == now.spec.scheduling_gates:
            return
        if now.spec.scheduling_gates != pod.spec.scheduling_gates:
            raise ConflictError(f"the gates of {name} have changed")
        if terms is not None and not tightened(required_terms(now.spec), terms):
            raise RefusedError(f"{name}: required node affinity terms of a gated pod can only be tightened")
        spec = msgspec.structs.replace(now.spec, scheduling_gates=left)
        if terms is not None:
            spec = requiring(spec, terms)
        self.objects.update(msgspec.structs.replace(now, spec=spec))

    async def read_usage(self) -> tuple[PodUsage, ...]:
        """Reads what every pod uses right now."""
        if self._read_usage is not None:
            return self._read_usage()
        if self._usage is None:
            raise MetricsMissingError("Nothing serves metrics.k8s.io in this cluster: say what pods use first.")
        return tuple(self._usage.values())

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

    async def hold_lease(
        self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float, by_force: bool = False
    ) -> bool:
        """Takes or renews a Lease."""
        lease = self._leases.get((namespace, name))
        taken = lease is not None and lease.holder not in ("", holder)
        if lease and taken and not by_force and now - lease.renewed < lease.duration_seconds:
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

    async def read_secret(self, *, namespace: str, name: str) -> Secret:
        """Reads a Secret."""
        return self.trust.read_secret(namespace, name)

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        """Replaces all values of a Secret that was read."""
        self.trust.write_secret(read, data)

    async def read_webhooks(self, *, kind: WebhookKind, name: str) -> WebhookConfiguration:
        """Reads whom the API server trusts when it calls webhooks."""
        return self.trust.read_webhooks(kind, name)

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        """Replaces the caBundles of a configuration that was read."""
        self.trust.write_bundles(read, bundles)

    def tear_state(self, *, namespace: str, name: str) -> None:
        """Leaves state as a write that was cut off leaves it."""
        self._torn.add((namespace, name))

    def use(self, *usage: PodUsage) -> None:
        """Says what pods use, as metrics-server does; it is there from the first call."""
        self._usage = (self._usage or {}) | {one.key: one for one in usage}

    def measure_usage(self, read: Callable[[], tuple[PodUsage, ...]]) -> None:
        """Has what pods use read when somebody asks, instead of what `use` said."""
        self._read_usage = read

    def admit_pods(self, admit: Callable[[Pod], Pod]) -> None:
        """Sends every pod that is created from now on through a webhook, which returns it as it is to be stored."""
        self._admit = admit

    def create(self, new: T) -> T:
        """Creates an object of any kind, as a user or a controller would, and returns it as stored.

        Raises:
            ImpossibleFixtureError: no real cluster could hold it beside what there is.
            UnusablePatchError: a webhook's patch does not fit it.
        """
        if isinstance(new, Pod) and self._admit is not None:
            new = self._admit(new)
        check_possible(new, self.objects)
        return self.objects.add(new, self._clock.now())

    def replace(self, new: T) -> T:
        """Replaces an object that is there, by UID, and returns it as stored."""
        return self.objects.update(new)

    def scale(self, *, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> None:
        """Sets a workload's replicas, as the HPA and KEDA do through its scale subresource."""
        workload = find_workload(self.objects, kind, namespace, name)
        if workload is None:
            raise NotFoundError(f"{kind} {namespace}/{name} is not there.")
        spec = msgspec.structs.replace(workload.spec, replicas=replicas)
        self.objects.update(msgspec.structs.replace(workload, spec=spec))  # pyright: ignore[reportArgumentType] - its own spec


def tightened(old: tuple[NodeSelectorTerm, ...], new: tuple[NodeSelectorTerm, ...]) -> bool:
    """Says whether the API server takes `new` for `old` on a gated pod.

    Without terms any may come; else there must be as many, each with requirements added at the end (kubernetes 1.36
    pkg/apis/core/validation/validation.go, validateNodeAffinityMutation).
    """
    if not old:
        return True
    return len(old) == len(new) and all(map(_grown, old, new))


def _grown(old: NodeSelectorTerm, new: NodeSelectorTerm) -> bool:
    if not old.match_expressions and not old.match_fields:
        return old == new  # An empty term selects nothing, and must go on doing so.
    return (
        new.match_expressions[: len(old.match_expressions)] == old.match_expressions
        and new.match_fields[: len(old.match_fields)] == old.match_fields
    )
