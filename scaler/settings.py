"""What can be set about the scaler: environment variables WATTKEEPER_*, and the command's main options."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from scaler.tls import CertificateFiles


class ScalerSettings(BaseSettings):
    """Settings of `wattkeeper scaler`. Each is an environment variable: its name in capitals, after WATTKEEPER_."""

    model_config = SettingsConfigDict(
        env_prefix="WATTKEEPER_", env_ignore_empty=True, use_attribute_docstrings=True, frozen=True, extra="forbid"
    )

    identity: str = Field(default_factory=socket.gethostname, min_length=1)
    """Who this replica is, in the Lease and in Events; no two replicas may share it. The host's name (in a pod, the
    pod's) by default."""

    namespace: str = Field(default="wattkeeper", min_length=1)
    """Namespace of the Lease and of the ConfigMaps with the learned power model. The chart sets the release's."""

    kubeconfig: Path | None = None
    """A kubeconfig file. Without it the pod's service account is used, and outside of a pod KUBECONFIG or
    ~/.kube/config."""

    context: str | None = None
    """A context of the kubeconfig; its current one by default."""

    prometheus_url: str = ""
    """Prometheus that has Kepler's, dcgm-exporter's and vLLM's series, such as http://prometheus.monitoring:9090.
    Without it, or scrape_urls, nothing is measured and nothing is ever raised."""

    prometheus_token_file: Path | None = None
    """A bearer token for Prometheus, read again for every round because tokens are replaced. None by default."""

    prometheus_ca_file: Path | None = None
    """Certificates that sign Prometheus' own; the system's by default."""

    scrape_urls: tuple[str, ...] = ()
    """Exporters to scrape directly instead, a JSON list of URLs: for clusters without Prometheus. PromQL of policies
    and budgets cannot be evaluated then."""

    zones: Literal["package+dram", "psys", "package"] = "package+dram"
    """RAPL zones whose watts are summed: psys where machines have it, because it holds everything."""

    read_seconds: float = Field(default=4.0, gt=0.0)
    """How long a round of readings may take, in seconds; the tick goes on with what has come. Less than
    tick_seconds, so that rounds do not pile up."""

    listen_address: str = "127.0.0.1:9090"
    """host:port of the gRPC listener that KEDA asks. Loopback by default, because plaintext beyond it must be asked
    for; the chart listens on every address, with TLS."""

    metrics_address: str = "127.0.0.1:8080"
    """host:port of /metrics, /healthz and /readyz, plain HTTP."""

    tls_certificate: Path | None = None
    """Our certificate chain, PEM. It must carry the host of the triggers' scalerAddress. Looked at again with each
    handshake, so that a renewed one is taken up without a restart."""

    tls_key: Path | None = None
    """The key of tls_certificate, PEM."""

    tls_client_ca: Path | None = None
    """Who signs the certificates that clients must show, PEM. None by default: any client may ask."""

    insecure: bool = False
    """Serve plaintext also beyond loopback."""

    max_streams: int = Field(default=20_000, ge=1)
    """Streams (triggers of type external-push hold two each) that one replica serves; more are refused."""

    goodbye_seconds: float = Field(default=3.0, ge=0.0)
    """How long a stopping replica goes on answering after it said NOT_SERVING, in seconds: clients need a moment to
    notice."""

    drain_seconds: float = Field(default=5.0, ge=0.0)
    """How long calls in flight may take to finish after that, in seconds."""

    tick_seconds: float = Field(default=5.0, gt=0.0)
    """How often the leader decides, in seconds. A third of the HPA's own 15 s, so that each sync finds a new
    decision."""

    stale_ticks: float = Field(default=3.0, ge=2.0)
    """A replica that has not seen a decision for this many ticks raises nothing, and opens no power gate. At least 2,
    because statuses are written every second tick."""

    lease_name: str = "wattkeeper-scaler"
    """The Lease that says who decides."""

    lease_seconds: int = Field(default=15, ge=4)
    """How long others wait after the leader's last renewal, in seconds: client-go's own figure for controllers."""

    state_name: str = "wattkeeper-model"
    """Stem of the ConfigMaps that keep the learned power model."""

    state_seconds: float = Field(default=60.0, gt=0.0)
    """How often the learned power model is written, in seconds; what is younger is learned again after a crash."""

    write_concurrency: int = Field(default=8, ge=1, le=64)
    """Writes to the API server at the same time. Its own fairness allots a client only so many."""

    gate_concurrency: int = Field(default=16, ge=1, le=64)
    """Power gates that are opened at the same time. More than writes, because somebody waits for each pod to start."""

    algorithm: str = "priority-fair-share"
    """The built-in algorithm that proposes who gets which watts."""

    actuation_window_seconds: float = Field(default=60.0, gt=0.0)
    """How long an autoscaler may still act on a number that was lowered since, in seconds: one KEDA poll (30 s) and two
    HPA syncs (15 s each). Raise it with longer polling intervals."""

    warm_up_ticks: int = Field(default=3, ge=1)
    """Ticks with complete caches before a new leader changes anything."""

    nearly_used_up_share: float = Field(default=0.9, gt=0.0, le=1.0)
    """Pods could move away from a budget of whose limit more than this share is guarded (modes Migrate and Kill)."""

    headroom_share: float = Field(default=0.8, gt=0.0, le=1.0)
    """They move to where all budgets stay below this share. It is less than WATTKEEPER_NEARLY_USED_UP_SHARE, or pods
    would go back and forth."""

    settled_seconds: float = Field(default=600.0, ge=0.0)
    """A younger pod moves nowhere, in seconds: wherever it came from, it has only just arrived."""

    hpa_tolerance: float = Field(default=0.1, ge=0.0, lt=1.0)
    """The controller manager's --horizontal-pod-autoscaler-tolerance, as a fraction; in force where a ScaledObject
    sets none of its own."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, on standard error."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca without tls_certificate: clients can be checked over TLS alone")
        if self.prometheus_url and self.scrape_urls:
            raise ValueError("prometheus_url and scrape_urls exclude each other: set one")
        if self.read_seconds >= self.tick_seconds:
            raise ValueError("read_seconds must be less than tick_seconds, else rounds pile up")
        if self.headroom_share >= self.nearly_used_up_share:
            raise ValueError("headroom_share must be less than nearly_used_up_share, else pods go back and forth")
        durations = (self.tick_seconds, self.state_seconds, self.drain_seconds, self.settled_seconds)
        if not all(map(math.isfinite, durations)):
            raise ValueError("durations must be finite")
        return self

    @property
    def certificates(self) -> CertificateFiles | None:
        """TLS files, None for plaintext."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return CertificateFiles(certificate=self.tls_certificate, key=self.tls_key, client_ca=self.tls_client_ca)
