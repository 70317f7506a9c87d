"""What can be set about the admission plugin: environment variables WATTKEEPER_*, and the command's main options."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from admission.certificate_keeper import KeeperOptions
from admission.certificate_rules import Lives
from admission.tls import CertificateFiles
from wattkeeper.cluster.trust import WebhookKind

_DAY: Final = 86_400.0
_MOST_DAYS: Final = 36_500.0
"""Certificates cannot say every date; a century is far from those that they cannot."""


class AdmissionSettings(BaseSettings):
    """Settings of `wattkeeper admission`. Each is an environment variable: its name in capitals, after WATTKEEPER_."""

    model_config = SettingsConfigDict(
        env_prefix="WATTKEEPER_", env_ignore_empty=True, use_attribute_docstrings=True, frozen=True, extra="forbid"
    )

    identity: str = Field(default_factory=socket.gethostname, min_length=1)
    """Who this replica is, in the Lease and in Events; no two replicas may share it. The host's name (in a pod, the
    pod's) by default."""

    namespace: str = Field(default="wattkeeper", min_length=1)
    """Namespace of the Lease and of the ConfigMaps with the learned usage. The chart sets the release's."""

    kubeconfig: Path | None = None
    """A kubeconfig file. Without it the pod's service account is used, and outside of a pod KUBECONFIG or
    ~/.kube/config."""

    context: str | None = None
    """A context of the kubeconfig; its current one by default."""

    prometheus_url: str = ""
    """Prometheus that has cAdvisor's series, such as http://prometheus.monitoring:9090. Its history is read once, where
    no usage was kept; without it usage is learned from metrics.k8s.io alone."""

    prometheus_token_file: Path | None = None
    """A bearer token for Prometheus. None by default."""

    prometheus_ca_file: Path | None = None
    """Certificates that sign Prometheus' own; the system's by default."""

    history_days: int = Field(default=8, ge=1, le=90)
    """How many days of Prometheus' history are read: the Vertical Pod Autoscaler's own figure."""

    usage_seconds: float = Field(default=60.0, ge=1.0)
    """How often usage is read from metrics.k8s.io, in seconds: confidence counts samples a minute apart."""

    state_name: str = "wattkeeper-usage"
    """Stem of the ConfigMaps that keep the learned usage."""

    state_seconds: float = Field(default=60.0, gt=0.0)
    """How often the learned usage is written, in seconds; what is younger is learned again after a crash."""

    lease_name: str = "wattkeeper-admission"
    """The Lease that says which replica writes the learned usage and sends alerts. Every replica answers reviews."""

    lease_seconds: int = Field(default=15, ge=4)
    """How long others wait after the holder's last renewal, in seconds: client-go's own figure for controllers."""

    alert_sinks_file: Path | None = None
    """A YAML file that says who can be told of alerts (docs/alerts.md), read again when it changes. Its URLs are
    secrets: mount a Secret. Without it alerts are Events and metrics alone."""

    alert_seconds: float = Field(default=5.0, gt=0.0)
    """How often alerts are looked for, in seconds."""

    alert_hold_seconds: float = Field(default=60.0, ge=0.0)
    """How long most things must hold before they alert, in seconds. Budgets have their shedSeconds instead, and pods at
    the power gate their policy's gate.deadlineSeconds."""

    alert_keep_seconds: float = Field(default=60.0, ge=0.0)
    """How long what alerts must be gone before the alert is over, in seconds."""

    alert_resend_seconds: float = Field(default=60.0, ge=1.0)
    """How often an Alertmanager hears of an active alert, in seconds. It takes one for over of which it has not heard
    for four times as long."""

    alert_timeout_seconds: float = Field(default=10.0, gt=0.0)
    """How long one request to a sink may take, in seconds."""

    alert_state_name: str = "wattkeeper-alerts"
    """Stem of the ConfigMaps that keep what is active and who was told."""

    listen_address: str = "127.0.0.1:9443"
    """host:port of the listener that the API server asks. Loopback by default, for trying by hand; the chart listens
    on every address, with TLS."""

    metrics_address: str = "127.0.0.1:8080"
    """host:port of /metrics, /healthz and /readyz, plain HTTP."""

    tls_certificate: Path | None = None
    """Our certificate chain, PEM, for the name that the webhook configuration gives. Looked at again with each
    handshake, so that a renewed one is taken up without a restart. Needed beyond loopback."""

    tls_key: Path | None = None
    """The key of tls_certificate, PEM."""

    certificate_secret: str = ""
    """The Secret, in the namespace, that keeps a certificate authority of our own and what it signs. It must be there,
    empty at first. Instead of tls_certificate."""

    certificate_names: tuple[Annotated[str, Field(pattern=r"^[0-9A-Za-z.:-]+$")], ...] = ()
    """Host names and IP addresses by which webhooks are called, a JSON list: that authority signs for them."""

    mutating_configuration: str = ""
    """The MutatingWebhookConfiguration whose caBundles are kept to that authority. None by default."""

    validating_configuration: str = ""
    """The ValidatingWebhookConfiguration whose caBundles are kept to it. None by default."""

    authority_days: float = Field(default=365.0, gt=0.0)
    """How long the authority lasts, in days. With a third of that left its successor is made, which signs from when
    every webhook configuration names it."""

    certificate_days: float = Field(default=30.0, gt=0.0)
    """How long what it signs lasts, in days; renewed with a third of that left."""

    certificate_poll_seconds: float = Field(default=10.0, ge=0.1)
    """How often each replica looks at the Secret and the configurations, in seconds."""

    certificate_settle_seconds: float = Field(default=300.0, gt=0.0)
    """How long it may take until every API server and replica knows of a change, in seconds: so long a new authority is
    named before it signs, and an old one after its successor does."""

    max_body_bytes: int = Field(default=3 * 2**20, ge=64 * 2**10)
    """The longest review that is read, in bytes: the API server itself takes no larger object. Longer ones get 413,
    and the webhook's failurePolicy decides."""

    deadline_seconds: float = Field(default=3.0, gt=0.0)
    """How long a review may take to arrive, in seconds. Less than the webhook configuration's timeoutSeconds, so that
    what is slow is seen here."""

    goodbye_seconds: float = Field(default=3.0, ge=0.0)
    """How long a stopping replica goes on answering once /readyz says no, in seconds: endpoints need a moment to
    go."""

    drain_seconds: float = Field(default=5.0, ge=0.0)
    """How long answers under way may take to finish after that, in seconds."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, on standard error."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both or neither")
        durations = (self.deadline_seconds, self.goodbye_seconds, self.drain_seconds, self.usage_seconds)
        alerting = (self.alert_seconds, self.alert_hold_seconds, self.alert_keep_seconds)
        requests = (self.alert_resend_seconds, self.alert_timeout_seconds)
        if not all(math.isfinite(one) for one in (*durations, *alerting, *requests, self.state_seconds)):
            raise ValueError("durations must be finite")
        self._certificates_fit()
        return self

    def _certificates_fit(self) -> None:
        if not self.certificate_secret:
            return
        if self.tls_certificate is not None:
            raise ValueError("certificate_secret and tls_certificate are two ways to the same: set one of them")
        if not self.certificate_names:
            raise ValueError("certificate_secret needs certificate_names: the host names that webhooks are called by")
        if not self.certificate_days <= self.authority_days <= _MOST_DAYS:
            raise ValueError(f"certificate_days is at most authority_days, and that at most {_MOST_DAYS:g}")
        # The last third of a life is what a rotation has.
        if not 2 * self.certificate_poll_seconds <= self.certificate_settle_seconds <= self.authority_days * _DAY / 9:
            raise ValueError(
                "certificate_settle_seconds is at least twice certificate_poll_seconds, and at most a ninth of "
                "authority_days"
            )
        if self.certificate_poll_seconds > self.certificate_days * _DAY / 9:
            raise ValueError("certificate_poll_seconds is at most a ninth of certificate_days")

    @property
    def certificates(self) -> CertificateFiles | None:
        """TLS files, None for plaintext."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return CertificateFiles(certificate=self.tls_certificate, key=self.tls_key)

    @property
    def certificate_keeper(self) -> KeeperOptions | None:
        """What to keep of certificates of our own; None where others do."""
        if not self.certificate_secret:
            return None
        named: tuple[tuple[WebhookKind, str], ...] = (
            ("MutatingWebhookConfiguration", self.mutating_configuration),
            ("ValidatingWebhookConfiguration", self.validating_configuration),
        )
        return KeeperOptions(
            namespace=self.namespace,
            secret=self.certificate_secret,
            configurations=tuple((kind, name) for kind, name in named if name),
            lives=Lives(
                names=self.certificate_names,
                authority_seconds=self.authority_days * _DAY,
                serving_seconds=self.certificate_days * _DAY,
            ),
            poll_seconds=self.certificate_poll_seconds,
            settle_seconds=self.certificate_settle_seconds,
        )
