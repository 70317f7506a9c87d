"""What Prometheus sees of alerts."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from admission.alert import Alert


class AlertMetrics:
    """One set of metrics per registry. Only the replica that tells people has alerts to show."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._active = Gauge(
            "wattkeeper_alerts_active",
            "Alerts that are active, at the replica that tells people.",
            ["alert", "severity"],
            registry=registry,
        )
        self.sent = Counter(
            "wattkeeper_alert_notifications_sent",
            "Requests with alerts that a sink took.",
            ["sink"],
            registry=registry,
        )
        self.failed = Counter(
            "wattkeeper_alert_notifications_failed",
            "Attempts to tell a sink that failed; they are made again.",
            ["sink"],
            registry=registry,
        )
        self.dropped = Counter(
            "wattkeeper_alert_notifications_dropped",
            "What a sink will never be told: refused (the sink takes no such body), expired (out of reach for an hour "
            "after the alert's end), gone (the object that an Event is about).",
            ["sink", "reason"],
            registry=registry,
        )
        self.without_room = Counter(
            "wattkeeper_alerts_without_room",
            "Alerts that waited because too many were active already.",
            registry=registry,
        )
        self.failures = Counter(
            "wattkeeper_alert_failures",
            "What failed inside: look (finding alerts), restore and keep (their state), announce (an Event).",
            ["part"],
            registry=registry,
        )
        self.sinks_readable = Gauge(
            "wattkeeper_alert_sinks_readable",
            "0 while the file with sinks cannot be read and the last ones stay in use.",
            registry=registry,
        )
        self.sinks_readable.set(1)
        self._shown: set[tuple[str, str]] = set()

    def show(self, alerts: Iterable[Alert]) -> None:
        """Shows how many are active."""
        counts = Tally((alert.name, alert.severity) for alert in alerts)
        for key in self._shown | counts.keys():
            self._active.labels(*key).set(counts[key])
        self._shown |= counts.keys()
