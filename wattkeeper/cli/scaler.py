"""`wattkeeper scaler`: the recommender service and KEDA's external scaler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import click

from scaler.answers import Answers
from scaler.errors import ScalerError, SettingsError
from scaler.metrics import ScalerMetrics
from scaler.server import ScalerServer, ServerOptions
from scaler.service import RecommenderService, ServiceOptions
from scaler.settings import ScalerSettings
from wattkeeper.algorithms.errors import AlgorithmError
from wattkeeper.algorithms.registry import create
from wattkeeper.cli.service import process_registry, read_settings, run_service, told_to_stop
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.clock import SystemClock
from wattkeeper.cluster.credentials import find_credentials
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.power.readers.prometheus_api import Prometheus
from wattkeeper.power.readers.prometheus_reader import PrometheusReader
from wattkeeper.power.readers.reader import Reader
from wattkeeper.power.readers.scrape_reader import ScrapeReader
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.targets import Target
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender
from wattkeeper.serving.errors import ServingError
from wattkeeper.serving.pages import MetricsPage

LOG = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--prometheus-url", metavar="URL", help="Prometheus with Kepler's, DCGM's and vLLM's series.")
@click.option("--listen-address", metavar="HOST:PORT", help="Where KEDA asks (gRPC).")
@click.option("--metrics-address", metavar="HOST:PORT", help="Where /metrics, /healthz and /readyz are.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="Our certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option("--tls-client-ca", type=click.Path(path_type=Path), help="Who signs clients' certificates, PEM.")
@click.option("--insecure", is_flag=True, default=None, help="Serve plaintext also beyond loopback.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="A kubeconfig; in a pod none is needed.")
@click.option("--context", help="A context of the kubeconfig.")
@click.option("--namespace", help="Namespace of the Lease and the learned model.")
@click.option("--identity", help="Who this replica is; no two may share it.")
@click.option("--tick-seconds", type=float, help="How often the leader decides.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def scaler(**options: object) -> None:
    """Runs the recommender and KEDA's external scaler.

    One replica at a time decides how many replicas each service may run; every replica tells KEDA. Each option, and
    many settings more, can be given as an environment variable: --tick-seconds is WATTKEEPER_TICK_SECONDS.

    \b
    Examples:
      wattkeeper scaler --prometheus-url http://localhost:9090
          with your kubeconfig, answering on loopback only
      wattkeeper scaler --listen-address '[::]:9090'
          --tls-certificate tls.crt --tls-key tls.key --tls-client-ca ca.crt
      WATTKEEPER_SCRAPE_URLS='["http://10.0.0.5:28282/metrics"]' wattkeeper scaler
    """  # noqa: D301 - click wants the control character.
    settings = read_settings(ScalerSettings, options)
    run_service(run(settings), log_level=settings.log_level, expected=(ScalerError, ClusterError, ServingError))


async def run(settings: ScalerSettings) -> None:
    """Runs until SIGTERM or SIGINT, then hands over and drains.

    Raises:
        SettingsError: a setting cannot be used.
        AddressError: an address means nothing or cannot be bound.
        ClusterError: the cluster cannot be watched.
    """
    clock = SystemClock()
    registry = process_registry()
    metrics = ScalerMetrics(registry)
    new_recommender = _recommenders(settings)
    reader = _reader(settings)
    cluster = KubernetesCluster(
        find_credentials(settings.kubeconfig, settings.context),
        clock=clock,
        registry=registry,
        instance=settings.identity,
    )
    servers: list[ScalerServer] = []
    pages = MetricsPage(
        registry,
        address=settings.metrics_address,
        ready=lambda: any(server.serving for server in servers),
        unready="no complete plan yet, or stopping",
    )
    await pages.start()
    try:
        await cluster.start()
        server = ScalerServer(cluster.view, _answers(cluster, settings), clock, metrics, _server_options(settings))
        service = RecommenderService(
            cluster=cluster,
            reader=reader,
            collector=ReadingsCollector(cluster.view),
            new_decider=new_recommender,
            clock=clock,
            metrics=metrics,
            options=_service_options(settings),
        )
        await server.start()
        servers.append(server)
        await _until_stopped(service, server)
    finally:
        await cluster.stop()
        await reader.close()
        await pages.stop()


async def _until_stopped(service: RecommenderService, server: ScalerServer) -> None:
    deciding = asyncio.create_task(service.run(), name="recommender")
    stopping = asyncio.create_task(told_to_stop(), name="signals")
    try:
        await asyncio.wait([deciding, stopping], return_when=asyncio.FIRST_COMPLETED)
        LOG.info("stopping")
    finally:
        # The Lease first: the next leader decides while we are still answering.
        deciding.cancel()
        stopping.cancel()
        ended = await asyncio.gather(deciding, stopping, return_exceptions=True)
        await server.drain()
    for one in ended:
        if isinstance(one, Exception):
            raise one


def _recommenders(settings: ScalerSettings) -> Callable[[], Recommender]:
    recommender_settings = RecommenderSettings(
        actuation_window_seconds=settings.actuation_window_seconds,
        warm_up_ticks=settings.warm_up_ticks,
        nearly_used_up_share=settings.nearly_used_up_share,
        headroom_share=settings.headroom_share,
        settled_seconds=settings.settled_seconds,
    )
    try:
        create(settings.algorithm, {})  # Said at the start, not when this replica first leads.
    except AlgorithmError as error:
        raise SettingsError(f"WATTKEEPER_ALGORITHM: {error}") from error
    return lambda: Recommender(recommender_settings, create(settings.algorithm, {}))


def _reader(settings: ScalerSettings) -> Reader:
    reader_settings = ReaderSettings(zones=settings.zones, deadline_seconds=settings.read_seconds)
    if not settings.prometheus_url:
        if not settings.scrape_urls:
            LOG.warning("neither WATTKEEPER_PROMETHEUS_URL nor WATTKEEPER_SCRAPE_URLS is set: nothing will be raised")
        targets = [Target(url=url) for url in settings.scrape_urls]
        return ScrapeReader(lambda: targets, reader_settings)
    try:
        prometheus = Prometheus(
            settings.prometheus_url, token_file=settings.prometheus_token_file, ca_file=settings.prometheus_ca_file
        )
    except ValueError as error:
        raise SettingsError(f"WATTKEEPER_PROMETHEUS_URL: {error}") from error
    return PrometheusReader(prometheus, reader_settings)


def _answers(cluster: KubernetesCluster, settings: ScalerSettings) -> Answers:
    return Answers(
        cluster.view,
        server_minor=cluster.server_minor,
        stale_seconds=settings.stale_ticks * settings.tick_seconds,
        cluster_tolerance=settings.hpa_tolerance,
    )


def _server_options(settings: ScalerSettings) -> ServerOptions:
    return ServerOptions(
        address=settings.listen_address,
        certificates=settings.certificates,
        insecure=settings.insecure,
        max_streams=settings.max_streams,
        goodbye_seconds=settings.goodbye_seconds,
        drain_seconds=settings.drain_seconds,
    )


def _service_options(settings: ScalerSettings) -> ServiceOptions:
    return ServiceOptions(
        namespace=settings.namespace,
        holder=settings.identity,
        lease_name=settings.lease_name,
        lease_seconds=settings.lease_seconds,
        state_name=settings.state_name,
        state_seconds=settings.state_seconds,
        tick_seconds=settings.tick_seconds,
        write_concurrency=settings.write_concurrency,
        gate_concurrency=settings.gate_concurrency,
        stale_seconds=settings.stale_ticks * settings.tick_seconds,
    )
