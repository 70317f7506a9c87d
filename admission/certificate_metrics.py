"""What Prometheus sees of certificates."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge


class CertificateMetrics:
    """One set of metrics per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.expiry = Gauge(
            "wattkeeper_admission_certificate_expiry_timestamp_seconds",
            "When a certificate ends, as Unix time: the one that this replica shows, and the authority that signs.",
            ["certificate"],
            registry=registry,
        )
        self.steps = Counter(
            "wattkeeper_admission_certificate_steps",
            "What this replica did about certificates: prepare, promote (a rotation), retire, renew.",
            ["step"],
            registry=registry,
        )
        self.failures = Counter(
            "wattkeeper_admission_certificate_failures",
            "What failed about certificates: reading them, writing them, telling a webhook configuration.",
            ["part"],
            registry=registry,
        )
        for certificate in ("serving", "authority"):
            self.expiry.labels(certificate).set(math.nan)
        for step in ("prepare", "promote", "retire", "renew"):
            self.steps.labels(step)
