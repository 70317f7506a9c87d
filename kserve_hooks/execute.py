"""Sends planned actions to the cluster: one service's in order, several services' at once, and only as the leader.

A view is late by a moment, so a write that succeeded is not sent again until the view shows another version of the
object, or long enough has passed. What the API server or a webhook refuses is left alone for a while, and so is a
service whose writes get no answer. People are told of what was done, also where a later write of the same plan failed,
or where an answer got lost and only the view shows what became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from kserve_hooks.actions import (
    Action,
    Announce,
    ApplyScaledObject,
    DeleteScaledObject,
    Hold,
    Publish,
    ServicePlan,
    SetBrake,
    SetFields,
    Write,
    brake_key,
    describe,
)
from kserve_hooks.disruptions import Claim
from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.migrate_actions import (
    CreateMigration,
    DeleteMigration,
    HoldMigration,
    WriteMigration,
    ended_by,
    send_migration_write,
    subject_of_migration_write,
)
from kserve_hooks.outcomes import Outcome, Unanswered
from kserve_hooks.patience import Patience
from kserve_hooks.pod_actions import Evict, PodWrite, SetDeletionCost, pod_of, send_pod_write
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    UnreachableError,
)
from wattkeeper.cluster.interface import Cluster, EventRecord

LOG = logging.getLogger(__name__)
LATE_SECONDS: Final = 10.0
"""A view that shows nothing new after this has nothing new to show."""
REFUSED_SECONDS: Final = 60.0


class Witness(Protocol):
    """Is told of changes of users' objects."""

    def sends(self, action: SetFields | SetBrake | PodWrite) -> None:
        """Notes a change that is about to be sent."""
        ...

    def wrote(self, action: SetFields | SetBrake | SetDeletionCost) -> None:
        """Notes a change that succeeded."""
        ...

    def disrupted(self, claim: Claim) -> None:
        """Notes that a pod was made to go."""
        ...

    def spared(self, claim: Claim, error: ProtectedError | UnreachableError) -> None:
        """Notes that the API server did not evict a pod, for all that is known, and what it said."""
        ...


