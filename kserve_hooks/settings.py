"""What can be set about the actuator: environment variables WATTKEEPER_*, and the command's main options."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ActuatorSettings(BaseSettings):
    """Settings of `wattkeeper actuator`. Each is an environment variable: its name in capitals, after WATTKEEPER_."""

    model_config = SettingsConfigDict(
        env_prefix="WATTKEEPER_", env_ignore_empty=True, use_attribute_docstrings=True, frozen=True, extra="forbid"
    )

    identity: str = Field(default_factory=socket.gethostname, min_length=1)
    """Who this replica is, in the Lease and in Events; no two replicas may share it. The host's name (in a pod, the
    pod's) by default."""

    namespace: str = Field(default="wattkeeper", min_length=1)
    """Namespace of the Lease. The chart sets the release's."""

    kubeconfig: Path | None = None
    """A kubeconfig file. Without it the pod's service account is used, and outside of a pod KUBECONFIG or
    ~/.kube/config."""

    context: str | None = None
    """A context of the kubeconfig; its current one by default."""

    metrics_address: str = "127.0.0.1:8080"
    """host:port of /metrics, /healthz and /readyz, plain HTTP."""

    scaler_address: str = Field(default="wattkeeper.wattkeeper.svc:9090", min_length=3)
    """host:port where KEDA finds Wattkeeper's scaler, for ScaledObjects of the actuator's own. The chart sets its
    Service."""

    scaler_tls: bool = False
    """KEDA asks the scaler over TLS. The chart sets it with tls.enabled."""

    trigger_authentication: str = ""
    """A ClusterTriggerAuthentication with the scaler's certificate authority. The chart sets its own."""

    scaler_check: bool = True
    """The actuator asks the scaler by itself whether it serves, and brakes while it does not. Without, it goes by what
    KEDA says of ScaledObjects. The chart switches it off where the scaler asks clients for a certificate, or has one of
    an authority that the chart does not know."""

    scaler_authority_file: Path | None = None
    """PEM file with the authority of the scaler's certificate, for that question; the system's own by default. The
    chart mounts its own."""

    scaler_check_seconds: float = Field(default=2.0, ge=0.1)
    """How often it asks, in seconds."""

    scaler_down_seconds: float = Field(default=5.0, ge=0.0)
    """After how long without an answer, and at least three failures in a row, the brake acts, in seconds."""

    scaler_up_seconds: float = Field(default=10.0, ge=0.0)
    """How long the scaler must have answered again before the brake comes off, in seconds."""

    polling_seconds: int = Field(default=15, ge=1, le=3600)
    """How often KEDA asks about services of ScaledObjects of the actuator's own, in seconds."""

    lease_name: str = Field(default="wattkeeper-actuator", min_length=1)
    """The Lease that says which replica acts."""

    lease_seconds: int = Field(default=15, ge=4)
    """How long others wait after the holder's last renewal, in seconds: client-go's own figure for controllers."""

    pass_seconds: float = Field(default=2.0, gt=0.0)
    """How often all services are looked at, in seconds. A lower ceiling waits for the next pass and no longer."""

    warm_up_seconds: float = Field(default=10.0, ge=0.0)
    """How long caches must have been complete, with this replica leading, before anything is written, in seconds."""

    raise_seconds: float = Field(default=30.0, ge=0.0)
    """How long a ceiling must have been lower than it could be before it rises, in seconds. Down it comes at once."""

    stale_seconds: float = Field(default=15.0, gt=0.0)
    """Budgets that nobody has evaluated for longer, in seconds, let no ceiling rise. The scaler's
    WATTKEEPER_STALE_TICKS times WATTKEEPER_TICK_SECONDS. Twice as long is waited until an evicted pod that is gone has
    lessened nothing (mode Kill)."""

    revert_limit: int = Field(default=3, ge=1)
    """So many times in a row somebody may put back what the actuator writes; then it stops writing and says so."""

    revert_pause_seconds: float = Field(default=600.0, ge=1.0)
    """After which it tries once more, in seconds."""

    disruptions_per_minute: float = Field(default=30.0, ge=0.0)
    """So many pods of all services together may be evicted or moved in a minute; 0 means none. Nothing is saved up: a
    leader that begins waits as if it had just evicted one."""

    disruptions_per_minute_and_budget: float = Field(default=10.0, ge=0.0)
    """The same for pods that go for the same budget."""

    kill_limit: int = Field(default=3, ge=1)
    """After so many evictions in a row that lessen nothing no more pods of a service are evicted, until the violation
    is over (mode Kill)."""

    migrations_at_once: int = Field(default=4, ge=1, le=64)
    """How many pods may move at the same time (modes Migrate and Kill); of each service and away from each budget it is
    one."""

    migration_pause_seconds: float = Field(default=300.0, ge=0.0, le=14_400.0)
    """After a migration, how long none of the same service or away from the same budget begins, in seconds. Each
    further failure in a row doubles it, up to four hours."""

    migration_keep_seconds: float = Field(default=86_400.0, ge=14_400.0)
    """How long a PowerMigration that has ended is kept, in seconds; ten of each service at most. Pauses are counted
    from them."""

    write_concurrency: int = Field(default=8, ge=1, le=64)
    """How many services are written at the same time."""

    restore_seconds: float = Field(default=120.0, gt=0.0)
    """How long `--restore` may take, in seconds."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, on standard error."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        durations = (self.pass_seconds, self.warm_up_seconds, self.raise_seconds, self.stale_seconds)
        durations += (self.disruptions_per_minute, self.disruptions_per_minute_and_budget)
        durations += (self.migration_pause_seconds, self.migration_keep_seconds)
        durations += (self.scaler_check_seconds, self.scaler_down_seconds, self.scaler_up_seconds)
        if not all(math.isfinite(one) for one in (*durations, self.revert_pause_seconds, self.restore_seconds)):
            raise ValueError("durations and rates must be finite")
        host, separator, port = self.scaler_address.rpartition(":")
        if not separator or not host or not port.isdecimal():
            raise ValueError("scaler_address must be host:port, such as wattkeeper.wattkeeper.svc:9090")
        if self.scaler_check and self.scaler_authority_file is not None and not self.scaler_authority_file.is_file():
            raise ValueError(f"scaler_authority_file {self.scaler_authority_file} is no file: check the mounted secret")
        return self
