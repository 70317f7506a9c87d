"""What is broken right now, around the processes: their API server, KEDA's ways, the algorithm, the webhook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tests.faults.views import ProcessView
from tests.faults.witness import Call, Witness
from wattkeeper.api.plan import Plan
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.cluster.errors import ClusterError, ConflictError, UnreachableError
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster

# Verbs whose ConflictError reaches the caller.
_CONFLICTING: Final = frozenset(
    {"open_gate", "set_replica_fields", "set_brake", "set_deletion_cost", "create_migration", "evict"}
)
API_FAULTS: Final = ("busy", "error", "lost", "conflict")
MOODS: Final = ("greedy", "garbage", "raises")


@dataclass(kw_only=True, slots=True)
class Weather:
    """Attributes are changed by the schedule, and read by what breaks.

    Attributes:
        api: by process name, (kind of fault, share of calls that it befalls).
        keda_cut: KEDA cannot reach the scaler.
        actuator_cut: the actuator cannot.
        webhook_down: new pods are stored as they come.
        mood: what the algorithm does instead of its work.
    """

    random: np.random.Generator
    api: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    keda_cut: bool = False
    actuator_cut: bool = False
    webhook_down: bool = False
    mood: str = ""
    befell: int = 0


class ProcessApi:
    """The cluster as one process reaches it. Verbs are those of wattkeeper.cluster.interface."""

    def __init__(
        self, name: str, cluster: TwinCluster, clock: SteppedClock, weather: Weather, witness: Witness
    ) -> None:
        self.name = name
        self.view = ProcessView(cluster.view, clock)
        self.server_minor = cluster.server_minor
        self._cluster, self._clock, self._weather, self._witness = cluster, clock, weather, witness
        self._cut = False

    def cut(self) -> None:
        """Ends the process' way to the cluster, as when it is killed."""
        self._cut = True
        self.view.end()

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        """Returns a verb of the cluster, with its weather."""
        go = getattr(self._cluster, verb)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(verb, go, args, kwargs)

        return call

    async def _call(self, verb: str, go: Callable[..., Awaitable[Any]], args: Any, kwargs: Any) -> Any:
        if self._cut:
            raise UnreachableError("the process is gone")
        said = Call(at=self._clock.now(), process=self.name, seen=self.view, verb=verb, args=args, kwargs=kwargs)
        self._witness.trying(said)
        kind = self._befalls(verb)
        if kind == "conflict":
            raise ConflictError(f"{verb}: somebody was quicker")
        if kind == "busy":
            raise UnreachableError(f"{verb}: 429", retry_after_seconds=1.0)
        if kind == "error":
            raise UnreachableError(f"{verb}: 500")
        self._witness.calling(said)
        try:
            answer = await go(*args, **kwargs)
        except ClusterError:
            self._witness.call_failed(said)
            raise
        self._witness.called(said, answer)
        if kind == "lost":
            raise UnreachableError(f"{verb}: the answer was lost")
        return answer

    def _befalls(self, verb: str) -> str:
        kind, share = self._weather.api.get(self.name, ("", 0.0))
        if not kind or self._weather.random.random() >= share or (kind == "conflict" and verb not in _CONFLICTING):
            return ""
        self._weather.befell += 1
        return kind


class MoodyAlgorithm:
    """An algorithm that does its work, or what its mood is."""

    def __init__(self, inner: Any, weather: Weather) -> None:
        self._inner, self._weather = inner, weather

    def decide(self, snapshot: Snapshot) -> Plan:
        """Proposes."""
        plan: Plan = self._inner.decide(snapshot)
        random, count = self._weather.random, len(snapshot.services)
        match self._weather.mood:
            case "greedy":
                return Plan(grants=snapshot.ceiling.copy(), state=plan.state)
            case "garbage":
                return Plan(grants=random.integers(-5, 1_000, count).astype(np.int64), state=plan.state)
            case "raises":
                raise ValueError("the algorithm is in no mood")
            case _:
                return plan
