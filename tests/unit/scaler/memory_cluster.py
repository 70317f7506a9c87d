"""A cluster in memory: what is written is at once in the view, failures are scripted by the kind of write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.errors import ClusterError, MetricsMissingError, NotFoundError
from wattkeeper.cluster.interface import WATCHED, ChangeHandler, EventRecord, OwnKind, Watched
from wattkeeper.cluster.kserve import KServeService
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod, ScaledObject
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind
from wattkeeper.cluster.usage import PodUsage
from wattkeeper.simulation.actuation import StatusParts
from wattkeeper.simulation.trust import TrustObjects

T = TypeVar("T", bound=Watched)


class MemoryView:
    """A View that tests fill."""

    def __init__(self) -> None:
        self._objects: dict[type[Watched], dict[str, Any]] = {kind: {} for kind in WATCHED}
        self._by_name: dict[tuple[type[Watched], str, str], Any] = {}
        self._handlers: dict[type[Watched], list[ChangeHandler[Any]]] = defaultdict(list)
        self._count = 0
        self.complete = True

    def all(self, kind: type[T]) -> Mapping[str, T]:
        return self._objects[kind]

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        return self._by_name.get((kind, namespace, name))

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        self._handlers[kind].append(handler)
        for one in list(self._objects[kind].values()):
            handler(None, one)

    def synced(self) -> bool:
        return self.complete

    def staleness_seconds(self, now: float) -> float:
        return 0.0 if self.complete else float("inf")

    def put(self, *objects: Watched) -> None:
        for given in objects:
            kind, meta = type(given), given.metadata
            old = self._by_name.get((kind, meta.namespace, meta.name))
            one = given if meta.uid else self._identified(given, old)
            self._by_name[kind, meta.namespace, meta.name] = one
            self._objects[kind][one.metadata.uid] = one
            for handler in self._handlers[kind]:
                handler(old, one)

    def _identified(self, one: Watched, old: Watched | None) -> Watched:
        self._count += 1
        uid = f"uid-{self._count}" if old is None else old.metadata.uid
        return replace(one, metadata=replace(one.metadata, uid=uid, generation=max(one.metadata.generation, 1)))

    def remove(self, kind: type[Watched], namespace: str, name: str) -> None:
        old = self._by_name.pop((kind, namespace, name), None)
        if old is not None:
            del self._objects[kind][old.metadata.uid]
            for handler in self._handlers[kind]:
                handler(old, None)


class MemoryCluster:
    """A Cluster over a MemoryView.

    Attributes:
        written: every write that went through: (verb, "namespace/name").
        failing: (verb, name) pairs, or (verb, "*"), that fail.
        events: what was recorded.
        lease_holders: who holds which Lease; shared between the replicas of a test.
        opened: pods whose gate was opened, with the terms that they were given.
        states: what write_state keeps; a ClusterError in it is raised by read_state.
        trust: Secrets and webhook configurations.
    """

    def __init__(self, view: MemoryView | None = None, *, server_minor: int = 36) -> None:
        self._view = view or MemoryView()
        self._minor = server_minor
        self.written: list[tuple[str, str]] = []
        self.failing: set[tuple[str, str]] = set()
        self.events: list[EventRecord] = []
        self.lease_holders: dict[str, str] = {}
        self.states: dict[str, bytes | ClusterError] = {}
        self.trust = TrustObjects()
        self._parts = StatusParts()
        self.opened: list[tuple[str, tuple[NodeSelectorTerm, ...] | None]] = []

    @property
    def view(self) -> MemoryView:
        return self._view

    @property
    def server_minor(self) -> int:
        return self._minor

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def apply(self, wanted: OwnKind) -> None:
        self._write("apply", wanted)
        old = self._view.get(type(wanted), wanted.metadata.namespace, wanted.metadata.name)
        self._view.put(wanted if old is None else replace(old, spec=wanted.spec))

    async def write_status(self, wanted: OwnKind) -> None:
        self._write("status", wanted)
        old = self._view.get(type(wanted), wanted.metadata.namespace, wanted.metadata.name)
        assert old is not None, "a status is written on what exists"
        self._view.put(self._parts.leader(old, wanted))

    async def delete(self, gone: OwnKind) -> None:
        assert gone.metadata.uid
        self._write("delete", gone)
        self._view.remove(type(gone), gone.metadata.namespace, gone.metadata.name)

    async def open_gate(self, pod: Pod, *, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        self._fail("open", pod.metadata.name)
        now = self._view.get(Pod, pod.metadata.namespace, pod.metadata.name)
        if now is None or now.metadata.uid != pod.metadata.uid:
            raise NotFoundError(pod.metadata.name)
        self.opened.append((pod.metadata.name, terms))
        left = tuple(gate for gate in now.spec.scheduling_gates if gate.name != POWER_GATE)
        self._view.put(replace(now, spec=replace(now.spec, scheduling_gates=left)))

    async def write_actuation(
        self, regarding: PowerRecommendation, *, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        self._write("actuation", regarding)
        self._view.put(self._parts.actuator(regarding, actuation, conditions))

    async def hold_recommendation(self, one: PowerRecommendation, *, held: bool) -> None:
        raise AssertionError("the actuator's alone")

    async def set_replica_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        raise AssertionError("the actuator's alone")

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        raise AssertionError("the actuator's alone")

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        raise AssertionError("the actuator's alone")

    async def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        raise AssertionError("the actuator's alone")

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        raise AssertionError("the actuator's alone")

    async def evict(self, pod: Pod) -> None:
        raise AssertionError("the actuator's alone")

    async def serving_pods(self, namespace: str) -> frozenset[str]:
        raise AssertionError("the actuator's alone")

    async def create_migration(self, new: PowerMigration) -> None:
        raise AssertionError("the actuator's alone")

    async def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        raise AssertionError("the actuator's alone")

    async def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        raise AssertionError("the actuator's alone")

    async def read_usage(self) -> tuple[PodUsage, ...]:
        raise MetricsMissingError("no metrics here")

    async def record(self, event: EventRecord) -> None:
        self._fail("record", event.regarding.metadata.name)
        self.events.append(event)

    async def hold_lease(
        self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float, by_force: bool = False
    ) -> bool:
        self._fail("lease", name)
        if by_force:
            self.lease_holders[name] = holder
        return self.lease_holders.setdefault(name, holder) == holder

    async def release_lease(self, *, namespace: str, name: str, holder: str) -> None:
        self._fail("lease", name)
        if self.lease_holders.get(name) == holder:
            del self.lease_holders[name]

    async def read_state(self, *, namespace: str, name: str) -> bytes | None:
        state = self.states.get(name)
        if isinstance(state, ClusterError):
            raise state
        return state

    async def write_state(self, *, namespace: str, name: str, state: bytes) -> None:
        self._fail("state", name)
        self.states[name] = state

    async def read_secret(self, *, namespace: str, name: str) -> Secret:
        self._fail("read", name)
        return self.trust.read_secret(namespace, name)

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        self._fail("write", read.metadata.name)
        self.trust.write_secret(read, data)

    async def read_webhooks(self, *, kind: WebhookKind, name: str) -> WebhookConfiguration:
        self._fail("read", name)
        return self.trust.read_webhooks(kind, name)

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        self._fail("write", read.metadata.name)
        self.trust.write_bundles(read, bundles)

    def _write(self, verb: str, wanted: OwnKind) -> None:
        name = wanted.metadata.name
        self._fail(verb, name)
        self.written.append((verb, f"{wanted.metadata.namespace}/{name}"))

    def _fail(self, verb: str, name: str) -> None:
        if {(verb, name), (verb, "*")} & self.failing:
            raise ClusterError(f"{verb} {name} fails")
