"""A small cluster with a power gate, tick by tick: workload controllers, a scheduler, a keeper of the gate.

What everything may draw is known and constant, so that whatever changes in the sums comes from decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from unittest import mock

import numpy as np

from tests.unit.power.rows import NOW, budget_rows, floats, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.readings import (
    Bools,
    Floats,
    MigrationKey,
    MigrationRows,
    PodKey,
    PodPhase,
    Published,
    Readings,
    Rung,
)
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.result import Refusal, StepResult
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender

TICK = 5.0
WINDOW_TICKS = 4
FIXED_WATTS = 100.0


@dataclass(kw_only=True)
class GatedPod:
    """A pod; `racks` is where it may land."""

    racks: Bools
    phase: PodPhase = PodPhase.GATED
    rack: int = -1


@dataclass(kw_only=True)
class Replica:
    """One or more pods, the leader first; `drains` counts the ticks that they still draw once deleted."""

    number: int
    service: int
    template: int
    pods: list[GatedPod]
    drains: int = 0

    @property
    def phase(self) -> PodPhase:
        """Returns the phase of the pod that is furthest."""
        phases = {pod.phase for pod in self.pods}
        order = (PodPhase.RUNNING, PodPhase.PENDING, PodPhase.TERMINATING)
        return next((phase for phase in order if phase in phases), PodPhase.GATED)

    @property
    def ready(self) -> bool:
        return all(pod.phase == PodPhase.RUNNING for pod in self.pods)


@dataclass(kw_only=True)
class Workload:
    """A scale target: `surge` replicas more than `replicas` while it rolls, and none less; `size` pods each."""

    unit_watts: float = 100.0
    gated: bool = True
    priority: int = 0
    floor: int = 0
    demand: float = 0.0
    replicas: int = 0
    template: int = 0
    racks: tuple[int, ...] | None = None
    surge: int = 1
    size: int = 1
    cap_only: bool = False
    replaces: bool = False


@dataclass(kw_only=True)
class Moving:
    """A migration away from a rack, as its object says: whether it asks for watts, and what it was told last."""

    service: int
    rack: int
    name: str = "move"
    asks: bool = True
    reserved: bool = False
    replicas: int = 0


class ConstantModel:
    """Stands for the power model: what pods and replicas may draw is given."""

    def __init__(self, world: GatedWorld) -> None:
        self._world = world

    def observe(self, readings: Readings, now: float) -> None:
        """Learns nothing."""

    def charges(self, readings: Readings, now: float) -> Charges:
        nodes, domains = len(readings.nodes.names), len(readings.budgets.names)
        unit = np.array([one.unit_watts for one in self._world.workloads])
        each = unit / readings.services.pods_per_replica
        pod = np.where(readings.pods.node >= 0, each[readings.pods.service], 0.0)

        def three(watts: Floats) -> Floats:
            return np.broadcast_to(watts, (3, *watts.shape)).copy()

        return Charges(
            node_upper_watts=three(np.full(nodes, FIXED_WATTS)),
            node_expected_watts=three(np.full(nodes, FIXED_WATTS)),
            unmanaged_upper_watts=np.zeros((3, nodes)),
            unmanaged_expected_watts=np.zeros((3, nodes)),
            pending_unmanaged_watts=np.zeros(3),
            replica_upper_watts=three(unit[:, np.newaxis]),
            replica_expected_watts=three(unit[:, np.newaxis]),
            pod_upper_watts=three(pod),
            pod_expected_watts=three(pod),
            residual_watts=np.zeros(domains),
            meter_watts=np.full(domains, np.nan),
            node_rung=np.full(nodes, int(Rung.FROZEN if self._world.stale else Rung.FRESH)),
        )


@dataclass(kw_only=True)
class GatedWorld:
    """Workloads on racks of one node, in one domain for each rack and one for all.

    Attributes:
        limit_watts: float64[1 + racks], of all and of each rack.
        moving: migrations, the first of a service first.
        published: the grants that recommendations show; none are read where it is empty.
    """

    workloads: list[Workload]
    limit_watts: Floats
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    drain_ticks: int = 2
    replicas: list[Replica] = field(default_factory=list[Replica])
    moving: list[Moving] = field(default_factory=list[Moving])
    published: list[int] = field(default_factory=list[int])
    stale: bool = False
    now: float = NOW
    created: int = 0

    def __post_init__(self) -> None:
        self.recommender = self.new_leader()

    def new_leader(self) -> Recommender:
        """Returns a recommender that knows nothing yet."""
        settings = RecommenderSettings(actuation_window_seconds=WINDOW_TICKS * TICK, warm_up_ticks=1)
        with mock.patch("wattkeeper.recommender.step.PowerModel", return_value=ConstantModel(self)):
            return Recommender(settings, PriorityFairShare())

    @property
    def racks(self) -> int:
        return len(self.limit_watts) - 1

    def eligible(self, service: int) -> Bools:
        racks = self.workloads[service].racks
        found = np.full(self.racks, racks is None)
        found[[*(racks or ())]] = True
        return found

    def of(self, service: int, *phases: PodPhase) -> list[Replica]:
        return [one for one in self.replicas if one.service == service and one.phase in phases]

    def living(self, service: int) -> list[Replica]:
        return self.of(service, PodPhase.GATED, PodPhase.PENDING, PodPhase.RUNNING)

    def out(self, service: int) -> int:
        return len(self.of(service, PodPhase.PENDING, PodPhase.RUNNING))

    def draw(self) -> Floats:
        """Returns what really draws: float64[1 + racks]."""
        racks = np.full(self.racks, FIXED_WATTS)
        for replica in self.replicas:
            workload = self.workloads[replica.service]
            for pod in replica.pods:
                if pod.rack >= 0:
                    racks[pod.rack] += workload.unit_watts / workload.size
        return np.concatenate([[racks.sum()], racks])

    # What the cluster does.

    def start(self, service: int, rack: int, count: int = 1) -> None:
        """Puts running pods there, and lets the workload ask for them."""
        for _ in range(count):
            for pod in self._create(service).pods:
                pod.phase, pod.rack = PodPhase.RUNNING, rack
        self.workloads[service].replicas += count

    def delete(self, replica: Replica) -> None:
        replica.pods = [pod for pod in replica.pods if pod.rack >= 0]
        for pod in replica.pods:
            pod.phase = PodPhase.TERMINATING
        replica.drains = self.drain_ticks
        if not replica.pods:
            self.replicas.remove(replica)

    def control(self) -> None:
        """Creates and deletes replicas as a Deployment with maxUnavailable 0 does."""
        for service, workload in enumerate(self.workloads):
            living = self.living(service)
            old = [one for one in living if one.template != workload.template]
            new = [one for one in living if one.template == workload.template]
            for one in _first_to_go(new)[: max(len(new) - workload.replicas, 0)]:
                self.delete(one)
                living.remove(one)
            if not old:
                for _ in range(workload.replicas - len(living)):
                    self._create(service)
                continue
            unready = [one for one in old if not one.ready]
            ready = [one for one in living if one.ready]
            spare = max(len(ready) - workload.replicas, 0)
            for one in unready + [one for one in old if one.ready][:spare]:
                self.delete(one)
                living.remove(one)
            for _ in range(min(workload.replicas + workload.surge - len(living), workload.replicas - len(new))):
                self._create(service)

    def open_gates(self, result: StepResult, share: float = 1.0) -> None:
        """Opens gates as the keeper does: leaders up to the openings (or fewer), others once their leader is out."""
        for service in range(len(self.workloads)):
            followers = [pod for one in self.of(service, PodPhase.PENDING, PodPhase.RUNNING) for pod in one.pods[1:]]
            gated = [one.pods[0] for one in self.of(service, PodPhase.GATED)]
            openings = int(result.gate.openings[service]) if result.gate.gated[service] else len(gated)
            for pod in gated[: int(np.ceil(share * openings))] + [
                one for one in followers if self.rng.random() < share
            ]:
                if pod.phase == PodPhase.GATED:
                    pod.phase = PodPhase.PENDING
                    pod.racks = pod.racks & ~result.gate.avoided[service, 1:]
                    assert pod.racks.any(), "a pod that may land nowhere"

    def schedule(self, share: float = 1.0) -> None:
        """Places pods that are out of the gate anywhere they may land."""
        for pod in [pod for one in self.replicas for pod in one.pods]:
            if pod.phase == PodPhase.PENDING and self.rng.random() < share:
                pod.rack = int(self.rng.choice(np.flatnonzero(pod.racks)))
                pod.phase = PodPhase.RUNNING

    def drain(self) -> None:
        for one in [one for one in self.replicas if one.phase == PodPhase.TERMINATING]:
            one.drains -= 1
            if one.drains <= 0:
                self.replicas.remove(one)

    def decide(self) -> StepResult:
        result = self.recommender.step(self.readings(), self.now)
        self.now += TICK
        moves = result.migrations
        told = {key.name: row for row, key in enumerate(moves.keys)}
        for one in self.moving:
            if one.name in told:
                row = told[one.name]
                one.reserved, one.replicas = moves.refusal[row] == Refusal.NONE, int(moves.replicas[row])
        return result

    def tick(self, *, obey: bool = True) -> StepResult:
        """One tick in which everybody acts at once; where autoscalers obey, specs follow the grants."""
        result = self.decide()
        if obey and result.warm:
            targets = result.plan.grants + result.migrations.surge
            for workload, target in zip(self.workloads, targets.tolist(), strict=True):
                workload.replicas = target
        self.drain()
        self.control()
        self.open_gates(result)
        self.schedule()
        return result

    def ticks(self, count: int) -> list[StepResult]:
        return [self.tick() for _ in range(count)]

    def _create(self, service: int) -> Replica:
        workload = self.workloads[service]
        phase = PodPhase.GATED if workload.gated else PodPhase.PENDING
        pods = [GatedPod(racks=self.eligible(service), phase=phase) for _ in range(workload.size)]
        replica = Replica(number=self.created, service=service, template=workload.template, pods=pods)
        self.created += 1
        self.replicas.append(replica)
        return replica

    # What the recommender sees.

    def readings(self) -> Readings:
        count, width = len(self.workloads), 1 + self.racks
        every = [(one, pod) for one in self.replicas for pod in one.pods]
        sorts = [np.append(True, pod.racks) for _, pod in every]
        waits = np.array([pod.phase == PodPhase.PENDING for _, pod in every], dtype=np.bool_)
        sizes = [one.size for one in self.workloads]
        places = np.stack([np.zeros(self.racks), 1 + np.arange(self.racks)], axis=1).astype(np.int64)
        eligible = np.array([self.eligible(service) for service in range(count)], dtype=np.bool_)
        pods = pod_rows(
            len(every),
            keys=tuple(PodKey("serving", f"pod-{number}") for number in range(len(every))),
            node=ints([pod.rack for _, pod in every], len(every)),
            service=ints([one.service for one, _ in every], len(every)),
            phase=ints([int(pod.phase) for _, pod in every], len(every)),
            group=ints([one.number if sizes[one.service] > 1 else -1 for one, _ in every], len(every)),
            landing=np.where(waits, np.arange(len(every)), -1),
            landings=np.array(sorts, dtype=np.bool_).reshape(len(every), width),
        )
        services = service_rows(
            count,
            gated=np.array([one.gated for one in self.workloads], dtype=np.bool_),
            rolls=np.array(
                [
                    one.gated and len({replica.template for replica in self.living(service)}) > 1
                    for service, one in enumerate(self.workloads)
                ],
                dtype=np.bool_,
            ),
            replaces=np.array([one.replaces for one in self.workloads], dtype=np.bool_),
            priority=ints([one.priority for one in self.workloads], count),
            floor=ints([one.floor for one in self.workloads], count),
            ceiling=ints(12, count),
            cap_only=np.array([one.cap_only for one in self.workloads], dtype=np.bool_),
            demand=floats([one.demand for one in self.workloads], count),
            stabilization_seconds=floats(0.0, count),
            pods_per_replica=ints(sizes, count),
            spec_replicas=ints([one.replicas for one in self.workloads], count),
            eligible_domains=np.concatenate([eligible.any(axis=1, keepdims=True), eligible], axis=1),
            eligible_places=eligible,
        )
        nodes = node_rows(self.racks, domains=places, places=places)
        budgets = budget_rows(width, limit_watts=self.limit_watts.copy())
        seen = readings(nodes, pods, services, budgets)
        published = {seen.services.keys[row]: Published(grant, -1) for row, grant in enumerate(self.published)}
        return replace(seen, migrations=self._migrations(), published=published)

    def _migrations(self) -> MigrationRows:
        moving = self.moving
        return MigrationRows(
            keys=tuple(MigrationKey("serving", one.name, one.name) for one in moving),
            service=ints([one.service for one in moving], len(moving)),
            budget=ints([one.rack + 1 for one in moving], len(moving)),
            asks=np.array([one.asks for one in moving], dtype=np.bool_),
            reserved=np.array([one.reserved for one in moving], dtype=np.bool_),
            replicas=ints([one.replicas for one in moving], len(moving)),
        )


def _first_to_go(replicas: list[Replica]) -> list[Replica]:
    """A ReplicaSet deletes pods without a node first."""
    return sorted(replicas, key=lambda one: one.phase == PodPhase.RUNNING)


def limits(all_watts: float, *rack_watts: float) -> Floats:
    """Returns limits of all and of each rack, in watts beyond the fixed draw of their nodes."""
    nodes = floats([float(len(rack_watts)), *[1.0] * len(rack_watts)], 1 + len(rack_watts))
    return nodes * FIXED_WATTS + floats([all_watts, *rack_watts], 1 + len(rack_watts))
