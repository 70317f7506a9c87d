"""What happened in a run, told to every check as it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from tests.faults.scene import BY_NAME, NAMESPACE, wishes
from wattkeeper.api.power_migration import FINISHED, PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import Readings
from wattkeeper.cluster.interface import EventRecord, View
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import Deployment, HorizontalPodAutoscaler, LeaderWorkerSet, Pod, ScaledObject
from wattkeeper.recommender.pods import service_of
from wattkeeper.recommender.result import StepResult
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.twin import Twin
from wattkeeper.simulation.workloads import Workload, find_workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call that reached the API server.

    Attributes:
        seen: the picture that the process has of the cluster.
    """

    at: float
    process: str
    seen: View
    verb: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def service(self) -> str:
        """The workload that it is about, "" for none."""
        return "" if not self.args else about(self.args[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One decision of a scaler process."""

    process: str
    readings: Readings
    result: StepResult

    def row(self, service: str) -> int:
        """Returns a service's row, -1 where it is not among those that were decided about."""
        names = [key.name for key in self.result.services.keys]
        return names.index(service) if service in names else -1

    def domain(self, budget: str) -> int:
        """Returns a budget's row, -1 where it is not there."""
        names = list(self.result.plan.domains)
        return names.index(budget) if budget in names else -1

    def grant(self, service: str) -> int | None:
        """Returns what a service was granted, the replica more included that a migration may have."""
        row = self.row(service)
        return None if row < 0 else int(self.result.plan.grants[row] + self.result.migrations.surge[row])


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """An invariant that did not hold.

    Attributes:
        at: seconds since the run began.
    """

    at: float
    invariant: str
    why: str


class Check:
    """One invariant. It is told what happens, and notes what must not."""

    text = ""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def fail(self, why: str) -> None:
        """Notes a breach."""
        self.witness.breach(self, why)

    def decided(self, decision: Decision) -> None:
        """A scaler process has decided; nothing of it is published yet."""

    def trying(self, call: Call) -> None:
        """A process sends a change, whatever becomes of it."""

    def calling(self, call: Call) -> None:
        """A change arrives."""

    def called(self, call: Call) -> None:
        """It has."""

    def refused(self, call: Call) -> None:
        """The cluster itself has refused a change."""

    def scaled(self, old: Workload, new: Workload, by: str) -> None:
        """Replicas of a workload were changed by "user", or by "autoscaler"."""

    def pod(self, old: Pod | None, new: Pod | None) -> None:
        """A pod has changed."""

    def recommendation(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        """A recommendation has changed."""

    def second(self, now: float) -> None:
        """A second has passed."""

    def ended(self) -> None:
        """The run is over, and nothing was broken for a while."""


@dataclass(kw_only=True, slots=True)
class Witness:
    """Tells checks, and keeps what several of them need.

    Attributes:
        broken: returns what is broken now.
        decisions: of all scaler processes, oldest first.
        published: by service, (Unix seconds, replicas) of every target that was published, oldest first.
        user: a user is acting.
        wished: by service that KServe scales, what its user wants bounds to be, by the path of each.
        began, leads_since: by process, when it was started, and got its Lease.
        disturbed: by name, when something last happened, or was last the case, that invariants make an exception for.
        counts: what happened, for the table.
    """

    clock: SteppedClock
    cluster: TwinCluster
    twin: Twin
    broken: Callable[[], set[str]] = set
    checks: list[Check] = field(default_factory=list[Check])
    breaches: list[Breach] = field(default_factory=list[Breach])
    decisions: list[Decision] = field(default_factory=list[Decision])
    published: dict[str, list[tuple[float, int]]] = field(default_factory=dict[str, list[tuple[float, int]]])
    user: bool = False
    wished: dict[str, dict[str, int]] = field(default_factory=wishes)
    began: dict[str, float] = field(default_factory=dict[str, float])
    leads_since: dict[str, float] = field(default_factory=dict[str, float])
    _leaders: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    disturbed: dict[str, float] = field(default_factory=dict[str, float])
    counts: Counter[str] = field(default_factory=Counter[str])
    began_at: float = 0.0

    def follow(self) -> None:
        """Subscribes to the cluster as it is, which no fault hides."""
        self.began_at = self.clock.now()
        view = self.cluster.view
        view.subscribe(Deployment, self._workload)
        view.subscribe(LeaderWorkerSet, self._workload)
        view.subscribe(Pod, self._pod)
        view.subscribe(PowerRecommendation, self._recommendation)

    def breach(self, check: Check, why: str) -> None:
        """Notes a breach; the same words once."""
        if not any(one.invariant == check.text and one.why == why for one in self.breaches):
            self.breaches.append(Breach(at=self.clock.now() - self.began_at, invariant=check.text, why=why))

    def disturb(self, what: str) -> None:
        """Notes that something happens now."""
        self.disturbed[what] = self.clock.now()

    def since(self, *what: str) -> float:
        """Returns seconds since the last of these happened; inf for never."""
        return self.clock.now() - max((self.disturbed.get(one, float("-inf")) for one in what), default=float("-inf"))

    def told(self, service: str, within_seconds: float) -> list[int]:
        """Returns the targets of a service that were in force at some time of the last seconds, oldest first."""
        since, told = self.clock.now() - within_seconds, self.published.get(service, [])
        targets = zip_longest(told, told[1:])
        return [target for (_, target), later in targets if later is None or later[0] >= since]

    def undecided_seconds(self) -> float:
        """Returns for how long nobody has decided anything but to hold."""
        warm = next((one.result.now for one in reversed(self.decisions) if one.result.warm), float("-inf"))
        return self.clock.now() - warm

    def decided(self, decision: Decision) -> None:
        """A process has decided."""
        self.counts["decisions"] += 1
        for check in self.checks:
            check.decided(decision)
        self.decisions.append(decision)

    def trying(self, call: Call) -> None:
        """A process sends a change."""
        for check in self.checks:
            check.trying(call)

    def calling(self, call: Call) -> None:
        """It arrives."""
        for check in self.checks:
            check.calling(call)

    def called(self, call: Call, answer: object) -> None:
        """It has."""
        self.counts[call.verb] += 1
        if call.verb == "write_migration" and call.args[1].phase in FINISHED:
            self.counts[f"migrations {call.args[1].phase}"] += 1
        if call.verb == "hold_lease" and answer is True:
            self._leads(call.process, call.kwargs["name"])
        for check in self.checks:
            check.called(call)

    def _leads(self, process: str, lease: str) -> None:
        """Notes who has a Lease, and since when. Who is started anew begins anew, although it has the Lease still."""
        holder, since = self._leaders.get(lease, ("", 0.0))
        if holder != process or since < self.began[process]:
            self._leaders[lease] = process, self.clock.now()
            self.leads_since[process] = self.clock.now()
            self.counts["new leaders"] += 1

    def call_failed(self, call: Call) -> None:
        """The cluster itself refused."""
        self.counts[f"{call.verb} refused"] += 1
        for check in self.checks:
            check.refused(call)

    def second(self, now: float) -> None:
        """A second has passed."""
        self.counts["steps"] += 1
        for one in self.broken():
            self.disturb(one)
        for check in self.checks:
            check.second(now)

    def ended(self) -> None:
        """The run is over."""
        for check in self.checks:
            check.ended()

    def _workload(self, old: Workload | None, new: Workload | None) -> None:
        if old is None or new is None or old.spec.replicas == new.spec.replicas:
            return
        by = "user" if self.user else "autoscaler"
        self.counts[f"scaled by {by}"] += 1
        for check in self.checks:
            check.scaled(old, new, by)

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        for check in self.checks:
            check.pod(old, new)

    def _recommendation(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        if new is None and old is not None:
            self.published.pop(old.spec.scale_target_ref.name, None)
        if new is not None and new.status.mode:
            told = self.published.setdefault(new.spec.scale_target_ref.name, [])
            if not told or told[-1][1] != new.status.target.replicas:
                told.append((self.clock.now(), new.status.target.replicas))
        for check in self.checks:
            check.recommendation(old, new)


def about(one: object) -> str:
    """Returns the workload that an object is about, "" for none."""
    if isinstance(one, EventRecord):
        return about(one.regarding)
    if isinstance(one, Pod):
        key = service_of(one)
        return "" if key is None else key.name
    if isinstance(one, InferenceService):
        return f"{one.metadata.name}-predictor"
    if isinstance(one, PowerRecommendation | PowerMigration | ScaledObject | HorizontalPodAutoscaler):
        return one.spec.scale_target_ref.name
    if isinstance(one, Deployment | LeaderWorkerSet):
        return one.metadata.name
    return ""


def replicas_of(cluster: TwinCluster, service: str) -> int:
    """Returns what a workload's spec asks for."""
    found = find_workload(cluster.view, BY_NAME[service].kind, NAMESPACE, service)
    return 0 if found is None else found.spec.replicas
