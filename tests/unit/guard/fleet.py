"""A tiny fleet under guarded grants: replicas appear at once or late, anywhere they may, and drain late.

Its autoscaler is as bad as one may be: it acts on any grant of the last `WINDOW` ticks, but never on an older one
than it has acted on before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.unit.algorithms.snapshots import NOW, no_history, read_only
from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot

WINDOW = 4
FLOORS = 1


@dataclass(kw_only=True)
class Fleet:
    """S services on R racks, in R + 1 domains: each rack, and all of them.

    Attributes:
        rng: decides everything that the autoscaler, the scheduler and the pods do.
        unit: float64[S], watts of a replica.
        eligible: bool[S, R].
        limit: float64[R + 1].
        running: int64[S, R], replicas that are not terminating.
        draining: rows of service, rack and the ticks it still draws.
        spec: int64[S], what the scale target asks for.
        log: grants, oldest first.
        read: int64[S], the oldest entry of `log` that the autoscaler may still act on.
    """

    rng: np.random.Generator
    unit: Floats
    eligible: Bools
    limit: Floats
    running: Ints
    priority: Ints
    draining: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    spec: Ints
    log: list[Ints]
    read: Ints

    @classmethod
    def random(cls, seed: int) -> Fleet:
        """Returns a fleet inside its limits."""
        rng = np.random.default_rng(seed)
        services, racks = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        eligible = rng.random((services, racks)) < 0.7
        eligible[:, 0] |= ~eligible.any(axis=1)
        running = rng.integers(0, 4, (services, racks)) * eligible
        unit = rng.uniform(100.0, 700.0, services)
        racks_watts = unit @ running
        limit = np.append(racks_watts, racks_watts.sum()) * rng.uniform(1.0, 1.5) + 1.0
        total = running.sum(axis=1)
        return cls(
            rng=rng,
            unit=unit,
            eligible=eligible,
            limit=limit,
            running=running,
            priority=rng.integers(0, 2, services),
            spec=total.copy(),
            log=[total.copy()],
            read=np.zeros(services, dtype=np.int64),
        )

    def draw(self) -> Floats:
        """Returns what really draws in each domain: float64[R + 1]."""
        racks = self.unit @ self.running
        for service, rack, _ in self.draining:
            racks[rack] += self.unit[service]
        return np.append(racks, racks.sum())

    def snapshot(self) -> Snapshot:
        """Returns the picture, with everything committed that a late autoscaler may still start."""
        count, racks = len(self.unit), len(self.limit) - 1
        active = self.running.sum(axis=1)
        drains = np.zeros((count, racks))
        for service, rack, _ in self.draining:
            drains[service, rack] += self.unit[service]
        reachable, rebound = np.zeros(count, dtype=np.int64), np.zeros(count)
        for service in range(count):
            grants = [int(entry[service]) for entry in self.log[self.read[service] :]]
            reachable[service] = max(grants)
            rebound[service] = _rebound(grants, max(int(active[service]), int(self.spec[service])))

        def wide(watts: Floats) -> Floats:
            return np.concatenate([watts, watts.sum(axis=1, keepdims=True)], axis=1)

        unit = self.unit[:, None] * np.append(self.eligible, np.ones((count, 1), dtype=np.bool_), axis=1)
        return read_only(
            Snapshot(
                now=NOW,
                services=tuple(f"service-{row}" for row in range(count)),
                domains=tuple(f"domain-{column}" for column in range(racks + 1)),
                limit_watts=self.limit.copy(),
                base_watts=np.zeros(racks + 1),
                frozen=np.zeros(racks + 1, dtype=np.bool_),
                priority=self.priority.copy(),
                floor=np.full(count, FLOORS, dtype=np.int64),
                ceiling=np.full(count, 12, dtype=np.int64),
                demand=self.rng.integers(FLOORS, 13, count),
                wanted=np.full(count, 12, dtype=np.int64),
                gated=np.zeros(count, dtype=np.bool_),
                surge=np.zeros(count, dtype=np.int64),
                active=active,
                started=np.maximum(active, self.spec),
                committed=np.maximum(np.maximum(active, self.spec), reachable),
                unit_watts=unit,
                active_watts=wide(self.unit[:, None] * self.running),
                draining_watts=wide(drains) + rebound[:, None] * unit,
                tokens_per_second=np.full(count, np.nan),
                previous=self.log[-1].copy(),
                history=no_history(count, racks + 1),
            )
        )

    def tick(self, grants: Ints) -> None:
        """Publishes `grants`; then the autoscaler, the scheduler and draining pods do what they like."""
        self.log.append(grants.copy())
        now = len(self.log) - 1
        for service in range(len(self.unit)):
            self.read[service] = max(int(self.read[service]), now - WINDOW)
            for _ in range(self.rng.choice([0, 1, 2])):
                self._autoscale(service, now - int((now + 1 - self.read[service]) * self.rng.random()))
        self.draining = [(s, r, left - 1) for s, r, left in self.draining if left > 1]

    def settle(self, grants: Ints) -> None:
        """Publishes `grants` and lets everybody catch up, so that nothing loads or drains any more."""
        self.log.append(grants.copy())
        for service in range(len(self.unit)):
            self._autoscale(service, len(self.log) - 1)
            self._place(service, int(self.spec[service]))
        self.draining = []

    def _autoscale(self, service: int, entry: int) -> None:
        """Acts on one entry of the log; what is older cannot follow."""
        self.read[service] = entry
        self.spec[service] = self.log[entry][service]
        while self.running[service].sum() > self.spec[service]:
            rack = self._any(self.running[service] > 0)
            self.running[service, rack] -= 1
            self.draining.append((service, rack, int(self.rng.integers(1, 6))))
        running = int(self.running[service].sum())
        self._place(service, int(self.rng.integers(running, int(self.spec[service]) + 1)))

    def _place(self, service: int, replicas: int) -> None:
        while self.running[service].sum() < replicas:
            rack = self._any(self.eligible[service])
            self.running[service, rack] += 1

    def _any(self, racks: Bools) -> int:
        candidates: list[int] = np.flatnonzero(racks).tolist()
        return candidates[int(len(candidates) * self.rng.random())]


def _rebound(grants: list[int], running: int) -> int:
    """Returns how many replicas may yet drain while their successors start.

    That happens where an autoscaler may act on a lower grant first and on a higher, later one next.
    """
    highest, most = running, 0
    for place, grant in enumerate(grants[:-1]):
        highest = max(highest, grant)
        most = max(most, min(max(grants[place + 1 :]), highest) - grant)
    return most
