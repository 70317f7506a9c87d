"""Alertmanager's v2 API: all active alerts, again and again, because it forgets those of which it hears no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from admission.alert_book import AlertBook, Entry, Notice
from admission.alert_post import Outcome, post
from admission.alert_sinks import Sink, Sinks
from wattkeeper.api.instants import format_instant
from wattkeeper.cluster.clock import Clock

_AT_ONCE: Final = 100
_LASTS: Final = 4.0
"""Times between two sendings after which Alertmanager takes an alert for resolved: Prometheus' own figure."""


class AlertmanagerTeller:
    """Tells one Alertmanager. What it is told twice it takes for one alert, by its labels."""

    def __init__(
        self, sink: Sink, sinks: Sinks, clock: Clock, *, resend_seconds: float, timeout_seconds: float
    ) -> None:
        """Takes who it is.

        Args:
            sink: the Alertmanager.
            sinks: what is put on every alert.
            clock: the only source of time.
            resend_seconds: how often an active alert is sent again.
            timeout_seconds: for one request.
        """
        self._sink = sink
        self._sinks = sinks
        self._clock = clock
        self._resend_seconds = resend_seconds
        self._timeout_seconds = timeout_seconds
        self._sent_at = -math.inf

    def due(self, book: AlertBook) -> Sequence[Notice]:
        """Returns everything, when something is new or when it is time."""
        name = self._sink.name
        new = list(book.notices(name))
        if not new and 0.0 <= self._clock.now() - self._sent_at < self._resend_seconds:
            return ()
        # What came and went while nobody listened is told as over at once: the API has no other past.
        over = [Notice(entry=one.entry, state="resolved") for one in new if one.entry.ends_at is not None]
        return [*over, *(Notice(entry=entry, state="firing") for entry in book.active if name in entry.told)]

    async def tell(self, notices: Sequence[Notice]) -> Outcome:
        """Sends them, a hundred at a time: what is wrong with one of these keeps no other hundred back."""
        now = self._clock.now()
        # An alert that is over and fires anew has the same labels twice: the newer one counts.
        latest = {one.entry.alert.fingerprint: one.entry for one in notices}
        bodies = [self._wire(entry, now) for entry in latest.values()]
        base = self._sink.url.get_secret_value().rstrip("/")
        result = Outcome(result="sent")
        for start in range(0, len(bodies), _AT_ONCE):
            body = msgspec.json.encode(bodies[start : start + _AT_ONCE])
            outcome = await post(self._sink, f"{base}/api/v2/alerts", body, timeout_seconds=self._timeout_seconds)
            if outcome.result == "failed":
                return outcome
            if outcome.result != "sent":
                result = outcome
        self._sent_at = now
        return result

    def _wire(self, entry: Entry, now: float) -> dict[str, object]:
        ends_at = now + _LASTS * self._resend_seconds if entry.ends_at is None else entry.ends_at
        return {
            "labels": {**self._sinks.labels, **entry.alert.labels},
            "annotations": entry.alert.annotations,
            "startsAt": format_instant(entry.starts_at),
            "endsAt": format_instant(ends_at),
            **({"generatorURL": self._sinks.generator_url} if self._sinks.generator_url else {}),
        }
