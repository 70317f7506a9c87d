"""Looks at the cluster every few seconds, keeps the book of alerts, and has sinks told. Nothing that fails ends it.

One replica does so, the one that holds the Lease. The book lies in ConfigMaps, so that the next one goes on where it
was: it tells nobody twice of what the book says is told.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from admission.alert import Fact
from admission.alert_book import AlertBook
from admission.alert_delivery import AlertDelivery, Teller
from admission.alert_events import EventTeller, unknown_sinks
from admission.alert_manager import AlertmanagerTeller
from admission.alert_metrics import AlertMetrics
from admission.alert_rules import RuleOptions, find_facts
from admission.alert_sinks import EVENTS, Sink, Sinks, SinksFile
from admission.alert_webhook import WebhookTeller
from admission.errors import AlertsUnreadableError
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError, StateCorruptError
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.leadership import Leadership

LOG = logging.getLogger(__name__)

_AT_ONCE: Final = 50
"""Objects between two moments in which webhooks are answered: a few milliseconds if all of them alert."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertOptions:
    """How to alert.

    Attributes:
        namespace: where the book is kept.
        state_name: what it is kept as.
        interval_seconds: how often facts are looked for.
        hold_seconds: how long most facts must hold before they alert.
        keep_seconds: how long a fact must be gone before its alert is over.
        resend_seconds: how often an Alertmanager hears of an active alert.
        timeout_seconds: for one request to a sink.
        goodbye_seconds: what a stopping replica gives requests that are under way.
    """

    namespace: str
    state_name: str = "wattkeeper-alerts"
    interval_seconds: float = 5.0
    hold_seconds: float = 60.0
    keep_seconds: float = 60.0
    resend_seconds: float = 60.0
    timeout_seconds: float = 10.0
    goodbye_seconds: float = 5.0


