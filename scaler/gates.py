"""Opens power gates: the leader lets pods out as they come, within what the last decision left to be let out.

- A pod of a gated service costs one opening, the leader of a LeaderWorkerSet's group one for the whole group. Its
  workers follow it at none.
- An opening is spent before the patch is sent. It comes back only where the pod stands at the gate for sure; a patch
  whose outcome nobody knows stays spent, and is sent again with the next decision.
- Of one service, pods of its newest template go first (gate_order.py), then the oldest.
- Pods of services that the decision does not keep at the gate are let out, because nobody else would: of known ones at
  once, of unknown ones when caches have had time to know them.
- Nothing is opened without the Lease, without a decision, or by an old one.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from scaler.gate_openings import Openings
from scaler.gate_order import GateOrder
from scaler.gate_queue import GateQueue, Waiting, alive, at_gate, followed_by, led_by
from scaler.metrics import ScalerMetrics
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, RefusedError
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.objects import Node, NodeSelectorTerm, Pod, PodSpec
from wattkeeper.recommender.affinity import requiring
from wattkeeper.recommender.errors import UnavoidableError
from wattkeeper.recommender.pods import service_of
from wattkeeper.recommender.result import StepResult

LOG = logging.getLogger(__name__)

UNKNOWN_SECONDS: Final = 15.0
"""A pod may be seen before its Deployment and its policy are: a watch may be lost for 10 s and still count as alive."""

MOST_NAMED: Final = 10
_NOT_APPLIED = (ConflictError, RefusedError, ForbiddenError)


class Why(StrEnum):
    """Why a gate was opened."""

    GRANTED = "granted"
    FOLLOWED = "followed"
    LET_OUT = "let-out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """Who goes on waiting for one service after a decision.

    Attributes:
        pods: the oldest, at most MOST_NAMED.
        count: how many there are.
    """

    pods: tuple[Pod, ...]
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Allotment:
    """A pod that goes as soon as a patch may be sent.

    Attributes:
        costs: it takes an opening, which nobody else may have meanwhile.
    """

    waiting: Waiting
    why: Why
    costs: bool


@dataclass(kw_only=True, slots=True)
class _Claim:
    """A pod whose gate we open, or have opened, until the view shows it open.

    Attributes:
        uncertain: the patch was sent, and nobody knows what became of it.
    """

    waiting: Waiting
    why: Why
    terms: tuple[NodeSelectorTerm, ...] | None
    uncertain: bool = False

    @property
    def spec(self) -> PodSpec:
        """How the pod looks once its gate is open."""
        spec = replace(self.waiting.pod.spec, scheduling_gates=())
        return spec if self.terms is None else requiring(spec, self.terms)


class GateKeeper:
    """Opens gates. Create it, and let the view change, inside the loop that runs the service."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        metrics: ScalerMetrics,
        may_open: Callable[[], bool],
        *,
        concurrency: int,
        stale_seconds: float,
    ) -> None:
        """Follows the view.

        Args:
            cluster: where pods are.
            clock: the only source of time.
            metrics: what is counted.
            may_open: says, before each patch, whether this replica still leads.
            concurrency: patches at the same time.
            stale_seconds: a decision older than this opens nothing.
        """
        self._cluster = cluster
        self._clock = clock
        self._metrics = metrics
        self._may_open = may_open
        self._concurrency = concurrency
        self._stale_seconds = stale_seconds
        self._queue = GateQueue()
        self._order = GateOrder(cluster.view)
        self._openings = Openings()
        self._marked: int | None = None
        self._claims: dict[str, _Claim] = {}
        self._ready: list[tuple[float, tuple[str, str, str], _Allotment]] = []
        self._allotted: set[str] = set()
        self._allotments: Counter[ServiceKey] = Counter()
        self._held: set[str] = set()
        self._in_flight: set[asyncio.Task[None]] = set()
        metrics.gate_waiting.set_function(lambda: len(self._queue))
        cluster.view.subscribe(Pod, self._changed)

    def mark(self) -> Mapping[str, PodSpec]:
        """Notes that readings are collected now. Call it right before, without giving way in between.

        Returns:
            By UID the pods whose gate is open, or may be, whatever the view shows, and how they look since.
        """
        self._openings.mark(self._claims, self._cluster.view.all(PowerBudget).values())
        self._marked = self._queue.number
        return {uid: claim.spec for uid, claim in self._claims.items()}

    def take(self, result: StepResult) -> None:
        """Puts the decision in force that was made of the marked readings, and opens what it lets out."""
        self._drop_allotments()
        self._held.clear()
        # Without a mark nobody knows what was opened since the readings: the Lease was lost in the meantime.
        if not result.warm or self._marked is None:
            self._openings.forget()
            return
        self._openings.take(result)
        for uid, claim in self._claims.items():
            waiting = self._queue.get(uid)
            if claim.uncertain and waiting is not None:
                # It was counted as out, by the decision or since: sending it again costs nothing.
                self._allot(waiting, claim.why, costs=False)
        for service, waiting in self._queue.by_service().items():
            if service is None or not self._openings.gated(service):
                self._let_out(service, waiting)
                continue
            self._refill(service)
            for one in waiting:
                if one.follows is not None:
                    self._consider(one)
        self._pump()

    def forget(self) -> None:
        """Opens nothing more until the next decision: this replica leads no longer."""
        self._drop_allotments()
        self._openings.forget()
        self._marked = None

    def queues(self) -> Mapping[ServiceKey, Queue]:
        """Returns who was there for the decision in force, and is not let out by it."""
        found: dict[ServiceKey, Queue] = {}
        for service, waiting in self._queue.by_service().items():
            if service is None or not self._openings.gated(service):
                continue
            staying = [one for one in waiting if one.follows is None and self._seen(one) and not self._going(one)]
            if staying:
                first = heapq.nsmallest(MOST_NAMED, staying, key=lambda one: one.age)
                found[service] = Queue(pods=tuple(one.pod for one in first), count=len(staying))
        return found

    async def stop(self) -> None:
        """Ends what is in flight."""
        self.forget()
        tasks = tuple(self._in_flight)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        uid = pod.metadata.uid
        waiting = self._queue.change(old, new, self._clock.now())
        self._held.discard(uid)
        if waiting is not None:
            if waiting.service is not None and waiting.follows is None:
                self._order.look(waiting.service, self._queue.of(waiting.service))
            self._consider(waiting)
        else:
            self._claims.pop(uid, None)
            if new is not None and alive(new) and (old is None or at_gate(old)):
                self._came_out(new)
        self._pump()

    def _came_out(self, pod: Pod) -> None:
        if self._marked is None:
            return
        group = led_by(pod)
        if group is not None:
            for worker in self._queue.behind(group):
                self._consider(worker)
        service = service_of(pod)
        if service is not None and followed_by(pod) is None:
            self._openings.seen_out(pod.metadata.uid, service)

    def _consider(self, one: Waiting) -> None:
        """Lets one pod of a gated service out, if it may go."""
        service = one.service
        if service is None or not self._openings.gated(service) or not self._free(one):
            return
        if one.follows is not None:
            if self._queue.leader_is_out(one.follows):
                self._allot(one, Why.FOLLOWED, costs=False)
        else:
            self._refill(service)

    def _refill(self, service: ServiceKey) -> None:
        """Allots the openings of a service that nobody has yet, in its pods' order."""
        spare = self._spare(service)
        if spare > 0:
            free = (one for one in self._queue.of(service) if one.follows is None and self._free(one))
            for one in heapq.nsmallest(spare, free, key=self._order.rank):
                self._allot(one, Why.GRANTED, costs=True)

    def _let_out(self, service: ServiceKey | None, waiting: Iterable[Waiting]) -> None:
        """Lets out what nothing keeps at the gate any more.

        Only pods that the decision was made in sight of: what gated a younger one may be younger than the readings.
        """
        latest = math.inf if self._openings.knows(service) else self._clock.now() - UNKNOWN_SECONDS
        for one in waiting:
            if self._seen(one) and one.seen_at <= latest and self._free(one):
                self._allot(one, Why.LET_OUT, costs=False)

    def _seen(self, one: Waiting) -> bool:
        return self._marked is not None and one.number <= self._marked

    def _going(self, one: Waiting) -> bool:
        uid = one.pod.metadata.uid
        return uid in self._claims or uid in self._allotted

    def _free(self, one: Waiting) -> bool:
        return not self._going(one) and one.pod.metadata.uid not in self._held

    def _spare(self, service: ServiceKey) -> int:
        return self._openings.left(service) - self._allotments[service]

    def _allot(self, one: Waiting, why: Why, *, costs: bool) -> None:
        service = one.service
        self._allotted.add(one.pod.metadata.uid)
        if costs and service is not None:
            self._allotments[service] += 1
        rank = math.inf if service is None or why is Why.LET_OUT else -float(self._openings.priority(service))
        heapq.heappush(self._ready, (rank, one.age, _Allotment(waiting=one, why=why, costs=costs)))

    def _drop_allotments(self) -> None:
        self._ready.clear()
        self._allotted.clear()
        self._allotments.clear()

    def _pump(self) -> None:
        """Sends as many patches as may be in flight, the highest priority first, then the oldest."""
        while self._ready and len(self._in_flight) < self._concurrency:
            result = self._openings.result
            if result is None or self._clock.now() - result.now > self._stale_seconds:
                self._drop_allotments()
            elif not self._may_open():
                self.forget()
            else:
                _, _, allotment = heapq.heappop(self._ready)
                self._send(allotment)

    def _send(self, allotment: _Allotment) -> None:
        uid, service = allotment.waiting.pod.metadata.uid, allotment.waiting.service
        self._allotted.discard(uid)
        if allotment.costs and service is not None:
            self._allotments[service] -= 1
            if self._openings.left(service) <= 0:
                return  # Another pod came out meanwhile without asking.
        waiting = self._queue.get(uid)
        if waiting is None:
            return
        claim = self._claims.get(uid)
        if claim is None:
            claim = self._claim(waiting, allotment.why)
            if claim is None:
                return
            self._claims[uid] = claim
            if service is not None and waiting.follows is None:
                self._openings.spend(uid, service)
        claim.uncertain = False
        task = asyncio.create_task(self._open(claim), name=f"open {uid}")
        self._in_flight.add(task)
        task.add_done_callback(self._landed)

    def _claim(self, waiting: Waiting, why: Why) -> _Claim | None:
        terms = None
        if waiting.service is not None and why is not Why.LET_OUT:
            try:
                nodes = self._cluster.view.all(Node)
                terms = self._openings.terms(waiting.service, waiting.pod.spec, nodes)
            except UnavoidableError as error:
                self._hold(waiting, "unsteerable", error)
                return None
        return _Claim(waiting=waiting, why=why, terms=terms)

    async def _open(self, claim: _Claim) -> None:
        waiting = claim.waiting
        try:
            await self._cluster.open_gate(waiting.pod, terms=claim.terms)
        except NotFoundError:
            # The view is about to say so. What it cost stays spent: nobody knows what the pod did before it went.
            self._metrics.gate_failures.labels("gone").inc()
        except _NOT_APPLIED as error:
            uid = waiting.pod.metadata.uid
            self._claims.pop(uid, None)
            self._openings.give_back(uid)
            self._hold(waiting, "refused", error)
        except Exception as error:
            claim.uncertain = True
            self._metrics.gate_failures.labels("unknown").inc()
            if not isinstance(error, ClusterError):
                raise
            LOG.warning("the gate of %s may be closed still: %s", _named(waiting), error)
        else:
            self._metrics.gates_opened.labels(claim.why).inc()
            self._metrics.gate_seconds.labels(claim.why).observe(max(self._clock.now() - waiting.seen_at, 0.0))

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            LOG.error("opening a gate failed in a way that nobody foresaw", exc_info=error)
        self._pump()

    def _hold(self, waiting: Waiting, reason: str, error: Exception) -> None:
        """Leaves a pod alone until it changes, or the next decision; its opening goes to the next one."""
        self._metrics.gate_failures.labels(reason).inc()
        LOG.warning("the gate of %s stays closed: %s", _named(waiting), error)
        if self._queue.get(waiting.pod.metadata.uid) is not None:
            self._held.add(waiting.pod.metadata.uid)
        if waiting.service is not None and self._openings.gated(waiting.service):
            self._refill(waiting.service)


def _named(waiting: Waiting) -> str:
    return f"pod {waiting.pod.metadata.namespace}/{waiting.pod.metadata.name}"
