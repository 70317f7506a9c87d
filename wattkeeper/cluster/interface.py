"""The one interface to a cluster. The Kubernetes client implements it, and so does the digital twin.

Reading is from memory: a `View` is a complete, current picture or says that it is not. Writing is a handful of verbs
on Wattkeeper's own kinds, the power gate of pods, their deletion cost and eviction, replica bounds of KServe's
services, ScaledObjects of its own, the brake, Leases, Events, state, and the certificates of its own webhooks. Nothing
else of a cluster can be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from wattkeeper.api.meta import Condition
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.kserve import InferenceService, KServeService, LLMInferenceService
from wattkeeper.cluster.objects import (
    Deployment,
    HorizontalPodAutoscaler,
    LeaderWorkerSet,
    LimitRange,
    Namespace,
    Node,
    NodeSelectorTerm,
    Pod,
    PodDisruptionBudget,
    ResourceQuota,
    ScaledObject,
)
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind
from wattkeeper.cluster.usage import PodUsage

Watched = (
    Node
    | Namespace
    | Pod
    | Deployment
    | LeaderWorkerSet
    | ScaledObject
    | HorizontalPodAutoscaler
    | LimitRange
    | ResourceQuota
    | PodDisruptionBudget
    | InferenceService
    | LLMInferenceService
    | PowerBudget
    | PowerCappingPolicy
    | PowerRecommendation
    | PowerMigration
)
WATCHED_BY_SCALER: tuple[type[Watched], ...] = (
    Node,
    Namespace,
    Pod,
    Deployment,
    LeaderWorkerSet,
    ScaledObject,
    InferenceService,
    LLMInferenceService,
    PowerBudget,
    PowerCappingPolicy,
    PowerRecommendation,
    PowerMigration,
)
WATCHED_BY_ADMISSION: tuple[type[Watched], ...] = (
    PowerBudget,
    PowerCappingPolicy,
    PowerRecommendation,
    Deployment,
    LeaderWorkerSet,
    Pod,
    Namespace,
    Node,
    HorizontalPodAutoscaler,
    LimitRange,
    ResourceQuota,
    InferenceService,
    LLMInferenceService,
)
WATCHED_BY_ACTUATOR: tuple[type[Watched], ...] = (
    PowerBudget,
    PowerCappingPolicy,
    PowerRecommendation,
    PowerMigration,
    Deployment,
    LeaderWorkerSet,
    Pod,
    PodDisruptionBudget,
    ScaledObject,
    HorizontalPodAutoscaler,
    InferenceService,
    LLMInferenceService,
)
WATCHED: tuple[type[Watched], ...] = tuple(
    dict.fromkeys((*WATCHED_BY_SCALER, *WATCHED_BY_ADMISSION, *WATCHED_BY_ACTUATOR))
)
"""Every kind that somebody watches. A view knows those that it was made for."""

OwnKind = PowerBudget | PowerCappingPolicy | PowerRecommendation | PowerMigration
T = TypeVar("T", bound=Watched)

# Called with (old, new): (None, new) for an addition, (old, None) for a deletion.
ChangeHandler = Callable[[T | None, T | None], None]


class View(Protocol):
    """All watched objects, in memory."""

    def all(self, kind: type[T]) -> Mapping[str, T]:
        """Returns every object of a kind by UID. The mapping is live and must not be changed."""
        ...

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """Returns one object by name ("" as namespace for cluster-scoped kinds)."""
        ...

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        """Calls the handler for everything there is, as additions, and then for every change, in order."""
        ...

    def synced(self) -> bool:
        """Says whether every kind was listed completely and its watch is alive."""
        ...

    def staleness_seconds(self, now: float) -> float:
        """Returns seconds since the least recently heard watch said anything; inf before the first sync."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """One event about an object.

    Attributes:
        regarding: the object; its kind is known by its type.
        type: Normal or Warning.
        reason: CamelCase, for machines.
        action: CamelCase, what was done or refused.
        note: a sentence for people, at most 1,024 characters.
        dedupe_key: events with the same key are one series: repeated ones raise its count.
    """

    regarding: Watched | Secret
    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    note: str
    dedupe_key: str


class Cluster(Protocol):
    """A cluster. Every coroutine raises ClusterError (wattkeeper.cluster.errors), nothing else."""

    @property
    def view(self) -> View:
        """What is watched."""
        ...

    @property
    def server_minor(self) -> int:
        """The API server's minor version, such as 36."""
        ...

    async def start(self) -> None:
        """Starts watching and returns when the first lists are complete."""
        ...

    async def stop(self) -> None:
        """Stops watching and closes connections."""
        ...

    async def apply(self, wanted: OwnKind) -> None:
        """Creates the object or brings metadata and spec of the existing one to what is wanted. Status is left."""
        ...

    async def write_status(self, wanted: OwnKind) -> None:
        """Brings the leader's part of a status to what is wanted. What another service says in it stays.

        ConflictError never surfaces: what collides is written again.
        """
        ...

    async def delete(self, gone: OwnKind) -> None:
        """Deletes this very object (by UID). One that is gone already is a success."""
        ...

    async def open_gate(self, pod: Pod, *, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        """Takes the power gate off this very pod (by UID); one whose gate is off already is a success.

        Args:
            pod: as the view shows it.
            terms: all its required node affinity terms from now on, None to leave them as they are. Kubernetes lets
                terms of a gated pod grow by further requirements, and terms be given to a pod that has none.

        Raises:
            NotFoundError: the pod is gone, or another one has its name.
            ConflictError: somebody else changed the pod's gates meanwhile, and ours still holds: look again.
            RefusedError: the API server refuses the terms, and the gate still holds.
        """
        ...

    async def write_actuation(
        self, regarding: PowerRecommendation, *, actuation: Actuation | None, conditions: tuple[Condition, ...]
    ) -> None:
        """Brings the actuator's part of a recommendation's status to what is wanted. The leader's part stays.

        Raises:
            NotFoundError: the recommendation is gone, or another one has its name.
            ConflictError: it notes or recommends something else than what was seen: look again.
        """
        ...

    async def hold_recommendation(self, one: PowerRecommendation, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer, which keeps a recommendation until what was changed is put back.

        Raises:
            NotFoundError: the recommendation is gone, or another one has its name.
            ConflictError: it notes or recommends something else than what was seen: look again.
        """
        ...

    async def set_replica_fields(self, service: KServeService, fields: Mapping[str, int | None]) -> None:
        """Changes replica bounds of a KServe service, as it was seen; None takes a field away.

        Args:
            service: as the view shows it.
            fields: some of wattkeeper.cluster.kserve.REPLICA_FIELDS.

        Raises:
            NotFoundError: it is gone.
            ConflictError: somebody else wrote since: look again.
            RefusedError: KServe refuses the bounds, or a field is none of those that may be changed.
        """
        ...

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        """Creates a ScaledObject of our own, or brings it to what is wanted.

        Raises:
            RefusedError: KEDA refuses it, for example because the target has another autoscaler; or it lacks the label
                that marks ours.
        """
        ...

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        """Deletes this very ScaledObject (by UID). One that is gone already is a success.

        Raises:
            RefusedError: it is none of ours.
        """
        ...

    async def set_brake(self, target: Brakeable, fields: Mapping[str, int | None], *, if_ours: bool = False) -> None:
        """Holds down the bounds of an HPA that KEDA made, or pauses a ScaledObject, as it was seen; or lets it go.

        Args:
            target: as the view shows it.
            fields: MAXIMUM and MINIMUM of an HPA, PAUSE of a ScaledObject (wattkeeper.cluster.braking); None takes a
                field away.
            if_ours: only where this verb, and nobody since, has set the pause that is there.

        Raises:
            NotFoundError: it is gone.
            ConflictError: somebody else wrote since: look again; or the pause is somebody else's.
            RefusedError: the HPA is not KEDA's, or a field is none of those.
        """
        ...

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        """Sets or removes a pod's deletion cost: the pods with the lowest go first when replicas fall.

        Args:
            pod: as the view shows it.
            cost: absent counts as 0 in Kubernetes; None takes the annotation away.

        Raises:
            NotFoundError: the pod is gone, or another one has its name.
            ConflictError: somebody else changed the cost since: look again.
        """
        ...

    async def evict(self, pod: Pod) -> None:
        """Evicts this very pod (by UID). One that is gone already is a success.

        Raises:
            ProtectedError: a PodDisruptionBudget forbids it.
            UnreachableError: not now, for example because the API server has too much to do (`retry_after_seconds`).
        """
        ...

    async def serving_pods(self, namespace: str) -> frozenset[str]:
        """Returns the UIDs of pods that a Service of a namespace sends traffic to (ready in an EndpointSlice)."""
        ...

    async def create_migration(self, new: PowerMigration) -> None:
        """Creates a migration.

        Raises:
            ConflictError: there is one of that name.
        """
        ...

    async def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        """Brings the actuator's part of a migration's status, all but the reservation, to what is wanted.

        Raises:
            NotFoundError: the migration is gone, or another one has its name.
        """
        ...

    async def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        """Sets or removes the actuator's finalizer, which keeps a migration until what was changed is put back.

        Raises:
            NotFoundError: the migration is gone, or another one has its name.
        """
        ...

    async def read_usage(self) -> tuple[PodUsage, ...]:
        """Reads what every pod uses right now (metrics.k8s.io). Entries that cannot be read are left out.

        Raises:
            MetricsMissingError: nothing serves metrics.k8s.io in this cluster.
        """
        ...

    async def record(self, event: EventRecord) -> None:
        """Writes an Event (events.k8s.io/v1)."""
        ...

    async def hold_lease(
        self, *, namespace: str, name: str, holder: str, duration_seconds: int, now: float, by_force: bool = False
    ) -> bool:
        """Takes or renews a Lease (coordination.k8s.io/v1). Returns whether this holder has it now.

        Args:
            namespace: the Lease's.
            name: the Lease's.
            holder: who wants it.
            duration_seconds: how long others wait after this.
            now: Unix seconds.
            by_force: take it from whoever has it. Who had it may go on believing so for as long as it asked for.
        """
        ...

    async def release_lease(self, *, namespace: str, name: str, holder: str) -> None:
        """Gives a Lease up if this holder has it, so that the next one need not wait."""
        ...

    async def read_state(self, *, namespace: str, name: str) -> bytes | None:
        """Reads what write_state wrote; None if there is nothing.

        Raises:
            StateCorruptError: something is there and cannot be read whole.
        """
        ...

    async def write_state(self, *, namespace: str, name: str, state: bytes) -> None:
        """Keeps bytes in ConfigMaps `name-0`, `name-1`, ... of at most 512 KiB each, checksummed as a whole."""
        ...

    async def read_secret(self, *, namespace: str, name: str) -> Secret:
        """Reads a Secret.

        Raises:
            NotFoundError: it is not there.
        """
        ...

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        """Replaces all values of a Secret that was read.

        Raises:
            ConflictError: somebody else wrote since: read it again.
        """
        ...

    async def read_webhooks(self, *, kind: WebhookKind, name: str) -> WebhookConfiguration:
        """Reads whom the API server trusts when it calls webhooks.

        Raises:
            NotFoundError: there is no such configuration.
        """
        ...

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        """Replaces the caBundles of a configuration that was read, and nothing else of it.

        Args:
            read: as it was read.
            bundles: PEM, one per webhook, in their order.

        Raises:
            ConflictError: somebody else wrote since: read it again.
        """
        ...