class AlertKeeper:
    """Keeps the book."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        leadership: Leadership,
        file: SinksFile,
        metrics: AlertMetrics,
        options: AlertOptions,
    ) -> None:
        """Takes its parts.

        Args:
            cluster: started already, so that its view is there.
            clock: the only source of time.
            leadership: which replica tells; somebody else renews it.
            file: the sinks.
            metrics: what Prometheus sees.
            options: how to alert.
        """
        self._cluster = cluster
        self._clock = clock
        self._leadership = leadership
        self._file = file
        self._metrics = metrics
        self._options = options
        self._delivery = AlertDelivery(clock, metrics, leads=self._leads)
        self._book: AlertBook | None = None
        self._term = 0
        self._sinks: Sinks | None = None
        self._tellers: dict[str, Teller] = {EVENTS: EventTeller(cluster)}
        self._announced: set[tuple[str, tuple[str, ...]]] = set()
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Alerts until cancelled, then waits a little for requests under way and keeps the book."""
        try:
            while True:
                await self.round()
                await self._clock.sleep(self._options.interval_seconds)
        finally:
            await self._delivery.settle(self._options.goodbye_seconds)
            if self._book is not None and self._leads():
                await self._keep(self._book)

    async def round(self) -> None:
        """Looks once."""
        try:
            await self._round()
        except Exception as error:  # A defect in one round must end neither the rounds nor the webhook beside them.
            self._failed("look", f"alerts cannot be looked for: {error!r}", defect=True)
        else:
            self._works("look")

    async def _round(self) -> None:
        await self._take_up_sinks()
        if not self._leads() or self._leadership.term != self._term:
            await self._step_down()
        if not self._leads():
            return
        term = self._leadership.term
        book = self._book or await self._restored()
        if book is None:
            return
        self._book, self._term = book, term
        now = self._clock.now()
        if self._cluster.view.synced():
            book.update(await self._facts(now), now)
        sinks = self._file.sinks
        book.address(sinks.recipients)
        for name in book.forget({*sinks.names, EVENTS}, now):
            self._metrics.dropped.labels(name, "expired").inc()
        self._metrics.without_room.inc(book.refused)
        book.refused = 0
        self._metrics.show(entry.alert for entry in book.active)
        await self._keep(book)
        self._delivery.pump(book)
        await self._announce_unknown(sinks)

    async def _facts(self, now: float) -> list[Fact]:
        rules = RuleOptions(hold_seconds=self._options.hold_seconds)
        found: list[Fact] = []
        for number, some in enumerate(find_facts(self._cluster.view, now, rules)):
            found += some
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    def _leads(self) -> bool:
        return self._leadership.holds(self._clock.now())

    async def _step_down(self) -> None:
        """Forgets the book: another replica's may differ by now."""
        if self._book is not None:
            await self._delivery.settle(0.0)
            self._book = None
            self._announced.clear()
            self._metrics.show(())

    async def _restored(self) -> AlertBook | None:
        """Returns the book that was kept, None while nobody knows whether there is one: nothing is told twice."""
        options = self._options
        try:
            kept = await self._cluster.read_state(namespace=options.namespace, name=options.state_name)
            if kept is None:
                return AlertBook(keep_seconds=options.keep_seconds)
            book = AlertBook.decoded(kept, keep_seconds=options.keep_seconds)
        except (StateCorruptError, AlertsUnreadableError) as error:
            self._failed("restore", f"starting afresh, what is active is told again: {error}")
            return AlertBook(keep_seconds=options.keep_seconds)
        except ClusterError as error:
            self._failed("restore", f"no alerts until their state can be read: {error}")
            return None
        self._works("restore")
        return book

    async def _keep(self, book: AlertBook) -> None:
        if not book.changed:
            return
        book.changed = False
        options = self._options
        try:
            await self._cluster.write_state(namespace=options.namespace, name=options.state_name, state=book.encode())
        except ClusterError as error:
            book.changed = True
            self._failed("keep", f"the state of alerts cannot be kept: {error}")
        else:
            self._works("keep")

    async def _take_up_sinks(self) -> None:
        await asyncio.to_thread(self._file.refresh)
        self._metrics.sinks_readable.set(self._file.readable)
        sinks, before = self._file.sinks, self._sinks
        if sinks is before:
            return
        # Whoever is told as before goes on: what is under way would be told twice, and who fails be asked at once.
        same: tuple[Sink, ...] = ()
        if before is not None and (before.labels, before.generator_url) == (sinks.labels, sinks.generator_url):
            same = before.sinks
        self._tellers = {EVENTS: self._tellers[EVENTS]} | {
            sink.name: self._tellers[sink.name] if sink in same else self._teller(sink, sinks) for sink in sinks.sinks
        }
        self._delivery.use(self._tellers)
        self._sinks = sinks

    def _teller(self, sink: Sink, sinks: Sinks) -> Teller:
        options = self._options
        if sink.type == "alertmanager":
            return AlertmanagerTeller(
                sink,
                sinks,
                self._clock,
                resend_seconds=options.resend_seconds,
                timeout_seconds=options.timeout_seconds,
            )
        return WebhookTeller(sink, sinks, timeout_seconds=options.timeout_seconds)

    async def _announce_unknown(self, sinks: Sinks) -> None:
        """Says once on each policy that it names sinks which are not there."""
        unknown: dict[tuple[str, tuple[str, ...]], PowerCappingPolicy] = {}
        for policy in self._cluster.view.all(PowerCappingPolicy).values():
            alerts = policy.spec.alerts
            names = tuple(sorted({*(alerts.sinks if alerts is not None else ())} - sinks.names))
            if names:
                unknown[policy.metadata.uid, names] = policy
        self._announced &= unknown.keys()
        for (uid, names), policy in unknown.items():
            if (uid, names) not in self._announced:
                try:
                    await self._cluster.record(unknown_sinks(policy, names))
                except ClusterError as error:
                    self._failed("announce", f"an event about unknown alert sinks cannot be written: {error}")
                    return
                self._announced.add((uid, names))
        self._works("announce")

    def _failed(self, part: str, what: str, *, defect: bool = False) -> None:
        """Counts a failure, and logs it unless it is the last one again."""
        self._metrics.failures.labels(part).inc()
        if self._said.get(part) != what:
            self._said[part] = what
            LOG.warning("%s", what, exc_info=defect)

    def _works(self, part: str) -> None:
        if self._said.pop(part, None) is not None:
            LOG.info("alerts: %s works again", part)
