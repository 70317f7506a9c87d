"""Evictions, deletion costs, who gets traffic, and PowerMigrations, on objects in memory."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from wattkeeper.api.power_migration import PowerMigration, PowerMigrationStatus
from wattkeeper.api.readings import PodPhase
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.errors import ConflictError, NotFoundError, ProtectedError
from wattkeeper.cluster.objects import Pod, PodDisruptionBudget
from wattkeeper.recommender.pods import phase_of
from wattkeeper.simulation.actuation import StatusParts
from wattkeeper.simulation.store import ObjectStore


class DisruptionObjects:
    """The verbs of killing and migrating.

    Attributes:
        end: ends a pod that is evicted. Without a kubelet it is gone at once.
    """

    def __init__(
        self,
        objects: ObjectStore,
        parts: StatusParts,
        create: Callable[[PowerMigration], PowerMigration],
    ) -> None:
        self._objects = objects
        self._parts = parts
        self._create = create
        self.end: Callable[[Pod], None] = objects.remove

    def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        """Sets or removes this very pod's deletion cost, where it is still what was seen."""
        meta = pod.metadata
        now = self._objects.get(Pod, meta.namespace, meta.name)
        if now is None or now.metadata.uid != meta.uid:
            raise NotFoundError(f"Pod {meta.namespace}/{meta.name} is not there, or another one.")
        if now.metadata.annotations.get(DELETION_COST) != meta.annotations.get(DELETION_COST):
            raise ConflictError(f"the deletion cost of pod {meta.namespace}/{meta.name} has changed")
        annotations = {key: value for key, value in now.metadata.annotations.items() if key != DELETION_COST}
        if cost is not None:
            annotations[DELETION_COST] = str(cost)
        self._objects.update(replace(now, metadata=replace(now.metadata, annotations=annotations)))

    def evict(self, pod: Pod) -> None:
        """Evicts this very pod; PodDisruptionBudgets count it at once."""
        now = self._objects.all(Pod).get(pod.metadata.uid)
        if now is None or now.metadata.deletion_timestamp:
            return
        protecting = [one for one in self._objects.all(PodDisruptionBudget).values() if protects(one, now)]
        name = f"Pod {now.metadata.namespace}/{now.metadata.name}"
        if len(protecting) > 1:
            raise ProtectedError(f"{name} has more than one PodDisruptionBudget.")
        for budget in protecting:
            allowed = budget.status.disruptions_allowed
            if allowed < 1:
                raise ProtectedError(f"{name}: PodDisruptionBudget {budget.metadata.name} allows no disruption.")
            self._objects.update(replace(budget, status=replace(budget.status, disruptions_allowed=allowed - 1)))
        self.end(now)

    def serving_pods(self, namespace: str) -> frozenset[str]:
        """Returns the UIDs of pods that are ready: a Service of theirs follows at once."""
        pods = (pod for pod in self._objects.all(Pod).values() if pod.metadata.namespace == namespace)
        return frozenset(pod.metadata.uid for pod in pods if phase_of(pod) is PodPhase.RUNNING)

    def create_migration(self, new: PowerMigration) -> None:
        """Creates a migration."""
        meta = new.metadata
        if self._objects.get(PowerMigration, meta.namespace, meta.name) is not None:
            raise ConflictError(f"PowerMigration {meta.namespace}/{meta.name} exists already")
        self._create(PowerMigration(metadata=meta, spec=new.spec))

    def write_migration(self, regarding: PowerMigration, status: PowerMigrationStatus) -> None:
        """Brings all of a migration's status but the reservation to what is wanted."""
        self._objects.update(self._parts.migration(self._same(regarding), status))

    def hold_migration(self, one: PowerMigration, *, held: bool) -> None:
        """Sets or removes the finalizer; an object that is to go goes with its last one."""
        now = self._same(one)
        others = tuple(name for name in now.metadata.finalizers if name != FINALIZER)
        finalizers = (*others, FINALIZER) if held else others
        self._objects.update(replace(now, metadata=replace(now.metadata, finalizers=finalizers)))
        if now.metadata.deletion_timestamp and not finalizers:
            self._objects.remove(now)

    def _same(self, one: PowerMigration) -> PowerMigration:
        meta = one.metadata
        now = self._objects.get(PowerMigration, meta.namespace, meta.name)
        if now is None or now.metadata.uid != meta.uid:
            raise NotFoundError(f"PowerMigration {meta.namespace}/{meta.name} is not there, or another one.")
        return now


def protects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """Says whether a PodDisruptionBudget is about a pod."""
    selector = budget.spec.selector
    return (
        budget.metadata.namespace == pod.metadata.namespace
        and selector is not None
        and selector.matches(pod.metadata.labels)
    )
