"""What `wattkeeper probe` found, as a structure that scripts can rely on, and as text.

Fields of -o json and -o yaml are only ever added, never renamed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wattkeeper.api.readings import Column, PodKey
from wattkeeper.power.readers import kepler, legacy_kepler
from wattkeeper.power.readers.diagnosis import Evidence, Finding, Level, diagnose, servers
from wattkeeper.power.readers.settings import ReaderSettings


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity.

    Attributes:
        count: nodes or pods that it is known for.
        youngest_seconds, oldest_seconds: ages of its samples; null without any.
    """

    count: int
    youngest_seconds: float | None
    oldest_seconds: float | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, see wattkeeper.power.readers.diagnosis.Finding."""

    level: Level
    what: str
    fix: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        controllable: nothing essential is missing.
        sources: URLs that were asked.
        kepler: "0.10+", "legacy", "both" or "none".
        kepler_versions: as Kepler says, where it does.
        zones, zones_read: RAPL zones seen, and those that are summed.
        gpu_source: "dcgm-exporter", "Kepler", "dcgm-exporter and Kepler" (different nodes) or "none".
        demand_sources: model servers seen; only vLLM's demand is read without a query.
        meter: "Redfish or IPMI" or "none".
        interval_seconds: how often the slowest source of watts yields something new.
        intervals_seconds: seconds between samples, by source.
        window_seconds: what watts are averaged over.
        covered: by quantity.
        findings: errors first.
    """

    controllable: bool
    sources: tuple[str, ...]
    kepler: str
    kepler_versions: tuple[str, ...]
    zones: tuple[str, ...]
    zones_read: tuple[str, ...]
    gpu_source: str
    demand_sources: tuple[str, ...]
    meter: str
    interval_seconds: float
    intervals_seconds: dict[str, float]
    window_seconds: float
    covered: dict[str, Covered]
    findings: tuple[Found, ...]


def report(evidence: Evidence, settings: ReaderSettings, *, sources: Sequence[str], versions: Sequence[str]) -> Report:
    """Sums a round up.

    Args:
        evidence: what was seen.
        settings: it was read with.
        sources: URLs that were asked.
        versions: Kepler's own.
    """
    findings = diagnose(evidence, settings)
    measured = evidence.round.measurements
    quantities: tuple[tuple[str, Column[str] | Column[PodKey]], ...] = (
        ("node_cpu_watts", measured.node_cpu_watts),
        ("node_gpu_watts", measured.node_gpu_watts),
        ("node_gpu_limit_watts", measured.node_gpu_limit_watts),
        ("node_platform_watts", measured.node_platform_watts),
        ("pod_cpu_watts", measured.pod_cpu_watts),
        ("pod_gpu_watts", measured.pod_gpu_watts),
        ("pod_requests", measured.pod_requests),
        ("pod_tokens_per_second", measured.pod_tokens_per_second),
    )
    return Report(
        controllable=not any(finding.level == "error" for finding in findings),
        sources=tuple(sources),
        kepler=_generation(evidence),
        kepler_versions=tuple(sorted(set(versions))),
        zones=tuple(sorted(evidence.zones)),
        zones_read=settings.zone_names,
        gpu_source=_gpu_source(evidence),
        demand_sources=tuple(sorted(servers(evidence.present))),
        meter="Redfish or IPMI" if evidence.round.platform else "none",
        interval_seconds=round(measured.interval_seconds, 3),
        intervals_seconds={name: round(seconds, 3) for name, seconds in evidence.intervals.items()},
        window_seconds=round(evidence.window_seconds, 3),
        covered={name: _covered(column, evidence.now) for name, column in quantities},
        findings=tuple(_shown(finding) for finding in findings),
    )


def write_text(found: Report, console: Console) -> None:
    """Writes a report on one screen.

    Args:
        found: the report.
        console: to write on; without a terminal or with NO_COLOR it writes plain text.
    """
    facts = Table.grid(padding=(0, 2))
    versions = f" ({', '.join(found.kepler_versions)})" if found.kepler_versions else ""
    # "summed" matters: zones contain each other.
    read = ", ".join(zone for zone in found.zones_read if zone in found.zones)
    for name, value in (
        ("Source", ", ".join(found.sources)),
        ("Kepler", found.kepler + versions),
        ("Zones", f"{', '.join(found.zones) or 'none'} (summed: {read or 'none'})"),
        ("GPUs", found.gpu_source),
        ("Demand", ", ".join(found.demand_sources) or "none"),
        ("Meter", found.meter),
        ("Interval", f"{found.interval_seconds:g} s (window {found.window_seconds:g} s)"),
    ):
        facts.add_row(Text(name, style="bold"), Text(value))
    console.print(facts)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (("Read", "left"), ("Known for", "right"), ("Youngest", "right"), ("Oldest", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    for name, one in found.covered.items():
        table.add_row(name.replace("_", " "), str(one.count), _age(one.youngest_seconds), _age(one.oldest_seconds))
    console.print()
    console.print(table)
    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    if found.findings:
        console.print()
    for one in found.findings:
        console.print(Text.assemble((f"{one.level}: ", styles[one.level]), one.what), soft_wrap=True)
        if one.fix:
            console.print(Text(f"  fix: {one.fix}"), soft_wrap=True)
    console.print()
    verdict = "Control is possible." if found.controllable else "Control is not possible yet: see the errors above."
    console.print(Text(verdict, style="bold green" if found.controllable else "bold red"))


def _covered(column: Column[str] | Column[PodKey], now: float) -> Covered:
    if not len(column.keys):
        return Covered(count=0, youngest_seconds=None, oldest_seconds=None)
    ages = now - column.timestamps
    return Covered(
        count=len(column.keys),
        youngest_seconds=round(float(ages.min()), 1),
        oldest_seconds=round(float(ages.max()), 1),
    )


def _shown(finding: Finding) -> Found:
    return Found(level=finding.level, what=finding.what, fix=finding.fix)


def _generation(evidence: Evidence) -> str:
    new = kepler.NODE_ACTIVE in evidence.present or kepler.POD_CPU in evidence.present
    old = legacy_kepler.NODE_METRICS[0] in evidence.present
    if new and old:
        return "both"
    return "0.10+" if new or kepler.BUILD in evidence.present else "legacy" if old else "none"


def _gpu_source(evidence: Evidence) -> str:
    nodes = evidence.round.measurements.node_gpu_watts.keys
    by_dcgm = sum(node in evidence.round.dcgm_nodes for node in nodes)
    names = (*(("dcgm-exporter",) if by_dcgm else ()), *(("Kepler",) if by_dcgm < len(nodes) else ()))
    return " and ".join(names) or "none"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None or not math.isfinite(seconds) else f"{seconds:.1f} s"
