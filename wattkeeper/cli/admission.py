"""`wattkeeper admission`: webhooks that set requests on new pods, send them to the power gate, and check objects."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click

from admission.alert_keeper import AlertOptions
from admission.alert_sinks import SinksFile
from admission.alerts import alerting
from admission.certificate_keeper import kept_certificates
from admission.errors import AdmissionError, SettingsError
from admission.lease import LeaseOptions, renewed_lease
from admission.metrics import AdmissionMetrics
from admission.mutate import PodMutator
from admission.scale_advice import ScaleAdvisor
from admission.server import UNREADY, AdmissionServer, ServerOptions, Webhook
from admission.settings import AdmissionSettings
from admission.tls import Certificates, ReloadingCertificates
from admission.usage import collected_usage
from admission.usage_collector import UsageOptions
from admission.usage_history import HistoryOptions, UsageHistory
from admission.validate import ObjectValidator
from admission.view import AdmissionView
from wattkeeper.cli.service import process_registry, read_settings, run_service, told_to_stop
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.clock import Clock, SystemClock
from wattkeeper.cluster.credentials import find_credentials
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import WATCHED_BY_ADMISSION
from wattkeeper.power.readers.prometheus_api import Prometheus
from wattkeeper.serving.errors import ServingError
from wattkeeper.serving.pages import MetricsPage

LOG = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--listen-address", metavar="HOST:PORT", help="Where the API server asks (HTTPS).")
@click.option("--metrics-address", metavar="HOST:PORT", help="Where /metrics, /healthz and /readyz are.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="Our certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option("--prometheus-url", metavar="URL", help="Prometheus with cAdvisor's series, for usage before now.")
@click.option("--alert-sinks-file", type=click.Path(path_type=Path), help="Who can be told of alerts, YAML.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="A kubeconfig; in a pod none is needed.")
@click.option("--context", help="A context of the kubeconfig.")
@click.option("--namespace", help="Namespace of the Lease and the learned usage.")
@click.option("--identity", help="Who this replica is; no two may share it.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def admission(**options: object) -> None:
    """Runs the admission plugin.

    New pods of services under a policy get requests from what their containers have used, and in enforcing modes wait
    at the power gate until the leader grants their watts. Budgets and policies that contradict themselves are refused,
    with what to do. Any number of replicas may run: each answers from memory.
    Each option, and more settings, can be given as an environment variable: --tls-key is WATTKEEPER_TLS_KEY.

    \b
    Examples:
      wattkeeper admission
          with your kubeconfig, over plain HTTP on loopback, to try it by hand:
          curl --data @review.json http://127.0.0.1:9443/mutate-pods
      wattkeeper admission --listen-address '[::]:9443'
          --tls-certificate tls.crt --tls-key tls.key
      WATTKEEPER_PROMETHEUS_URL=http://localhost:9090 wattkeeper admission
          first requests from Prometheus' history instead of days of samples
    """  # noqa: D301 - click wants the control character.
    settings = read_settings(AdmissionSettings, options)
    run_service(run(settings), log_level=settings.log_level, expected=(AdmissionError, ClusterError, ServingError))


async def run(settings: AdmissionSettings) -> None:
    """Runs until SIGTERM or SIGINT, then drains.

    Raises:
        SettingsError: a setting cannot be used.
        AddressError: an address means nothing or cannot be bound.
        ClusterError: the cluster cannot be watched.
    """
    clock = SystemClock()
    registry = process_registry()
    metrics = AdmissionMetrics(registry)
    certificates: Certificates | None = None
    if settings.certificates is not None:
        certificates = ReloadingCertificates(settings.certificates)
    history = _history(settings, clock)
    sinks = SinksFile(settings.alert_sinks_file)
    cluster = KubernetesCluster(
        find_credentials(settings.kubeconfig, settings.context),
        clock=clock,
        registry=registry,
        kinds=WATCHED_BY_ADMISSION,
        instance=settings.identity,
    )
    servers: list[AdmissionServer] = []
    pages = MetricsPage(
        registry,
        address=settings.metrics_address,
        ready=lambda: any(server.ready() for server in servers),
        unready=UNREADY,
    )
    # What was entered last is left first: the listener drains while usage and caches are still there, and what one
    # replica alone keeps is kept while it still holds the Lease.
    async with AsyncExitStack() as running:
        await pages.start()
        running.push_async_callback(pages.stop)
        running.push_async_callback(cluster.stop)
        await cluster.start()
        metrics.view_staleness_seconds.set_function(lambda: cluster.view.staleness_seconds(clock.now()))
        leadership = await running.enter_async_context(
            renewed_lease(
                cluster=cluster,
                clock=clock,
                options=LeaseOptions(
                    holder=settings.identity,
                    namespace=settings.namespace,
                    name=settings.lease_name,
                    duration_seconds=settings.lease_seconds,
                ),
            )
        )
        estimates = await running.enter_async_context(
            collected_usage(
                cluster=cluster,
                clock=clock,
                registry=registry,
                leadership=leadership,
                options=UsageOptions(
                    namespace=settings.namespace,
                    state_name=settings.state_name,
                    interval_seconds=settings.usage_seconds,
                    keep_seconds=settings.state_seconds,
                ),
                history=history,
            )
        )
        await running.enter_async_context(
            alerting(
                cluster=cluster,
                clock=clock,
                registry=registry,
                leadership=leadership,
                file=sinks,
                options=_alert_options(settings),
            )
        )
        keeper = settings.certificate_keeper
        if keeper is not None:
            certificates = await running.enter_async_context(
                kept_certificates(cluster=cluster, clock=clock, registry=registry, options=keeper)
            )
        view = AdmissionView(cluster.view)
        webhooks: Mapping[str, Webhook] = {
            "/mutate-pods": PodMutator(view, estimates, clock, metrics),
            "/validate": ObjectValidator(view, lambda: sinks.sinks.names),
            "/advise-on-replicas": ScaleAdvisor(view, clock),
        }
        server = AdmissionServer(
            webhooks,
            synced=cluster.view.synced,
            clock=clock,
            metrics=metrics,
            options=_server_options(settings, certificates),
        )
        await server.start()
        running.push_async_callback(server.drain)
        servers.append(server)
        # The caches stay for good; looking through them for garbage would stop all answers for tens of milliseconds.
        gc.collect()
        gc.freeze()
        running.callback(gc.unfreeze)
        await told_to_stop()
        LOG.info("stopping")


def _history(settings: AdmissionSettings, clock: Clock) -> UsageHistory | None:
    if not settings.prometheus_url:
        return None
    try:
        prometheus = Prometheus(
            settings.prometheus_url, token_file=settings.prometheus_token_file, ca_file=settings.prometheus_ca_file
        )
    except ValueError as error:
        raise SettingsError(f"WATTKEEPER_PROMETHEUS_URL: {error}") from error
    return UsageHistory(prometheus, clock=clock, options=HistoryOptions(days=settings.history_days))


def _alert_options(settings: AdmissionSettings) -> AlertOptions:
    return AlertOptions(
        namespace=settings.namespace,
        state_name=settings.alert_state_name,
        interval_seconds=settings.alert_seconds,
        hold_seconds=settings.alert_hold_seconds,
        keep_seconds=settings.alert_keep_seconds,
        resend_seconds=settings.alert_resend_seconds,
        timeout_seconds=settings.alert_timeout_seconds,
    )


def _server_options(settings: AdmissionSettings, certificates: Certificates | None) -> ServerOptions:
    return ServerOptions(
        address=settings.listen_address,
        certificates=certificates,
        max_body_bytes=settings.max_body_bytes,
        deadline_seconds=settings.deadline_seconds,
        goodbye_seconds=settings.goodbye_seconds,
        drain_seconds=settings.drain_seconds,
    )
