"""Migrations: which are begun, what each does next, and what a service's own plan has to know of them.

Nothing is remembered between passes: whatever matters stands in PowerMigrations, also how long to pause after those
that failed.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from kserve_hooks.actions import Action, Announce, ServicePlan
from kserve_hooks.capped import Capped
from kserve_hooks.disruptions import Disruptions, key_of
from kserve_hooks.marks import LATE_SECONDS
from kserve_hooks.migrate_actions import CreateMigration, DeleteMigration
from kserve_hooks.migrate_begin import Entrance, Refused
from kserve_hooks.migrate_events import begun
from kserve_hooks.migrate_facts import Moving, began, is_over, may_move, service_of_migration
from kserve_hooks.migrate_pauses import PauseOptions, outdated, paused_until
from kserve_hooks.migrate_phases import FIRST_TO_GO, PhaseOptions, advance, begin, fail, roll_back
from kserve_hooks.outage import Outage
from kserve_hooks.pod_actions import SetDeletionCost
from kserve_hooks.scaled_objects import TriggerOptions
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import API_VERSION, ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_migration import PodReference, PowerMigration, PowerMigrationSpec, migration_name
from wattkeeper.api.power_recommendation import MovablePod
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.interface import View
from wattkeeper.recommender.pods import is_stuck

LOG = logging.getLogger(__name__)
_RAISED: Final = ("Surging", "Waiting")
"""Phases in which a service has one pod more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationOptions:
    """How pods are moved.

    Attributes:
        at_once: migrations at the same time, of all services. Each budget and each service has one.
        pauses: how long after one none follows.
        phases: how long is waited for what.
    """

    at_once: int = 4
    pauses: PauseOptions = field(default_factory=PauseOptions)
    phases: PhaseOptions = field(default_factory=PhaseOptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """What migrations want in one pass.

    Attributes:
        plans: one for each migration, and for each that begins.
        replicas: by service, how many pods it shall have at least while one of them moves.
        findings: by a recommendation's UID, why no pod of it is moved although one could be.
    """

    plans: tuple[ServicePlan, ...] = ()
    replicas: Mapping[ServiceKey, int] = field(default_factory=dict[ServiceKey, int])
    findings: Mapping[str, Finding] = field(default_factory=dict[str, Finding])


class Migrations:
    """Plans migrations for one term of leadership."""

    def __init__(
        self,
        view: View,
        disruptions: Disruptions,
        trigger: TriggerOptions,
        scaler: Outage,
        options: MigrationOptions,
    ) -> None:
        """Takes what plans are made from.

        Args:
            view: the caches.
            disruptions: who may be made to go.
            trigger: how triggers of ours look.
            scaler: whether the scaler answers.
            options: how pods are moved.
        """
        self._view = view
        self._disruptions = disruptions
        self._options = options
        self._entrance = Entrance(view, disruptions, trigger, scaler)
        self._marked: dict[str, float] = {}

    def sends(self, action: SetDeletionCost, now: float) -> None:
        """Notes a cost that is about to be sent: the view may show it late."""
        self._marked = {uid: at for uid, at in self._marked.items() if now - at < LATE_SECONDS}
        self._marked.pop(action.pod.metadata.uid, None)
        if action.cost == FIRST_TO_GO:
            self._marked[action.pod.metadata.uid] = now

    def asked_about(self) -> frozenset[str]:
        """Returns the namespaces of which has to be known which pods get traffic."""
        found = self._view.all(PowerMigration).values()
        return frozenset(one.metadata.namespace for one in found if one.status.phase == "Waiting")

    def moves(
        self, services: Sequence[Capped], serving: Mapping[str, frozenset[str]], now: float, *, fresh: bool, told: bool
    ) -> Moves:
        """Returns what is to be done now.

        Args:
            services: all that have a recommendation.
            serving: UIDs of pods that get traffic, by namespace, of those that were asked about.
            now: Unix seconds.
            fresh: somebody has decided lately: on old decisions nothing begins.
            told: a budget says so: else nobody is evicted.
        """
        known = sorted(self._view.all(PowerMigration).values(), key=lambda one: (began(one), one.metadata.name))
        capped = {key_of(one.recommendation): one for one in services}
        active: dict[ServiceKey, PowerMigration] = {}
        for one in known:
            if not is_over(one):
                active.setdefault(service_of_migration(one), one)
        plans = [_guarded(one, partial(self._next, one, capped, active, serving, now, told=told)) for one in known]
        plans += self._cleared(known, now)
        replicas = {
            service: one.status.replicas + 1
            for service, one in active.items()
            if one.status.phase in _RAISED and one.status.replicas is not None
        }
        findings: dict[str, Finding] = {}
        if fresh:
            plans += self._begun(services, known, active, findings, now)
        return Moves(plans=tuple(plans), replicas=replicas, findings=findings)

    def restoration(self, services: Iterable[Capped], now: float) -> list[ServicePlan]:
        """Returns what takes back whatever migrations have changed, and lets them go."""
        capped = {key_of(one.recommendation): one for one in services}
        plans: list[ServicePlan] = []
        for one in self._view.all(PowerMigration).values():
            held = FINALIZER in one.metadata.finalizers
            if held or not (is_over(one) or not one.status.phase):
                plans.append(_guarded(one, partial(self._taken_back, one, capped, now)))
        return plans

    def _taken_back(self, one: PowerMigration, capped: Mapping[ServiceKey, Capped], now: float) -> list[Action]:
        moving = self._moving(one, capped, {}, now)
        if is_over(one) or one.status.phase == "RollingBack":
            return advance(moving, self._disruptions, self._options.phases, now)
        return roll_back(moving, "Restoring", "Whatever the actuator has changed is put back.", now)

    def _next(
        self,
        one: PowerMigration,
        capped: Mapping[ServiceKey, Capped],
        active: Mapping[ServiceKey, PowerMigration],
        serving: Mapping[str, frozenset[str]],
        now: float,
        *,
        told: bool,
    ) -> list[Action]:
        moving = replace(self._moving(one, capped, serving, now), told=told)
        if one.status.phase:
            return advance(moving, self._disruptions, self._options.phases, now)
        if one.metadata.deletion_timestamp:
            return []
        service = service_of_migration(one)
        if active[service] is not one:
            message = f"PowerMigration {active[service].metadata.name} moves a pod of the service already."
            return fail(moving, "OneAtATime", message, now)
        refused = self._entrance.refused(capped.get(service), one.spec.pod.uid, one.spec.budget, now)
        if refused is not None and refused.passes and now - began(one) <= one.spec.deadline_seconds:
            return []
        if refused is not None:
            return fail(moving, refused.reason, refused.message, now)
        return begin(moving, now)

    def _moving(
        self,
        one: PowerMigration,
        capped: Mapping[ServiceKey, Capped],
        serving: Mapping[str, frozenset[str]],
        now: float,
    ) -> Moving:
        service, pods = service_of_migration(one), self._disruptions.pods
        return Moving(
            migration=one,
            capped=capped.get(service),
            pods=tuple(pod for pod in pods.of(service) if not is_stuck(pod, now)),
            old=pods.by_uid(one.spec.pod.uid),
            serving=serving.get(one.metadata.namespace),
            budget=self._view.get(PowerBudget, "", one.spec.budget),
            marked=self._marked.get(one.spec.pod.uid, 0.0),
        )

    def _cleared(self, known: Iterable[PowerMigration], now: float) -> Iterator[ServicePlan]:
        over: dict[ServiceKey, list[PowerMigration]] = defaultdict(list)
        for one in known:
            if is_over(one) and not one.metadata.finalizers and not one.metadata.deletion_timestamp:
                over[service_of_migration(one)].append(one)
        for ones in over.values():
            for one in outdated(ones, self._options.pauses, now):
                yield ServicePlan(key=one.metadata.uid, actions=(DeleteMigration(gone=one),))

    def _begun(
        self,
        services: Sequence[Capped],
        known: Sequence[PowerMigration],
        active: Mapping[ServiceKey, PowerMigration],
        findings: dict[str, Finding],
        now: float,
    ) -> Iterator[ServicePlan]:
        """Yields migrations that begin, one for each service and each budget, and notes why others do not."""
        by_budget = Counter(one.spec.budget for one in active.values())
        paused = self._paused(known)
        for one in services:
            movable = one.recommendation.status.movable_pods
            if not movable or not may_move(one) or key_of(one.recommendation) in active:
                continue
            try:
                found = self._best(one, paused, by_budget, now)
            except Exception:
                LOG.exception("no pod of %s can be moved", one.recommendation.metadata.name)
                continue
            if isinstance(found, Refused):
                finding = Finding(type="MigrationRefused", holds=True, reason=found.reason, message=found.message)
                findings[one.recommendation.metadata.uid] = finding
                continue
            by_budget[found.budget] += 1
            yield self._made(one, found, known)

    def _best(
        self, one: Capped, paused: Mapping[ServiceKey | str, float], by_budget: Counter[str], now: float
    ) -> MovablePod | Refused:
        """Returns the first pod that may move, or why the very first may not."""
        first: Refused | None = None
        for pod in one.recommendation.status.movable_pods:
            refused = self._refused(one, pod, paused, by_budget, now)
            if refused is None:
                return pod
            first = first or refused
        return first or Refused(reason="NothingMovable", message="No pod could move.")

    def _paused(self, known: Sequence[PowerMigration]) -> Mapping[ServiceKey | str, float]:
        """Returns until when nothing is begun, by service and by budget's name.

        Of a budget only those count that were begun: anybody can make one that fails at once, and name any budget.
        """
        over: dict[ServiceKey | str, list[PowerMigration]] = defaultdict(list)
        for one in known:
            if is_over(one):
                over[service_of_migration(one)].append(one)
                if one.status.replicas is not None:
                    over[one.spec.budget].append(one)
        return {what: paused_until(ones, self._options.pauses) for what, ones in over.items()}

    def _refused(
        self,
        one: Capped,
        pod: MovablePod,
        paused: Mapping[ServiceKey | str, float],
        by_budget: Counter[str],
        now: float,
    ) -> Refused | None:
        service = key_of(one.recommendation)
        for what, until in (
            (f"{service.kind} {service.name}", paused.get(service, 0.0)),
            (f"PowerBudget {pod.budget}", paused.get(pod.budget, 0.0)),
        ):
            if now < until:
                message = (
                    f"The last migration of {what} has ended lately: the next one begins after {format_instant(until)}."
                )
                return Refused(reason="CoolingDown", message=message)
        if by_budget[pod.budget] or by_budget.total() >= self._options.at_once:
            message = f"Other pods move at this time: one for each budget, and {self._options.at_once} in all."
            return Refused(reason="OthersMove", message=message)
        return self._entrance.refused(one, pod.uid, pod.budget, now)

    def _made(self, one: Capped, pod: MovablePod, known: Sequence[PowerMigration]) -> ServicePlan:
        recommendation = one.recommendation
        meta, reference = recommendation.metadata, recommendation.spec.scale_target_ref
        found = self._disruptions.pods.by_uid(pod.uid)
        owner = OwnerReference(
            api_version=API_VERSION, kind=type(recommendation).__name__, name=meta.name, uid=meta.uid
        )
        names = {each.metadata.name for each in known if each.metadata.namespace == meta.namespace}
        attempt = 1
        while (name := migration_name(reference.name, pod.uid, attempt=attempt)) in names:
            attempt += 1
        new = PowerMigration(
            metadata=ObjectMeta(name=name, namespace=meta.namespace, owner_references=(owner,)),
            spec=PowerMigrationSpec(
                scale_target_ref=reference,
                pod=PodReference(name=pod.name, uid=pod.uid, node="" if found is None else found.spec.node_name),
                budget=pod.budget,
            ),
        )
        create = CreateMigration(new=new)
        announce = Announce(event=begun(recommendation, new), after=create)
        return ServicePlan(key=f"{meta.uid}/migration", actions=(create, announce))


def _guarded(one: PowerMigration, plan: Callable[[], Iterable[Action]]) -> ServicePlan:
    """Returns a migration's plan. A defect that one brings out must not stop the others."""
    meta = one.metadata
    try:
        return ServicePlan(key=meta.uid, actions=tuple(plan()))
    except Exception as error:
        LOG.exception("nothing can be planned for PowerMigration %s/%s", meta.namespace, meta.name)
        return ServicePlan(key=meta.uid, actions=(), broken=f"PowerMigration {meta.namespace}/{meta.name}: {error}")