class Executor:
    """Executes plans for one term of leadership."""

    def __init__(
        self,
        cluster: Cluster,
        metrics: ActuatorMetrics,
        may_write: Callable[[], bool],
        witness: Witness,
        *,
        concurrency: int,
    ) -> None:
        """Takes what writing needs.

        Args:
            cluster: where to.
            metrics: writes are counted there.
            may_write: says, before each write, whether this replica still leads.
            witness: is told of each change of a user's object.
            concurrency: services at the same time.
        """
        self._cluster = cluster
        self._metrics = metrics
        self._may_write = may_write
        self._witness = witness
        self._concurrency = concurrency
        self._sent: dict[tuple[str, str], tuple[str, float]] = {}
        self._refused: dict[str, tuple[str, float]] = {}
        self._unwritable: dict[str, float] = {}
        self._late: dict[str, str] = {}
        self._gone: set[str] = set()
        self._patience = Patience()
        self._unanswered = Unanswered(cluster.view)

    def gone(self) -> frozenset[str]:
        """Returns the keys of plans whose recommendation the API server does not have, whatever the view shows.

        Also one that is listed still, in a namespace that is gone: nothing can be written there any more.
        """
        return frozenset(self._gone)

    def refused(self, now: float) -> Mapping[str, str]:
        """Returns what was said to writes that were refused lately, by the key of their plan, or the brake's own."""
        self._refused = {key: one for key, one in self._refused.items() if now < one[1]}
        return {key: message for key, (message, _) in self._refused.items()}

    async def execute(self, plans: Iterable[ServicePlan], now: float) -> None:
        """Executes plans. A failure ends its service's own, and is planned again in a later pass."""
        self._sent = {key: one for key, one in self._sent.items() if now - one[1] < LATE_SECONDS}
        self._patience.forget(now)
        for outcome in self._unanswered.made(now):
            self._sent[outcome.subject] = (outcome.version, now)
            self._patience.answered(outcome.key)
            await self._tell(outcome.events)
        self._unwritable = {key: until for key, until in self._unwritable.items() if now < until}
        waiting = iter([plan for plan in plans if plan.actions and plan.key not in self._unwritable])

        async def work() -> None:
            for plan in waiting:
                await self._service(plan, now)

        await asyncio.gather(*(work() for _ in range(self._concurrency)))

    async def _service(self, plan: ServicePlan, now: float) -> None:
        if self._patience.waits(plan.key, now) or self._shown_late(plan):
            return
        done = await self._write(plan, now)
        for one in plan.actions:
            if isinstance(one, Announce) and (one.after is None or any(one.after is each for each in done)):
                await self._tell((one.event,))

    def _shown_late(self, plan: ServicePlan) -> bool:
        """Says whether the view shows what an API server has said is over: nothing is done by that any more."""
        known = self._late.get(plan.key)
        if known is None:
            return False
        shown = self._cluster.view.all(PowerRecommendation).get(plan.key)
        if shown is not None and shown.metadata.resource_version == known:
            return True
        del self._late[plan.key]
        return False

    async def _write(self, plan: ServicePlan, now: float) -> list[Action]:
        """Does a plan's actions up to the first that cannot be done, and returns those that are done."""
        done: list[Action] = []
        for action in plan.actions:
            if isinstance(action, Announce):
                continue
            kind = type(action).__name__
            what, version = _subject(action)
            if self._sent.get((kind, what), ("", 0.0))[0] == version != "":
                return done  # The view does not show yet what was written, and the rest follows from it.
            if not self._may_write():
                self._metrics.writes.labels(kind, "not-leading").inc()
                return done
            try:
                await self._send(action)
            except ClusterError as error:
                self._failed(plan, action, error, now)
                return done
            self._metrics.writes.labels(kind, "written").inc()
            self._sent[kind, what] = (version, now)
            self._unanswered.answered((kind, what))
            self._patience.answered(plan.key)
            done.append(action)
            LOG.info("%s", describe(action))
        return done

    async def _tell(self, events: Iterable[EventRecord]) -> None:
        for event in events:
            try:
                await self._cluster.record(event)
            except ClusterError as error:
                self._metrics.writes.labels(Announce.__name__, "failed").inc()
                LOG.warning("cannot record %s: %s", event.reason, error)
            else:
                self._metrics.writes.labels(Announce.__name__, "written").inc()

    def _failed(self, plan: ServicePlan, action: Write, error: ClusterError, now: float) -> None:
        kind = type(action).__name__
        if isinstance(error, ConflictError | NotFoundError):
            # Somebody was quicker; the next pass sees what there is.
            self._metrics.writes.labels(kind, "outdated").inc()
            if isinstance(error, NotFoundError) and isinstance(action, Hold | Publish | HoldMigration | WriteMigration):
                self._gone.add(plan.key)
            elif isinstance(action, Hold | Publish):
                self._late[plan.key] = action.regarding.metadata.resource_version
            LOG.info("cannot %s, because it has changed: %s", describe(action), error)
            return
        self._metrics.writes.labels(kind, "failed").inc()
        LOG.warning("cannot %s: %s", describe(action), error)
        if isinstance(action, Evict) and isinstance(error, ProtectedError | UnreachableError):
            self._witness.spared(action.claim, error)
        if isinstance(action, WriteMigration) and action.claim is not None and isinstance(error, UnreachableError):
            self._witness.disrupted(action.claim)  # It may have been heard, and then the pod goes.
        if isinstance(error, ProtectedError):
            return  # It is about this very pod, for now.
        if isinstance(error, UnreachableError):
            self._patience.failed(plan.key, error, now)
            what, version = _subject(action)
            events = (one.event for one in plan.actions if isinstance(one, Announce) and one.after is action)
            outcome = Outcome(key=plan.key, subject=(kind, what), version=version, events=tuple(events))
            self._unanswered.add(action, outcome, now)
        elif isinstance(error, RefusedError | ForbiddenError) and isinstance(action, Hold | Publish):
            self._unwritable[plan.key] = now + REFUSED_SECONDS
        elif isinstance(error, RefusedError | ForbiddenError):
            key = brake_key(plan.key) if isinstance(action, SetBrake) else plan.key
            self._refused[key] = (str(error), now + REFUSED_SECONDS)

    async def _send(self, action: Write) -> None:
        match action:
            case Hold(regarding=one, held=held):
                await self._cluster.hold_recommendation(one, held=held)
            case Publish(regarding=one, actuation=actuation, conditions=conditions):
                await self._cluster.write_actuation(one, actuation=actuation, conditions=conditions)
            case SetFields(service=service, fields=fields):
                self._witness.sends(action)
                await self._cluster.set_replica_fields(service, dict(fields))
                self._witness.wrote(action)
            case ApplyScaledObject(wanted=wanted):
                await self._cluster.apply_scaled_object(wanted)
            case DeleteScaledObject(gone=gone):
                await self._cluster.delete_scaled_object(gone)
            case SetBrake(target=target, fields=fields, if_ours=if_ours):
                self._witness.sends(action)
                await self._cluster.set_brake(target, dict(fields), if_ours=if_ours)
                self._witness.wrote(action)
            case CreateMigration() | HoldMigration() | WriteMigration() | DeleteMigration():
                await send_migration_write(self._cluster, action)
                ended = ended_by(action)
                if ended is not None:
                    self._metrics.migrations_ended.labels(*ended).inc()
            case SetDeletionCost() | Evict():
                self._witness.sends(action)
                await send_pod_write(self._cluster, action)
                if isinstance(action, SetDeletionCost):
                    self._witness.wrote(action)
        if isinstance(action, WriteMigration | Evict) and action.claim is not None:
            self._witness.disrupted(action.claim)


def _subject(action: Write) -> tuple[str, str]:
    """Returns what an action writes, and the version that it was planned from."""
    match action:
        case Hold(regarding=one) | Publish(regarding=one):
            return one.metadata.uid, one.metadata.resource_version
        case SetFields(service=service):
            return service.metadata.uid, service.metadata.resource_version
        case ApplyScaledObject(wanted=wanted, before=before):
            version = "absent" if before is None else before.metadata.resource_version
            return f"{wanted.metadata.namespace}/{wanted.metadata.name}", version
        case SetBrake(target=target):
            return target.metadata.uid, target.metadata.resource_version
        case DeleteScaledObject(gone=gone):
            return gone.metadata.uid, gone.metadata.resource_version
        case CreateMigration() | HoldMigration() | WriteMigration() | DeleteMigration():
            return subject_of_migration_write(action)
        case SetDeletionCost() | Evict():
            meta = pod_of(action).metadata
            return meta.uid, meta.resource_version
