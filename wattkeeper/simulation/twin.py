"""The twin: an in-memory cluster whose pods serve, draw and are measured, a second at a time.

Each second: controllers, scheduler and kubelets act; requests are served; watts follow; counters count; whoever keeps
score is told what is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Node, Pod
from wattkeeper.recommender.nodes import gpu_count
from wattkeeper.recommender.pods import requested, service_of
from wattkeeper.recommender.services import pod_specs
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController
from wattkeeper.simulation.counters import Counters
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.fleet import FleetRows, GpuSlots, fleet_rows
from wattkeeper.simulation.groups import GroupController
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.models import ModelProfile
from wattkeeper.simulation.physics import Physics, Power
from wattkeeper.simulation.protection import DisruptionController
from wattkeeper.simulation.scheduler import Scheduler
from wattkeeper.simulation.serving import ServiceLevel, Serving
from wattkeeper.simulation.traffic import Traffic
from wattkeeper.simulation.workloads import Workload, find_workload

STEP_SECONDS: Final = 1.0
TWIN_RANK: Final = 0
# Loads of one model differ: caches are warm or not, disks are busy or not.
_LOAD_SPREAD: Final = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class TwinService:
    """What the twin knows of a workload that the cluster does not.

    Attributes:
        model: of each pod: those of a group serve as if they were alone.
    """

    namespace: str
    name: str
    model: ModelProfile
    traffic: Traffic
    level: ServiceLevel
    grace_seconds: float = 30.0
    kind: str = "Deployment"

    @property
    def key(self) -> ServiceKey:
        """Its name everywhere else."""
        return ServiceKey(self.namespace, self.kind, self.name)


class Twin:
    """Physics and Kubernetes of one cluster.

    Attributes:
        nodes: names of all machines, in the order of all arrays of nodes; some may have left the cluster.
        rows, power: the last second. A machine that has left draws nothing.
        protection: keeps PodDisruptionBudgets.
        hanging: by service, seconds that its pods take to end from now on, whatever they have to finish.
    """

    def __init__(self, cluster: TwinCluster, clock: SteppedClock, services: Sequence[TwinService], seed: int) -> None:
        """Takes up the nodes and workloads that are there.

        Raises:
            ImpossibleFixtureError: a service's workload is not there, or its pods ask for other GPUs than its model.
        """
        self.cluster, self.clock, self.services = cluster, clock, tuple(services)
        self._service_row = {one.key: row for row, one in enumerate(self.services)}
        for one in self.services:
            _check_service(one, find_workload(cluster.objects, one.kind, one.namespace, one.name))
        nodes = sorted(cluster.objects.all(Node).values(), key=lambda node: node.metadata.name)
        self.nodes = tuple(node.metadata.name for node in nodes)
        self._node_row = {name: row for row, name in enumerate(self.nodes)}
        self.gpus = np.array([int(gpu_count(node.status.capacity)) for node in nodes], dtype=np.int64)
        self._random = np.random.default_rng([seed, 31])
        self.kubelet = Kubelet(cluster, load_seconds=self._load_seconds, grace_seconds=self._grace_seconds)
        self._controller = ReplicaController(cluster, self.kubelet, seed)
        self._groups = GroupController(cluster, self.kubelet)
        self._scheduler = Scheduler(cluster)
        self.protection = DisruptionController(cluster)
        cluster.disruption.end = self._evicted
        self._slots = GpuSlots(dict(zip(self.nodes, self.gpus.tolist(), strict=True)))
        self.serving = Serving(
            tuple(one.traffic for one in self.services), tuple(one.level for one in self.services), clock.now()
        )
        self._physics = Physics(self.gpus, seed)
        self.counters = Counters(self.gpus)
        self._version = -1
        self.rows = self._aligned(None)
        self.power: Power = self._physics.watts(self.rows, self.serving.batches)
        self._watchers: list[Callable[[float], None]] = []
        self.hanging: dict[ServiceKey, float] = {}
        self._lost: dict[str, Node] = {}

    def watch(self, watcher: Callable[[float], None]) -> None:
        """Calls the watcher after every second, with Unix seconds."""
        self._watchers.append(watcher)

    def start(self) -> asyncio.Task[None]:
        """Starts the seconds; everything that is deployed already serves."""
        self._controller.reconcile(self.clock.now())
        self._groups.reconcile(self.clock.now())
        self._let_out()
        self.settle()
        self.kubelet.finish_loading(self.clock.now())
        return self.clock.start(self._run(), name="twin", rank=TWIN_RANK)

    def settle(self) -> None:
        """Lets Kubernetes act on what has changed, without time passing."""
        now = self.clock.now()
        self._controller.reconcile(now)
        self._groups.reconcile(now)
        self._scheduler.reconcile()
        self.kubelet.reconcile(now)
        self.protection.reconcile()

    def _evicted(self, pod: Pod) -> None:
        self.kubelet.delete(pod, self.clock.now())

    def step(self) -> None:
        """Lets a second pass."""
        now = self.clock.now()
        self.settle()
        for uid, one in list(self.kubelet.running.items()):
            if one.pod.metadata.deletion_timestamp and now >= one.until:
                self.kubelet.exit(uid)
        self.rows = self._aligned(self.rows)
        self.serving.step(self.rows, now, STEP_SECONDS)
        self.power = self._without_lost(self._physics.watts(self.rows, self.serving.batches))
        self.counters.count(self.rows, self.power, STEP_SECONDS)
        for uid in self.serving.drained(self.rows):
            if service_of(self.kubelet.running[uid].pod) not in self.hanging:
                self.kubelet.exit(uid)
        for watcher in self._watchers:
            watcher(now)

    def lose_node(self, name: str) -> None:
        """Takes a machine away, with all that runs on it: it is switched off, and its pods and Node go."""
        node = self.cluster.objects.get(Node, "", name)
        if node is None:
            return
        for uid, one in list(self.kubelet.running.items()):
            if one.pod.spec.node_name == name:
                self.kubelet.exit(uid)
        self._lost[name] = node
        self.cluster.objects.remove(node)

    def return_node(self, name: str) -> None:
        """Brings a machine back that was taken away, as a new Node."""
        node = self._lost.pop(name, None)
        if node is not None:
            meta = msgspec.structs.replace(node.metadata, uid="", resource_version="", creation_timestamp="")
            self.cluster.create(msgspec.structs.replace(node, metadata=meta))

    def _without_lost(self, power: Power) -> Power:
        if not self._lost:
            return power
        there = np.array([name not in self._lost for name in self.nodes], dtype=np.float64)
        return replace(
            power,
            node_cpu=power.node_cpu * there,
            node_gpu=power.node_gpu * there,
            node_wall=power.node_wall * there,
        )

    def _let_out(self) -> None:
        """Takes all gates off: what serves already was let out before anybody looked."""
        for pod in list(self.cluster.objects.all(Pod).values()):
            if pod.spec.scheduling_gates:
                spec = msgspec.structs.replace(pod.spec, scheduling_gates=())
                self.cluster.replace(msgspec.structs.replace(pod, spec=spec))

    def requests(self, service: int) -> float:
        """Returns requests of a service that run or wait, wherever they are."""
        running = self.serving.batches[self.rows.service == service].sum()
        return float(running) + self.serving.waiting(service)

    async def _run(self) -> None:
        while True:
            self.step()
            await self.clock.sleep(STEP_SECONDS)

    def _aligned(self, old: FleetRows | None) -> FleetRows:
        if old is not None and self._version == self.kubelet.version:
            return old
        self._version = self.kubelet.version
        running = list(self.kubelet.running.values())
        models = [one.model for one in self.services]
        rows = fleet_rows(running, self._node_row, self._service_row, models)
        self._slots.keep_only(set(rows.uids))
        slots = [
            self._slots.take(uid, self.nodes[int(node)], int(gpus))
            for uid, node, gpus in zip(rows.uids, rows.node, rows.gpus, strict=True)
        ]
        self.serving.align(old, rows)
        self.counters.align(rows, slots)
        return rows

    def _service_of(self, pod: Pod) -> TwinService | None:
        key = service_of(pod)
        row = None if key is None else self._service_row.get(key)
        return None if row is None else self.services[row]

    def _load_seconds(self, pod: Pod) -> float:
        service = self._service_of(pod)
        mean = service.model.load_seconds if service else 0.0
        return mean * float(self._random.uniform(1.0 - _LOAD_SPREAD, 1.0 + _LOAD_SPREAD))

    def _grace_seconds(self, pod: Pod) -> float:
        service = self._service_of(pod)
        if service is None:
            return 0.0
        return self.hanging.get(service.key, service.grace_seconds)


def _check_service(service: TwinService, workload: Workload | None) -> None:
    where = f"{service.namespace}/{service.name}"
    if workload is None:
        raise ImpossibleFixtureError(f"service {where} has no {service.kind}")
    for spec in pod_specs(workload):
        gpus = requested(spec)[0]
        if gpus != service.model.gpus:
            raise ImpossibleFixtureError(
                f"{where} requests {gpus:g} GPUs, {service.model.name} was measured on {service.model.gpus}"
            )
