"""Scenes to name pods in: racks of one node under a hall, pods with known watts, a plan that says what a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.unit.power.rows import NOW, budget_rows, floats, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.api.readings import Floats, Mode, PodKey, PodPhase, Readings, Rung
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.scene import Scene

TICK = 5.0


@dataclass(kw_only=True)
class APod:
    """A pod of a service on a rack (-1: on no node)."""

    name: str
    service: int = 0
    rack: int = 0
    watts: float = 100.0
    phase: PodPhase = PodPhase.RUNNING
    created: float = 0.0
    slipped: bool = False
    tokens: float = float("nan")
    age_seconds: float = 5.0
    group: int = -1
    since: float = NOW


@dataclass(kw_only=True)
class AService:
    """A service; `racks` is where it may land, None for everywhere."""

    grant: int = 100
    priority: int = 0
    tolerance: float = 0.0
    least: float = float("nan")
    idle: float = 0.0
    size: int = 1
    racks: tuple[int, ...] | None = None
    gated: bool = True
    rolls: bool = False
    mode: Mode = Mode.SCALE
    unit_watts: float = 100.0
    binding: int = -1


@dataclass(kw_only=True)
class Hall:
    """Domain 0 is the hall, domain 1 + r is rack r.

    Attributes:
        limit: watts of the hall and of each rack.
        over: watts by which domains are over their limits, by row.
        base: watts that the planned sum of each rack has besides its pods.
        stale: racks whose readings are old.
    """

    services: list[AService] = field(default_factory=lambda: [AService()])
    pods: list[APod] = field(default_factory=list[APod])
    limit: list[float] = field(default_factory=lambda: [10_000.0, 1_000.0, 1_000.0])
    over: dict[int, float] = field(default_factory=dict[int, float])
    base: list[float] = field(default_factory=lambda: [0.0, 0.0])
    stale: set[int] = field(default_factory=set[int])
    now: float = NOW

    def add(self, *pods: APod) -> None:
        self.pods.extend(pods)

    def gone(self, *names: str) -> None:
        self.pods = [pod for pod in self.pods if pod.name not in names]

    def scene(self) -> Scene:
        seen, upper = self.readings(), floats([pod.watts for pod in self.pods], len(self.pods))
        living = [pod for pod in self.pods if pod.rack >= 0 and pod.phase != PodPhase.TERMINATING]
        active = [
            len({(p.group, p.name if p.group < 0 else "") for p in living if p.service == number})
            for number in self.rows
        ]
        rung = ints([0] + [int(Rung.FROZEN if rack in self.stale else Rung.FRESH) for rack in self.racks], self.width)
        unit = np.array(
            [np.append(one.unit_watts, one.unit_watts * self._may(one)) for one in self.services], dtype=np.float64
        )
        touches = np.array([[number == pod.service for pod in self.pods] for number in self.rows], dtype=np.bool_)
        stale_pods = np.array([pod.rack in self.stale for pod in self.pods], dtype=np.bool_)
        return Scene(
            readings=seen,
            charges=self._charges(upper),
            plan=self._plan(),
            rung=rung,
            stale=np.asarray((touches & stale_pods).any(axis=1)),
            active=ints(active, len(self.services)),
            unit_watts=unit,
            now=self.now,
        )

    def drawn(self) -> Floats:
        """Returns the planned sums: float64[1 + racks]."""
        racks = np.array(self.base, dtype=np.float64)
        for pod in self.pods:
            if pod.rack >= 0:
                racks[pod.rack] += pod.watts
        return np.append(racks.sum(), racks)

    @property
    def racks(self) -> range:
        return range(len(self.limit) - 1)

    @property
    def rows(self) -> range:
        return range(len(self.services))

    @property
    def width(self) -> int:
        return len(self.limit)

    def _may(self, one: AService) -> np.ndarray:
        return np.isin(np.arange(len(self.racks)), list(self.racks if one.racks is None else one.racks))

    def readings(self) -> Readings:
        count, of, racks = len(self.pods), self.services, len(self.racks)
        places = np.stack([np.zeros(racks), 1 + np.arange(racks)], axis=1).astype(np.int64)
        may = np.array([self._may(one) for one in of], dtype=np.bool_)
        pods = pod_rows(
            count,
            keys=tuple(PodKey("serving", pod.name) for pod in self.pods),
            uids=tuple(f"uid-{pod.name}" for pod in self.pods),
            node=ints([pod.rack for pod in self.pods], count),
            service=ints([pod.service for pod in self.pods], count),
            phase=ints([int(pod.phase) for pod in self.pods], count),
            group=ints([pod.group for pod in self.pods], count),
            since=floats([pod.since for pod in self.pods], count),
            created=floats([pod.created for pod in self.pods], count),
            slipped=np.array([pod.slipped for pod in self.pods], dtype=np.bool_),
            tokens_per_second=floats([pod.tokens for pod in self.pods], count),
            age_seconds=floats([pod.age_seconds for pod in self.pods], count),
        )
        services = service_rows(
            len(of),
            mode=ints([int(one.mode) for one in of], len(of)),
            gated=np.array([one.gated for one in of], dtype=np.bool_),
            rolls=np.array([one.rolls for one in of], dtype=np.bool_),
            priority=ints([one.priority for one in of], len(of)),
            pods_per_replica=ints([one.size for one in of], len(of)),
            violation_tolerance=floats([one.tolerance for one in of], len(of)),
            least_tokens_per_joule=floats([one.least for one in of], len(of)),
            idle_tokens_per_second=floats([one.idle for one in of], len(of)),
            eligible_domains=np.concatenate([may.any(axis=1, keepdims=True), may], axis=1),
            eligible_places=may,
        )
        return readings(
            node_rows(racks, domains=places, places=places),
            pods,
            services,
            budget_rows(self.width, limit_watts=floats(self.limit, self.width)),
        )

    def _charges(self, upper: Floats) -> Charges:
        nodes = len(self.racks)

        def three(watts: Floats) -> Floats:
            return np.broadcast_to(watts, (3, *watts.shape)).copy()

        return Charges(
            node_upper_watts=np.zeros((3, nodes)),
            node_expected_watts=np.zeros((3, nodes)),
            unmanaged_upper_watts=np.zeros((3, nodes)),
            unmanaged_expected_watts=np.zeros((3, nodes)),
            pending_unmanaged_watts=np.zeros(3),
            replica_upper_watts=np.zeros((3, len(self.services), 1)),
            replica_expected_watts=np.zeros((3, len(self.services), 1)),
            pod_upper_watts=three(upper),
            pod_expected_watts=three(upper),
            residual_watts=np.zeros(self.width),
            meter_watts=np.full(self.width, np.nan),
            node_rung=ints([int(Rung.FROZEN if rack in self.stale else Rung.FRESH) for rack in self.racks], nodes),
        )

    def _plan(self) -> GuardedPlan:
        services, width = len(self.services), self.width
        drawn = self.drawn()
        return GuardedPlan(
            services=("",) * services,
            domains=("",) * width,
            grants=ints([one.grant for one in self.services], services),
            reasons=ints(0, services),
            binding=ints([one.binding for one in self.services], services),
            missing_watts=floats(0.0, services),
            openings=ints(0, services),
            surges=ints(0, services),
            guarded_watts=drawn,
            planned_watts=drawn,
            over_watts=floats([self.over.get(row, 0.0) for row in range(width)], width),
            unachievable=np.zeros(width, dtype=np.bool_),
            corrections=(),
            state=b"",
        )
