"""The actuator's loop: a pass over all services every few seconds, by the replica that leads, with warm caches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kserve_hooks.actions import ServicePlan, describe
from kserve_hooks.errors import RestoreError
from kserve_hooks.execute import Executor
from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.outage import Outage
from kserve_hooks.plan import Planner, PlanOptions
from kserve_hooks.traffic import pods_that_serve
from wattkeeper.api.power_migration import PHASES, PowerMigration
from wattkeeper.api.power_recommendation import BRAKE_REASONS, PowerRecommendation
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.freshness import Freshness
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership

LOG = logging.getLogger(__name__)
_AUTOSCALERS: Final = ("external", "keda", "hpa", "none")
_SILENT_SECONDS: Final = 90.0
"""A watch that was silent for so long should have been closed: the API server sends bookmarks each minute."""
_RESTORED_LEASE_SECONDS: Final = 120
"""After everything was put back nobody acts for this long: the actuators are about to be removed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActuatorOptions:
    """How to run.

    Attributes:
        namespace: of the Lease.
        holder: who we are.
        lease_name: the Lease.
        lease_seconds: how long others wait after our last renewal.
        pass_seconds: how often services are looked at.
        warm_up_seconds: how long caches must have been complete, under our own lead, before the first pass.
        stale_seconds: decisions older than this loosen nothing.
        concurrency: services that are written at the same time.
        restore_seconds: how long putting everything back may take.
        check_seconds: how often the scaler is asked whether it serves.
        plan: how ceilings are kept.
    """

    namespace: str
    holder: str
    plan: PlanOptions
    lease_name: str = "wattkeeper-actuator"
    lease_seconds: int = 15
    pass_seconds: float = 2.0
    warm_up_seconds: float = 10.0
    stale_seconds: float = 15.0
    concurrency: int = 8
    restore_seconds: float = 120.0
    check_seconds: float = 2.0


ScalerAnswers = Callable[[], Awaitable[bool]]
"""Asks the scaler once whether it serves."""


