"""What Prometheus sees of usage history."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from admission.usage_model import Taken


class UsageMetrics:
    """One set of metrics per registry."""

    def __init__(self, registry: CollectorRegistry, age_seconds: Callable[[], float]) -> None:
        """Registers them.

        Args:
            registry: where.
            age_seconds: how old the youngest usage is, asked whenever somebody looks.
        """
        self.samples = Counter(
            "wattkeeper_admission_usage_samples", "Usage samples of containers that were taken in.", registry=registry
        )
        self.dropped = Counter(
            "wattkeeper_admission_usage_dropped",
            "Usage samples, or figures of them, that were not taken in, by reason.",
            ["reason"],
            registry=registry,
        )
        self.failures = Counter(
            "wattkeeper_admission_usage_failures",
            "What failed about usage history: reading usage, restoring or keeping what was learned, Prometheus.",
            ["part"],
            registry=registry,
        )
        self.containers = Gauge(
            "wattkeeper_admission_usage_containers", "Containers of services whose usage is known.", registry=registry
        )
        age = Gauge(
            "wattkeeper_admission_usage_age_seconds",
            "How old the youngest usage is; +Inf before the first one.",
            registry=registry,
        )
        age.set_function(age_seconds)

    def count(self, taken: Taken, unjoined: Counts[str]) -> None:
        """Counts what became of samples, and what could not be made a sample of."""
        self.samples.inc(taken.samples)
        for reason, count in (taken.dropped + unjoined).items():
            self.dropped.labels(reason).inc(count)
