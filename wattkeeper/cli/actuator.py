"""`wattkeeper actuator`: keeps KServe's services below the ceilings that recommendations give."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

import click

from kserve_hooks.errors import ActuatorError
from kserve_hooks.kill import KillOptions
from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.migrate import MigrationOptions
from kserve_hooks.migrate_pauses import PauseOptions
from kserve_hooks.outage import OutageOptions
from kserve_hooks.plan import PlanOptions
from kserve_hooks.rates import RateOptions
from kserve_hooks.reverts import RevertOptions
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.scaler_check import ScalerCheck
from kserve_hooks.service import ActuatorOptions, ActuatorService, Rehearsal, ScalerAnswers
from kserve_hooks.settings import ActuatorSettings
from wattkeeper.cli.service import process_registry, read_settings, run_service, told_to_stop
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.clock import SystemClock
from wattkeeper.cluster.credentials import find_credentials
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import WATCHED_BY_ACTUATOR
from wattkeeper.serving.errors import ServingError
from wattkeeper.serving.pages import MetricsPage

LOG = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--restore", is_flag=True, help="Put everything back as users had it, and end.")
@click.option("--scaler-address", metavar="HOST:PORT", help="Where KEDA finds Wattkeeper's scaler.")
@click.option("--metrics-address", metavar="HOST:PORT", help="Where /metrics, /healthz and /readyz are.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="A kubeconfig; in a pod none is needed.")
@click.option("--context", help="A context of the kubeconfig.")
@click.option("--namespace", help="Namespace of the Lease.")
@click.option("--identity", help="Who this replica is; no two may share it.")
@click.option("--pass-seconds", type=float, help="How often services are looked at.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def actuator(*, dry_run: bool, restore: bool, **options: object) -> None:
    """Runs the actuator.

    One replica at a time writes the ceilings of KServe's services. Each option, and many settings more, can be given as
    an environment variable: --pass-seconds is WATTKEEPER_PASS_SECONDS.

    \b
    Examples:
      wattkeeper actuator --dry-run
          what it would do in the cluster of your kubeconfig
      wattkeeper actuator --restore
          put everything back before Wattkeeper is removed; helm uninstall does it by itself
    """  # noqa: D301 - click wants the control character.
    if dry_run and restore:
        raise click.UsageError("--dry-run and --restore exclude each other.")
    settings = read_settings(ActuatorSettings, options)
    service: Coroutine[None, None, None]
    if restore:
        service = put_back(settings)
    elif dry_run:
        service = rehearse(settings)
    else:
        service = run(settings)
    run_service(service, log_level=settings.log_level, expected=(ActuatorError, ClusterError, ServingError))


async def run(settings: ActuatorSettings) -> None:
    """Runs until SIGTERM or SIGINT, then gives the Lease up.

    Raises:
        AddressError: an address means nothing or cannot be bound.
        ClusterError: the cluster cannot be watched.
    """
    clock = SystemClock()
    registry = process_registry()
    metrics = ActuatorMetrics(registry)
    cluster = KubernetesCluster(
        find_credentials(settings.kubeconfig, settings.context),
        clock=clock,
        registry=registry,
        kinds=WATCHED_BY_ACTUATOR,
        instance=settings.identity,
    )
    pages = MetricsPage(
        registry,
        address=settings.metrics_address,
        ready=cluster.view.synced,
        unready="caches are not complete, or a watch is broken",
    )
    async with AsyncExitStack() as running:
        await pages.start()
        running.push_async_callback(pages.stop)
        running.push_async_callback(cluster.stop)
        await cluster.start()
        metrics.view_staleness_seconds.set_function(lambda: cluster.view.staleness_seconds(clock.now()))
        service = ActuatorService(
            cluster=cluster,
            clock=clock,
            metrics=metrics,
            options=service_options(settings),
            scaler_answers=_scaler_answers(settings),
        )
        await _until_stopped(service.run())


async def rehearse(settings: ActuatorSettings) -> None:
    """Prints what would be done until SIGTERM or SIGINT.

    Raises:
        ClusterError: the cluster cannot be watched.
    """
    clock = SystemClock()
    cluster = _plain_cluster(settings, clock)
    try:
        await cluster.start()
        rehearsal = Rehearsal(
            cluster=cluster,
            clock=clock,
            options=service_options(settings),
            scaler_answers=_scaler_answers(settings),
            say=click.echo,
        )
        await _until_stopped(rehearsal.run())
    finally:
        await cluster.stop()


async def put_back(settings: ActuatorSettings) -> None:
    """Puts everything back and ends.

    Raises:
        ClusterError: the cluster cannot be watched.
        RestoreError: not all could be put back in time.
    """
    clock = SystemClock()
    cluster = _plain_cluster(settings, clock)
    try:
        await cluster.start()
        metrics = ActuatorMetrics(process_registry())
        service = ActuatorService(
            cluster=cluster,
            clock=clock,
            metrics=metrics,
            options=service_options(settings),
            scaler_answers=_scaler_answers(settings),
        )
        await service.restore()
    finally:
        await cluster.stop()


def service_options(settings: ActuatorSettings) -> ActuatorOptions:
    """Returns settings as the service takes them."""
    return ActuatorOptions(
        namespace=settings.namespace,
        holder=settings.identity,
        lease_name=settings.lease_name,
        lease_seconds=settings.lease_seconds,
        pass_seconds=settings.pass_seconds,
        warm_up_seconds=settings.warm_up_seconds,
        stale_seconds=settings.stale_seconds,
        concurrency=settings.write_concurrency,
        restore_seconds=settings.restore_seconds,
        check_seconds=settings.scaler_check_seconds,
        plan=PlanOptions(
            trigger=TriggerOptions(
                address=settings.scaler_address,
                tls=settings.scaler_tls,
                authentication=settings.trigger_authentication,
                polling_seconds=settings.polling_seconds,
            ),
            reverts=RevertOptions(limit=settings.revert_limit, pause_seconds=settings.revert_pause_seconds),
            outage=OutageOptions(down_seconds=settings.scaler_down_seconds, up_seconds=settings.scaler_up_seconds),
            raise_seconds=settings.raise_seconds,
            rates=RateOptions(
                per_minute=settings.disruptions_per_minute,
                per_minute_and_budget=settings.disruptions_per_minute_and_budget,
            ),
            # An effect shows with the next decision, whose age has its limit.
            kill=KillOptions(limit=settings.kill_limit, settle_seconds=2 * settings.stale_seconds),
            migrations=MigrationOptions(
                at_once=settings.migrations_at_once,
                pauses=PauseOptions(
                    first_seconds=settings.migration_pause_seconds, keep_seconds=settings.migration_keep_seconds
                ),
            ),
        ),
    )


def _scaler_answers(settings: ActuatorSettings) -> ScalerAnswers:
    if not settings.scaler_check:
        return _not_asked
    check = ScalerCheck(
        address=settings.scaler_address, tls=settings.scaler_tls, authority=settings.scaler_authority_file
    )
    return check.answers


async def _not_asked() -> bool:
    """What KEDA says decides alone."""
    return True


def _plain_cluster(settings: ActuatorSettings, clock: SystemClock) -> KubernetesCluster:
    return KubernetesCluster(
        find_credentials(settings.kubeconfig, settings.context),
        clock=clock,
        registry=process_registry(),
        kinds=WATCHED_BY_ACTUATOR,
        instance=settings.identity,
    )


async def _until_stopped(service: Coroutine[None, None, None]) -> None:
    acting = asyncio.create_task(service, name="actuator")
    stopping = asyncio.create_task(told_to_stop(), name="signals")
    try:
        await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
        LOG.info("stopping")
    finally:
        acting.cancel()
        stopping.cancel()
        ended = await asyncio.gather(acting, stopping, return_exceptions=True)
    for one in ended:
        if isinstance(one, Exception):
            raise one