class ActuatorService:
    """Runs the loop."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        metrics: ActuatorMetrics,
        options: ActuatorOptions,
        scaler_answers: ScalerAnswers,
    ) -> None:
        """Takes its parts.

        Args:
            cluster: started already, so that its view is there.
            clock: the only source of time.
            metrics: what is counted.
            options: how to run.
            scaler_answers: asks the scaler.
        """
        self._cluster = cluster
        self._clock = clock
        self._metrics = metrics
        self._scaler_answers = scaler_answers
        self._scaler = Outage(options.plan.outage)
        self._options = options
        self.leadership = Leadership(
            cluster,
            clock,
            namespace=options.namespace,
            name=options.lease_name,
            holder=options.holder,
            duration_seconds=options.lease_seconds,
        )
        self._term = 0
        self._warm_since: float | None = None
        self._freshness = Freshness(cluster.view, stale_seconds=options.stale_seconds)
        self._planner = self._new_planner()
        self._executor = self._new_executor()

    async def run(self) -> None:
        """Passes until cancelled, then gives the Lease up."""
        await self.leadership.renew()
        renewing = asyncio.create_task(self.leadership.run(), name="lease")
        # Who does not lead asks as well: a new leader has to know at once.
        asking = asyncio.create_task(self._watch_scaler(), name="scaler check")
        try:
            while True:
                started = self._clock.now()
                await self.act()
                spent = self._clock.now() - started
                await self._clock.sleep(max(self._options.pass_seconds - spent, 0.0))
        finally:
            renewing.cancel()
            asking.cancel()
            await asyncio.gather(renewing, asking, return_exceptions=True)
            await self.leadership.release()

    async def _watch_scaler(self) -> None:
        while True:
            await self.ask_scaler()
            await self._clock.sleep(self._options.check_seconds)

    async def ask_scaler(self) -> None:
        """Asks the scaler once, and remembers how it went."""
        answered = await self._scaler_answers()
        before = self._scaler.answering
        now = self._scaler.observe(self._clock.now(), answered=answered)
        self._metrics.scaler_answers.set(now != "no")
        if now != before:
            LOG.warning("the scaler %s", "answers" if now == "yes" else "does not answer: the brake may act")

    async def act(self) -> str:
        """Makes one pass if this replica leads and its caches are warm. Returns what became of it."""
        started = time.perf_counter()
        try:
            result = await self._pass()
        except Exception:  # A defect in one pass must not end the service that keeps ceilings.
            LOG.exception("a pass failed; the next one tries again")
            result = "failed"
        self._metrics.passes.labels(result).inc()
        if result == "made":
            self._metrics.pass_seconds.observe(time.perf_counter() - started)
        return result

    async def _pass(self) -> str:
        now = self._clock.now()
        leads = self.leadership.holds(now)
        self._metrics.leader.set(leads)
        if not leads or self._term != self.leadership.term:
            # In another term somebody else may have acted in between: what was remembered is worth nothing.
            self._warm_since = None
            self._term = self.leadership.term
            self._planner = self._new_planner()
            self._executor = self._new_executor()
        if not leads:
            self._note(())
            return "follower"
        if not self._current(now):
            self._warm_since = None
            return "stale"
        self._warm_since = now if self._warm_since is None else self._warm_since
        if now - self._warm_since < self._options.warm_up_seconds:
            return "warming-up"
        serving = await pods_that_serve(self._cluster, self._planner.asked_about())
        plans = self._planner.plan(now, self._executor.refused(now), serving)
        self._note(plans)
        await self._executor.execute(plans, now)
        return "made"

    async def restore(self) -> None:
        """Takes the Lease from whoever has it, puts everything back, and leaves the Lease taken for a while.

        Raises:
            RestoreError: not all could be put back in time.
        """
        deadline = self._clock.now() + self._options.restore_seconds
        await self.leadership.seize()
        # Its holder may have renewed it at the same moment.
        while not self.leadership.holds(self._clock.now()) and self._clock.now() < deadline:
            await self._clock.sleep(1.0)
            await self.leadership.seize()
        renewing = asyncio.create_task(self.leadership.run(), name="lease")
        try:
            await self._put_back()
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        await self._stay_away()

    async def _stay_away(self) -> None:
        """Leaves the Lease taken by nobody who acts."""
        options = self._options
        deadline = self._clock.now() + options.lease_seconds
        while True:
            why = "somebody else takes it"
            try:
                if await self._cluster.hold_lease(
                    namespace=options.namespace,
                    name=options.lease_name,
                    holder=options.holder,
                    duration_seconds=_RESTORED_LEASE_SECONDS,
                    now=self._clock.now(),
                ):
                    return
            except ClusterError as error:
                why = str(error)
            if self._clock.now() > deadline:
                raise RestoreError(
                    f"Everything is as it was, but the Lease {options.lease_name} cannot be kept ({why}): an actuator "
                    "that still runs will cap services again. Remove it, and run this once more."
                )
            await self._clock.sleep(1.0)

    async def _put_back(self) -> None:
        deadline = self._clock.now() + self._options.restore_seconds
        self._term = 0
        while True:
            if not self.leadership.holds(self._clock.now()):
                await self.leadership.seize()
            if self._term != self.leadership.term:
                # Who led until now may believe so for as long as its last renewal lasts.
                await self._clock.sleep(self._options.lease_seconds)
                self._term = self.leadership.term
            now = self._clock.now()
            gone = self._executor.gone()
            plans = [plan for plan in self._planner.restoration(now) if plan.key not in gone]
            if not plans and self._current(now):
                LOG.info("everything is as it was")
                return
            if now > deadline:
                words = (plan.broken or "; ".join(map(describe, plan.actions)) for plan in plans)
                left = "; ".join(words)
                within = f"within {self._options.restore_seconds:g} s"
                raise RestoreError(f"Not everything could be put back {within}: {left or 'caches are incomplete'}")
            if self._current(now):
                await self._executor.execute(plans, now)
            await self._clock.sleep(min(self._options.pass_seconds, 1.0))

    def _current(self, now: float) -> bool:
        """Says whether the view is complete and was heard of lately."""
        view = self._cluster.view
        return view.synced() and view.staleness_seconds(now) <= _SILENT_SECONDS

    def _may_write(self) -> bool:
        return self.leadership.holds(self._clock.now()) and self._term == self.leadership.term

    def _new_planner(self) -> Planner:
        return Planner(self._cluster.view, self._freshness, self._scaler, self._options.plan)

    def _new_executor(self) -> Executor:
        concurrency = self._options.concurrency
        return Executor(self._cluster, self._metrics, self._may_write, self._planner, concurrency=concurrency)

    def _note(self, plans: list[ServicePlan] | tuple[()]) -> None:
        kept = Counter(plan.autoscaler for plan in plans)
        for autoscaler in _AUTOSCALERS:
            self._metrics.services.labels(autoscaler).set(kept[autoscaler])
        self._metrics.hindered.set(sum(plan.hindered for plan in plans))
        braked = Counter(plan.braked for plan in plans)
        for reason in BRAKE_REASONS:
            self._metrics.braked.labels(reason).set(braked[reason])
        self._metrics.blocked.set(sum(plan.blocked for plan in plans))
        self._note_migrations()

    def _note_migrations(self) -> None:
        view = self._cluster.view
        phases = Counter(one.status.phase or "Pending" for one in view.all(PowerMigration).values())
        for phase in PHASES:
            self._metrics.migrations.labels(phase).set(phases[phase])
        said = (each for one in view.all(PowerRecommendation).values() for each in one.status.conditions)
        refused = Counter(each.reason for each in said if each.type == "MigrationRefused")
        self._metrics.migrations_refused.clear()
        for reason, count in refused.items():
            self._metrics.migrations_refused.labels(reason).set(count)


class Rehearsal:
    """Says what the actuator would do, and does nothing: it takes no Lease either."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        options: ActuatorOptions,
        scaler_answers: ScalerAnswers,
        say: Callable[[str], None],
    ) -> None:
        """Takes its parts; `say` is told each intended action once."""
        self._cluster = cluster
        self._clock = clock
        self._options = options
        self._say = say
        freshness = Freshness(cluster.view, stale_seconds=options.stale_seconds)
        self._scaler_answers = scaler_answers
        self._scaler = Outage(options.plan.outage)
        self._planner = Planner(cluster.view, freshness, self._scaler, options.plan)
        self._said: set[str] = set()

    async def run(self) -> None:
        """Passes until cancelled."""
        while True:
            self._scaler.observe(self._clock.now(), answered=await self._scaler_answers())
            self.rehearse(await pods_that_serve(self._cluster, self._planner.asked_about()))
            await self._clock.sleep(self._options.pass_seconds)

    def rehearse(self, serving: Mapping[str, frozenset[str]]) -> None:
        """Makes one pass, if the view is complete, with who gets traffic by namespace."""
        if not self._cluster.view.synced():
            return
        plans = self._planner.plan(self._clock.now(), {}, serving)
        intended = [describe(action) for plan in plans for action in plan.actions]
        for line in intended:
            if line not in self._said:
                self._say(f"would {line}")
        self._said = set(intended)
