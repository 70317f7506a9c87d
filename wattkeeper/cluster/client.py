"""KubernetesCluster: the interface to a cluster, on a real API server."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry

from wattkeeper.api.meta import Condition
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.cluster.actuation import ActuationWriter
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.clock import Clock, SystemClock
from wattkeeper.cluster.connection import REQUEST_SECONDS, Connection
from wattkeeper.cluster.credentials import Credentials
from wattkeeper.cluster.disruption import DisruptionWriter
from wattkeeper.cluster.errors import ClusterError, UnreachableError
from wattkeeper.cluster.events import EventRecorder
from wattkeeper.cluster.gates import GateOpener
from wattkeeper.cluster.informer import PATIENT, Informer, Pace
from wattkeeper.cluster.interface import WATCHED_BY_SCALER, EventRecord, OwnKind, Watched
from wattkeeper.cluster.kserve import KServeService
from wattkeeper.cluster.lease import Leases
from wattkeeper.cluster.metrics import ClusterMetrics
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod, ScaledObject
from wattkeeper.cluster.state import StateStore
from wattkeeper.cluster.store import Store
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind
from wattkeeper.cluster.trust_store import TrustStore
from wattkeeper.cluster.usage import PodUsage
from wattkeeper.cluster.usage_reading import UsageReader
from wattkeeper.cluster.view import InformerView
from wattkeeper.cluster.writes import Writer

START_SECONDS: Final = 120.0
_ASK_AGAIN_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class _Version(msgspec.Struct, frozen=True):
    minor: str = ""


class KubernetesCluster:
    """Implements wattkeeper.cluster.interface.Cluster. Create it inside the loop that uses it."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
        kinds: Sequence[type[Watched]] = WATCHED_BY_SCALER,
        pace: Pace = PATIENT,
        request_seconds: float = REQUEST_SECONDS,
        start_seconds: float = START_SECONDS,
        instance: str = "",
    ) -> None:
        """Makes the parts; nothing is sent yet.

        Args:
            credentials: who we are (see find_credentials).
            clock: where time comes from.
            registry: where metrics go; one cluster per registry.
            kinds: what is watched; the view knows only these.
            pace: how patient the watches are.
            request_seconds: limit of a single request.
            start_seconds: how long `start` waits for the first lists.
            instance: our name in Events; the host's (in a pod: the pod's) if empty.
        """
        self._clock = clock = clock or SystemClock()
        metrics = ClusterMetrics(registry)
        self._start_seconds = start_seconds
        self._connection = Connection(credentials, request_seconds=request_seconds)
        self._informers: dict[type[Watched], Informer[Any]] = {
            kind: Informer(Store(kind), self._connection, clock, metrics, pace=pace) for kind in kinds
        }
        self._view = InformerView(self._informers)
        self._writer = Writer(self._connection)
        self._gates = GateOpener(self._connection)
        self._actuation = ActuationWriter(self._connection)
        self._disruption = DisruptionWriter(self._connection)
        self._usage = UsageReader(self._connection, metrics)
        self._leases = Leases(self._connection)
        self._events = EventRecorder(self._connection, clock, metrics, instance=instance or socket.gethostname())
        self._state = StateStore(self._connection)
        self._trust = TrustStore(self._connection)
        self._tasks: list[asyncio.Task[None]] = []
        self._server_minor: int | None = None
        self._trouble = ""

    @property
    def view(self) -> InformerView:
        """What is watched."""
        return self._view

    @property
    def server_minor(self) -> int:
        """The API server's minor version. Known after `start`."""
        if self._server_minor is None:
            raise ClusterError("The API server's version is known only after start().")
        return self._server_minor

    async def start(self) -> None:
        """Starts watching and returns when the first lists are complete.

        Raises:
            ForbiddenError: a kind may not be listed.
            NotFoundError: Wattkeeper's own CRDs are not installed.
            UnreachableError: the first lists were not complete in time; the message names what is missing.
        """
        try:
            async with asyncio.timeout(self._start_seconds):
                self._server_minor = await self._read_minor()
                self._tasks = [
                    asyncio.create_task(informer.run(), name=f"watch {informer.name}")
                    for informer in self._informers.values()
                ]
                await self._first_lists()
        except TimeoutError:
            missing = "; ".join(self._missing())
            await self.stop()
            raise UnreachableError(f"Not listed within {self._start_seconds:g} s: {missing}") from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops watching and closes connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._events.stop()
        await self._connection.close()

    async def apply(self, wanted: OwnKind) -> None:
        """Creates the object or brings metadata and spec of the existing one to what is wanted. Status is left."""
        await self._writer.apply(wanted)

    async def write_status(self, wanted: OwnKind) -> None:
        """Brings the leader's part of a status to what is wanted. What another service says in it stays."""
        await self._writer.write_status(wanted)

    async def delete(self, gone: OwnKind) -> None:
        """Deletes this very object (by UID). One that is gone already is a success."""
        await self._writer.delete(gone)

    async def open_gate(self, pod: Pod, *, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        """Takes the power gate off this very pod (by UID); one whose gate is off already is a success."""
        await self._gates.open(pod, terms)

    async def write_actuation(
        self, regarding: PowerRecommendation, *, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        """Brings the actuator's part of a recommendation's status to what is wanted."""
        await self._actuation.write_actuation(regarding, actuation, conditions)

    async def hold_recommendation(self, one: PowerRecommendation, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer."""
        await self._actuation.hold(one, held=held)

    async def set_replica_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        """Changes replica bounds of a KServe service, as it was seen."""
        await self._actuation.set_replica_fields(service, fields)

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        """Creates a ScaledObject of our own, or brings it to what is wanted."""
        await self._actuation.apply_scaled_object(wanted)

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        """Deletes this very ScaledObject (by UID)."""
        await self._actuation.delete_scaled_object(gone)

    async def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        """Holds down what KEDA scales by, as it was seen, or lets it go."""
        await self._actuation.set_brake(target, fields, if_ours=if_ours)

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        """Sets or removes a pod's deletion cost."""
        await self._disruption.set_deletion_cost(pod, cost)

    async def evict(self, pod: Pod) -> None:
        """Evicts this very pod (by UID)."""
        await self._disruption.evict(pod)

    async def serving_pods(self, namespace: str) -> frozenset[str]:
        """Returns the UIDs of pods that a Service of a namespace sends traffic to."""
        return await self._disruption.serving_pods(namespace)

    async def create_migration(self, new: PowerMigration) -> None:
        """Creates a migration."""
        await self._disruption.create_migration(new)

    async def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        """Brings the actuator's part of a migration's status to what is wanted."""
        await self._disruption.write_migration(regarding, status)

    async def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer."""
        await self._disruption.hold_migration(one, held=held)

    async def read_usage(self) -> tuple[PodUsage, ...]:
        """Reads what every pod uses right now (metrics.k8s.io)."""
        return await self._usage.read()

    async def record(self, event: EventRecord) -> None:
        """Writes an Event, or counts it into its series."""
        await self._events.record(event)

    async def hold_lease(
        self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float, by_force: bool = False
    ) -> bool:
        """Takes or renews a Lease. Returns whether this holder has it now."""
        return await self._leases.hold(
            namespace=namespace,
            name=name,
            holder=holder,
            duration_seconds=duration_seconds,
            now=now,
            by_force=by_force,
        )

    async def release_lease(self, *, namespace: str, name: str, holder: str) -> None:
        """Gives a Lease up if this holder has it, so that the next one need not wait."""
        await self._leases.release(namespace=namespace, name=name, holder=holder)

    async def read_state(self, *, namespace: str, name: str) -> bytes | None:
        """Reads what write_state wrote; None if there is nothing."""
        return await self._state.read(namespace, name)

    async def write_state(self, *, namespace: str, name: str, state: bytes) -> None:
        """Keeps bytes in ConfigMaps, checksummed as a whole."""
        await self._state.write(namespace, name, state)

    async def read_secret(self, *, namespace: str, name: str) -> Secret:
        """Reads a Secret."""
        return await self._trust.read_secret(namespace, name)

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        """Replaces all values of a Secret that was read."""
        await self._trust.write_secret(read, data)

    async def read_webhooks(self, *, kind: WebhookKind, name: str) -> WebhookConfiguration:
        """Reads whom the API server trusts when it calls webhooks."""
        return await self._trust.read_webhooks(kind, name)

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        """Replaces the caBundles of a configuration that was read, and nothing else of it."""
        await self._trust.write_bundles(read, bundles)

    async def _read_minor(self) -> int:
        """Asks until the API server answers; it may start after us."""
        while True:
            try:
                body = await self._connection.request("GET", "/version")
                break
            except UnreachableError as error:
                self._trouble = str(error)
                _log.warning("the API server does not answer yet: %s", error)
            await self._clock.sleep(_ASK_AGAIN_SECONDS)
        digits = re.match(r"\d+", read_answer(body, _Version).minor)
        return int(digits.group()) if digits else 0

    async def _first_lists(self) -> None:
        """Waits until every kind is listed, or one may not be."""
        waiting = [asyncio.create_task(informer.first_listed()) for informer in self._informers.values()]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    def _missing(self) -> list[str]:
        """Returns what a start still waits for, with the last failure of each."""
        if self._server_minor is None:
            return [self._trouble or "GET /version: no answer yet"]
        missing = [one for one in self._informers.values() if not one.synced()]
        return [f"{one.name}: {one.failure or 'no answer yet'}" for one in missing]
