"""The core: from the view and the time to actions. It reads no clock and writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from kserve_hooks.actions import ServicePlan, SetBrake, SetFields, brake_key, pods_key
from kserve_hooks.brake import Brakes
from kserve_hooks.brake_notes import Braking
from kserve_hooks.capped import Capped, find_capped
from kserve_hooks.ceilings import Rises
from kserve_hooks.desired import NOTHING, Desired, desired
from kserve_hooks.disruptions import Claim, Disruptions, key_of
from kserve_hooks.events import events_of
from kserve_hooks.kill import Killing, KillOptions, Kills
from kserve_hooks.migrate import MigrationOptions, Migrations, Moves
from kserve_hooks.orphans import Orphans
from kserve_hooks.outage import Outage, OutageOptions
from kserve_hooks.pod_actions import Evict, PodWrite, SetDeletionCost
from kserve_hooks.rates import RateOptions
from kserve_hooks.reconcile import reconcile
from kserve_hooks.reverts import RevertOptions, Sightings
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.unknown_policies import UnknownPolicies
from wattkeeper.api.conditions import Finding
from wattkeeper.api.marks import POLICY_ANNOTATION
from wattkeeper.cluster.errors import FailedError, ProtectedError, UnreachableError
from wattkeeper.cluster.freshness import Freshness
from wattkeeper.cluster.interface import View

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanOptions:
    """How ceilings are kept.

    Attributes:
        trigger: how triggers of ours look.
        reverts: when somebody has put something back often enough.
        outage: when to believe that KEDA cannot ask the scaler, and that it can again.
        raise_seconds: how long a ceiling must have been too low before it rises.
        rates: how many pods may be made to go in a while.
        migrations: how pods are moved.
        kill: when evicting pods is given up.
    """

    trigger: TriggerOptions
    reverts: RevertOptions
    outage: OutageOptions = field(default_factory=OutageOptions)
    raise_seconds: float = 30.0
    rates: RateOptions = field(default_factory=RateOptions)
    migrations: MigrationOptions = field(default_factory=MigrationOptions)
    kill: KillOptions = field(default_factory=KillOptions)


class Planner:
    """Plans for one term of leadership: what it remembers only delays what it does."""

    def __init__(self, view: View, freshness: Freshness, scaler: Outage, options: PlanOptions) -> None:
        """Takes what plans are made from.

        Args:
            view: the caches.
            freshness: whether somebody decides.
            scaler: whether the scaler answers the actuator's own question.
            options: how ceilings are kept.
        """
        self._view = view
        self._options = options
        self._freshness = freshness
        self._rises = Rises(raise_seconds=options.raise_seconds)
        self._sightings = Sightings()
        self._brakes = Brakes(view, scaler, options.trigger, options.outage)
        self._orphans = Orphans(view)
        self._unknown_policies = UnknownPolicies(view)
        self._now = 0.0
        self._disruptions = Disruptions(view, options.rates)
        self._kills = Kills(view, self._disruptions, options.kill, options.reverts)
        self._migrations = Migrations(view, self._disruptions, options.trigger, scaler, options.migrations)

    def asked_about(self) -> frozenset[str]:
        """Returns the namespaces of which the next plan has to know which pods get traffic."""
        return self._migrations.asked_about()

    def plan(
        self, now: float, refused: Mapping[str, str], serving: Mapping[str, frozenset[str]] = MappingProxyType({})
    ) -> list[ServicePlan]:
        """Returns what is to be done so that every ceiling is kept, and what is over is put back.

        Args:
            now: Unix seconds.
            refused: what an API server or a webhook said to the last write for a service, by its key (the brake's has
                a key of its own).
            serving: UIDs of pods that get traffic, by namespace, of those that were asked about.
        """
        self._now = now
        self._disruptions.begin(now)
        self._kills.begin(now)
        fresh, told = not self._freshness.stale(now), self._freshness.told(now)
        services = list(find_capped(self._view))
        moves = self._migrations.moves(services, serving, now, fresh=fresh, told=told)
        plans = [
            plan
            for one in services
            for plan in _guarded(one, partial(self._service, one, now, refused, moves, fresh=fresh, told=told))
        ]
        orphans = (*self._orphans.scaled_objects(), *self._orphans.pauses(now))
        return [*plans, *moves.plans, *orphans, *self._unknown_policies.plans()]

    def sends(self, action: SetFields | SetBrake | PodWrite) -> None:
        """Notes a write that is about to be sent, in the pass that was planned last."""
        match action:
            case SetBrake():
                self._brakes.sends(action, self._now)
            case SetFields(service=service):
                self._sightings.sends(service, self._now)
            case SetDeletionCost():
                self._kills.sends(action, self._now)
                self._migrations.sends(action, self._now)
            case Evict():
                self._kills.sends(action, self._now)

    def wrote(self, action: SetFields | SetBrake | SetDeletionCost) -> None:
        """Notes a write that succeeded."""
        match action:
            case SetBrake():
                self._brakes.wrote(action)
            case SetFields(service=service, fields=fields):
                self._sightings.wrote(service, fields)
            case SetDeletionCost():
                self._kills.wrote(action, self._now)

    def disrupted(self, claim: Claim) -> None:
        """Notes that a pod was made to go."""
        self._disruptions.done(claim, self._now)

    def spared(self, claim: Claim, error: ProtectedError | UnreachableError) -> None:
        """Notes that the API server did not evict a pod, for all that is known, and what it said."""
        if isinstance(error, ProtectedError):
            self._kills.spared(claim)
            self._disruptions.kept(claim.pod, str(error), self._now)
        elif isinstance(error, FailedError):
            self._disruptions.failed(claim, str(error), error.retry_after_seconds, self._now)
        else:
            self._disruptions.unheard(claim, error.retry_after_seconds, self._now)
            if error.retry_after_seconds is not None:
                self._kills.spared(claim)

    def restoration(self, now: float) -> list[ServicePlan]:
        """Returns what is to be done so that everything is as users had it."""
        self._now = now
        self._disruptions.begin(now)
        services = list(find_capped(self._view))
        moving = self._migrations.restoration(services, now)
        plans = (plan for one in services for plan in _guarded(one, partial(self._restored, one, now)))
        orphans = (*self._orphans.scaled_objects(), *self._orphans.pauses(now, unnoted_seconds=0.0))
        return [plan for plan in (*plans, *moving, *orphans) if plan.actions or plan.broken]

    def _restored(self, one: Capped, now: float) -> list[ServicePlan]:
        if one.unseen and one.actuation is not None:
            broken = f"{one.actuation.kind} {one.actuation.name} cannot be seen, and what was changed of it is noted"
            return [ServicePlan(key=one.recommendation.metadata.uid, actions=(), broken=broken)]
        killing = self._kills.released(one, now)
        return self._reconciled(one, NOTHING, self._brakes.released(one, now), killing, (), now)

    def _service(
        self, one: Capped, now: float, refused: Mapping[str, str], moves: Moves, *, fresh: bool, told: bool
    ) -> list[ServicePlan]:
        key = one.recommendation.metadata.uid
        braking = self._brakes.braking(one, now, fresh=fresh)
        if one.enforced and one.recommendation.status.reason == "WarmingUp":
            return [ServicePlan(key=key, actions=())]  # The leader itself does not know better yet.
        wanted, extra = NOTHING, ()
        if one.enforced:
            surge = moves.replicas.get(key_of(one.recommendation), 0)
            wanted = desired(one, self._rises, self._options.trigger, now, fresh=fresh, surge=surge)
            extra = (*_annotation_finding(one), *(() if fresh else (_held_cuts(one),)))
        extra = (*extra, *(each for each in (moves.findings.get(key),) if each is not None))
        wanted = replace(wanted, refused=refused.get(key, ""))
        braking = replace(braking, refused=refused.get(brake_key(key), ""))
        killing = self._kills.killing(one, now, fresh=fresh, told=told)
        if killing.writes and pods_key(key) in refused:
            killing = killing.refused(refused[pods_key(key)])
        return self._reconciled(one, wanted, braking, killing, extra, now)

    def _reconciled(
        self,
        one: Capped,
        wanted: Desired,
        braking: Braking,
        killing: Killing,
        extra: tuple[Finding, ...],
        now: float,
    ) -> list[ServicePlan]:
        found = reconcile(one, wanted, braking, killing, extra, self._sightings, self._options.reverts, now)
        managed = one.part is not None and wanted.managed
        key = one.recommendation.metadata.uid
        plan = ServicePlan(
            key=key,
            actions=(*found.actions, *events_of(one, found.actions)),
            autoscaler=one.part.autoscaler if one.part is not None and managed else "",
            hindered=found.hindered,
            braked="" if braking.note is None else braking.note.reason,
            blocked=killing.blocked,
        )
        if not killing.writes:
            return [plan]
        # On its own: a pod that cannot be marked or evicted is no reason to leave a ceiling as it is.
        return [plan, ServicePlan(key=pods_key(key), actions=(*killing.writes, *events_of(one, killing.writes)))]


def _guarded(one: Capped, plan: Callable[[], list[ServicePlan]]) -> list[ServicePlan]:
    """Returns a service's plans. A defect that one service's objects bring out must not stop the others'."""
    try:
        return plan()
    except Exception as error:
        meta = one.recommendation.metadata
        LOG.exception("nothing can be planned for PowerRecommendation %s/%s", meta.namespace, meta.name)
        broken = f"PowerRecommendation {meta.namespace}/{meta.name}: {error}"
        return [ServicePlan(key=meta.uid, actions=(), hindered=True, broken=broken)]


def _annotation_finding(one: Capped) -> tuple[Finding, ...]:
    if one.annotation_counts:
        return ()
    message = (
        f"The annotation {POLICY_ANNOTATION} names {one.annotated}, and there is no such PowerCappingPolicy in this "
        f"namespace. {one.recommendation.spec.policy} caps the service, by its selector."
    )
    return (Finding(type="PolicyUnknown", holds=True, reason="NotFound", message=message),)


def _held_cuts(one: Capped) -> Finding:
    message = (
        f"No scaler decides: the last cap, {one.recommendation.status.target.replicas}, holds, and later cuts of "
        "budgets do not apply until one decides again. Look at the scaler's pods."
    )
    return Finding(type="LaterCutsHeld", holds=True, reason="NobodyDecides", message=message)
