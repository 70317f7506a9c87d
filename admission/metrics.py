"""What Prometheus sees of this room."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# A review is answered in well under a millisecond; the API server's patience is seconds.
_REVIEW_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0)


class AdmissionMetrics:
    """One set of metrics per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reviews = Counter(
            "wattkeeper_admission_reviews",
            "Bodies that came to a webhook, by what became of them.",
            ["webhook", "result"],
            registry=registry,
        )
        self.review_seconds = Histogram(
            "wattkeeper_admission_review_seconds",
            "How long an answer took, once its body was there.",
            ["webhook"],
            buckets=_REVIEW_SECONDS,
            registry=registry,
        )
        self.failures = Counter(
            "wattkeeper_admission_failures",
            "Reviews that were let through because answering them failed.",
            ["webhook"],
            registry=registry,
        )
        self.resized = Counter(
            "wattkeeper_admission_resized_pods", "Pods whose requests were changed.", registry=registry
        )
        self.gated = Counter("wattkeeper_admission_gated_pods", "Pods that were sent to the gate.", registry=registry)
        self.estimates = Counter(
            "wattkeeper_admission_estimates",
            "Containers of new pods, by whether their usage was known.",
            ["usage"],
            registry=registry,
        )
        self.view_staleness_seconds = Gauge(
            "wattkeeper_view_staleness_seconds",
            "Seconds since the least recently heard watch said anything.",
            registry=registry,
        )
