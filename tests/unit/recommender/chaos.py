"""A small cluster in which everybody does what they may, when they like."""

from __future__ import annotations

import numpy as np

from tests.unit.recommender.gated_world import GatedWorld, Moving, Replica, Workload
from wattkeeper.recommender.result import StepResult


class Chaos:
    """Everybody does what they may, when they like."""

    def __init__(self, seed: int, *, moves: float = 0.0) -> None:
        """Takes how likely it is in each tick that a migration begins, ends, or that somebody acts on one."""
        self.moves = moves
        self.rng = np.random.default_rng(seed)
        racks = int(self.rng.integers(1, 4))
        self.world = GatedWorld(
            workloads=[self._workload(racks) for _ in range(int(self.rng.integers(1, 5)))],
            limit_watts=np.full(1 + racks, 1e6),
            rng=self.rng,
        )
        for service in range(len(self.world.workloads)):
            for rack in np.flatnonzero(self.world.eligible(service)).tolist():
                self.world.start(service, rack, int(self.rng.integers(0, 3)))
        room = 1.5 if moves == 0.0 else 3.0
        self.world.limit_watts = self.world.draw() * self.rng.uniform(1.0, room, 1 + racks) + 1.0
        count = len(self.world.workloads)
        self.log: list[list[int]] = []
        self.read = [0] * count

    def _workload(self, racks: int) -> Workload:
        chosen = np.flatnonzero(self.rng.random(racks) < 0.7).tolist()
        return Workload(
            unit_watts=float(self.rng.uniform(100.0, 700.0)),
            gated=bool(self.rng.random() < 0.7),
            priority=int(self.rng.integers(0, 3)),
            floor=int(self.rng.integers(0, 2)),
            demand=float(self.rng.integers(0, 9)),
            racks=tuple(chosen) or (0,),
            size=int(self.rng.choice([1, 1, 2, 3])),
        )

    def decide(self) -> StepResult:
        result = self.world.decide()
        self.log.append((result.plan.grants + result.migrations.surge).tolist())
        return result

    def act(self, result: StepResult) -> None:
        world, rng = self.world, self.rng
        world.drain_ticks = int(rng.integers(1, 6))
        for service, workload in enumerate(world.workloads):
            if rng.random() < 0.2:
                workload.demand = float(rng.integers(0, 9))
            if workload.gated:
                self._shake(service, workload)
                self._follow_migration(service, workload, result)
            else:
                self._autoscale(service, workload, warm=result.warm)
        if rng.random() < 0.9:
            world.control()
        world.open_gates(result, share=float(rng.choice([0.0, 0.5, 1.0])))
        world.schedule(share=float(rng.random()))
        world.drain()

    def _shake(self, service: int, workload: Workload) -> None:
        """Users scale by hand, roll out and evict: the gate holds whatever they do."""
        if self.rng.random() < 0.3:
            workload.replicas = int(self.rng.integers(0, 10))
        if self.rng.random() < 0.1:
            workload.template += 1
        living: list[Replica] = self.world.living(service)
        if living and self.rng.random() < 0.2:
            self.world.delete(living[int(len(living) * self.rng.random())])

    def _follow_migration(self, service: int, workload: Workload, result: StepResult) -> None:
        """Migrations come and go, and owners ask for the replica more, in time or not."""
        world, rng = self.world, self.rng
        if rng.random() >= self.moves / workload.size**3:  # Groups do not move anyhow.
            return
        own = [one for one in world.moving if one.service == service]
        if own and rng.random() < (0.1 if own[0].reserved else 0.8):
            world.moving.remove(own[0])
        elif own and rng.random() < 0.1:
            own[0].asks = False
        elif (not own or rng.random() < 0.1) and rng.random() < 0.7:
            name = f"move-{len(self.log)}-{service}"
            world.moving.append(Moving(service=service, rack=int(rng.integers(0, world.racks)), name=name))
        else:
            workload.replicas = int(result.plan.grants[service] + result.migrations.surge[service])

    def _autoscale(self, service: int, workload: Workload, *, warm: bool) -> None:
        """An autoscaler may act late, but not backwards."""
        latest = len(self.log) - 1
        self.read[service] = max(self.read[service], latest - 3)
        if warm and self.rng.random() < 0.6:
            entry = int(self.rng.integers(self.read[service], latest + 1))
            self.read[service] = entry
            workload.replicas = self.log[entry][service]
