"""`wattkeeper probe`: what a Prometheus or exporters offer, what is missing for control, and how to fix it."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import yaml
from rich.console import Console

from wattkeeper.cli.probe_report import Report, report, write_text
from wattkeeper.cluster.clock import Clock, SystemClock
from wattkeeper.power.readers import kepler
from wattkeeper.power.readers.diagnosis import Evidence
from wattkeeper.power.readers.errors import ReadError
from wattkeeper.power.readers.prometheus_api import Prometheus
from wattkeeper.power.readers.prometheus_reader import PrometheusReader
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.power.readers.scrape_reader import ScrapeReader
from wattkeeper.power.readers.settings import WINDOW_INTERVALS, ReaderSettings, Zones
from wattkeeper.power.readers.sources import KEPLER_NODES
from wattkeeper.power.readers.targets import Target

# Counters need two scrapes; with three, a reset between two of them still leaves one step.
_ROUNDS = 3
_SCRAPE_SECONDS = 5.0
_MISSING, _UNREACHABLE = 1, 2


class UnreachableError(click.ClickException):
    """Nothing answered; ends with status 2."""

    exit_code = _UNREACHABLE


@click.command()
@click.option("--prometheus", metavar="URL", help="Prometheus (or Thanos, Mimir, VictoriaMetrics) to ask.")
@click.option("--scrape", metavar="URL", multiple=True, help="An exporter's metrics to read directly; repeatable.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with a bearer token for Prometheus.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificates that sign Prometheus' own.",
)
@click.option(
    "--zones",
    type=click.Choice(["package+dram", "psys", "package"]),
    default="package+dram",
    show_default=True,
    help="RAPL zones that are summed.",
)
@click.option(
    "--interval", type=float, help="Seconds between scrapes. By default found out, or 5 between our own with --scrape."
)
@click.option("--window", type=float, help="Seconds that watts are averaged over; by default four intervals.")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Seconds for a round of reading.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
def probe(
    *,
    prometheus: str | None,
    scrape: tuple[str, ...],
    token_file: Path | None,
    ca_file: Path | None,
    zones: Zones,
    interval: float | None,
    window: float | None,
    timeout: float,
    output: str,
) -> None:
    """Says what a Prometheus or exporters offer, what is missing, and how to fix it.

    Reads as the recommender would, once (with --scrape three times, because watts are differences of counters), and
    changes nothing.

    \b
    Exit status:
      0  control is possible
      1  something essential is missing
      2  wrong usage, or nothing answers

    \b
    Examples:
      kubectl -n monitoring port-forward svc/prometheus-operated 9090 &
      wattkeeper probe --prometheus http://localhost:9090
      wattkeeper probe --prometheus https://thanos.example --token-file token -o json | jq .findings
      wattkeeper probe --scrape http://node-1:28282/metrics --scrape http://node-1:9400/metrics
    """  # noqa: D301 - click reads the backspace itself, as "leave these lines alone".
    if bool(prometheus) == bool(scrape):
        raise click.UsageError("Name either --prometheus URL or --scrape URL (repeatable).")
    try:
        settings = ReaderSettings(
            zones=zones, interval_seconds=interval, window_seconds=window, deadline_seconds=timeout
        )
        server = Prometheus(prometheus, token_file=token_file, ca_file=ca_file) if prometheus else None
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if server is not None:
        found = asyncio.run(_ask(server, prometheus or "", settings, SystemClock()))
    else:
        _check_urls(scrape)
        found = asyncio.run(_scrape(scrape, settings, SystemClock(), quiet=output != "table"))
    _write(found, output)
    if not found.controllable:
        sys.exit(_MISSING)


def _check_urls(urls: Sequence[str]) -> None:
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError(f"{url!r} is no URL: it should look like http://node-1:28282/metrics")


async def _ask(server: Prometheus, url: str, settings: ReaderSettings, clock: Clock) -> Report:
    reader = PrometheusReader(server, settings)
    now = clock.now()
    try:
        server.refresh_token()
        # First a query that costs nothing: whether anybody answers is a matter of the exit status.
        await reader.ask("vector(1)", now)
        interpreted = await reader.interpreted(ReadRequest(), now)
        zones = await reader.ask('count by (zone) ({__name__=~"kepler_node_cpu_(active_)?joules_total"})', now)
        versions = await reader.ask(f"count by (version) ({kepler.BUILD})", now)
    except ReadError as error:
        raise UnreachableError(f"{url}: {error}. Check the URL, and that it is reachable from here.") from error
    finally:
        await reader.close()
    detected = reader.detected
    scraped = settings.interval_seconds or detected.intervals.get(KEPLER_NODES, math.nan)
    evidence = Evidence(
        present=detected.present,
        zones={one.labels.zone for one in zones if one.labels.zone},
        intervals=detected.intervals,
        collect_seconds=detected.collect_seconds,
        window_seconds=settings.window_seconds
        or WINDOW_INTERVALS * (scraped if math.isfinite(scraped) else interpreted.measurements.interval_seconds),
        round=interpreted,
        now=now,
    )
    named = [one.labels.version for one in versions if one.labels.version]
    return report(evidence, settings, sources=(url,), versions=named)


async def _scrape(urls: Sequence[str], settings: ReaderSettings, clock: Clock, *, quiet: bool) -> Report:
    targets = [Target(url=url) for url in urls]
    reader = ScrapeReader(lambda: targets, settings)
    seconds = settings.interval_seconds or _SCRAPE_SECONDS
    if not quiet:
        click.echo(f"Scraping {_ROUNDS} times, {seconds:g} s apart...", err=True)
    try:
        now = clock.now()
        interpreted = await reader.interpreted(ReadRequest(), now)
        if not reader.names:
            raise UnreachableError(" ".join(interpreted.measurements.problems) or "The exporters expose nothing.")
        for _ in range(_ROUNDS - 1):
            await clock.sleep(seconds)
            now = clock.now()
            interpreted = await reader.interpreted(ReadRequest(), now)
    finally:
        await reader.close()
    nodes = (*interpreted.found.get(kepler.NODE_ACTIVE, ()), *interpreted.found.get(kepler.NODE_IDLE, ()))
    evidence = Evidence(
        present=reader.names,
        zones={one.labels.zone for one in nodes if one.labels.zone},
        intervals={"exporters": interpreted.measurements.interval_seconds},
        collect_seconds=math.nan,
        window_seconds=settings.window_seconds or WINDOW_INTERVALS * seconds,
        round=interpreted,
        now=now,
    )
    versions = [one.labels.version for one in interpreted.found.get(kepler.BUILD, ()) if one.labels.version]
    return report(evidence, settings, sources=urls, versions=versions)


def _write(found: Report, output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(msgspec.to_builtins(found), sort_keys=False, allow_unicode=True), nl=False)
    else:
        write_text(found, Console(highlight=False))
