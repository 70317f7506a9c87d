"""What is missing for control, and how to fix it: from one interpreted round, for people who set exporters up.

Options of Kepler are those of its docs/user/configuration.md (0.11), options of dcgm-exporter those of its README.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from wattkeeper.power.readers import dcgm, kepler, legacy_kepler, vllm
from wattkeeper.power.readers.interpretation import Interpreted
from wattkeeper.power.readers.samples import Series
from wattkeeper.power.readers.settings import WINDOW_INTERVALS, ReaderSettings
from wattkeeper.power.readers.sources import OTHER_SERVERS

Level = Literal["error", "warning", "note"]
_SLOW_SECONDS = 15.0
_STALE_INTERVALS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to know.

    Attributes:
        level: error: control is impossible; warning: it works worse than it could; note: good to know.
        what: what is the matter.
        fix: what to do; "" where nothing need be done.
    """

    level: Level
    what: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a source shows.

    Attributes:
        present: names of all metrics that have series.
        zones: RAPL zones seen.
        intervals: seconds between samples, by source.
        collect_seconds: how often dcgm-exporter measures; NaN unknown, or as often as it is scraped.
        window_seconds: what watts were averaged over.
        round: the round, interpreted.
        now: Unix seconds of the round.
    """

    present: AbstractSet[str]
    zones: AbstractSet[str]
    intervals: Mapping[str, float]
    collect_seconds: float
    window_seconds: float
    round: Interpreted
    now: float


def diagnose(evidence: Evidence, settings: ReaderSettings) -> tuple[Finding, ...]:
    """Returns findings, errors first."""
    every = [
        *_cpu(evidence, settings),
        *_pods(evidence),
        *_gpus(evidence),
        *_demand(evidence),
        *_meters(evidence),
        *_timing(evidence, settings),
        *(Finding(level="warning", what=one, fix="") for one in evidence.round.measurements.problems),
    ]
    order: tuple[Level, ...] = ("error", "warning", "note")
    return tuple(sorted(every, key=lambda finding: order.index(finding.level)))


def _cpu(evidence: Evidence, settings: ReaderSettings) -> Iterator[Finding]:
    measured = evidence.round.measurements.node_cpu_watts
    legacy = any(name in evidence.present for name in legacy_kepler.NODE_METRICS[:1])
    if legacy and kepler.NODE_ACTIVE not in evidence.present:
        yield Finding(
            level="warning",
            what="This is Kepler before 0.10: its GPU and idle watts are estimates, and it is no longer maintained.",
            fix="Upgrade to Kepler 0.11 or newer.",
        )
    if "psys" in evidence.zones and settings.zones != "psys":
        yield Finding(
            level="note",
            what=f"There is a zone psys, which holds the whole machine; {settings.zones} is read.",
            fix="Where every node has it, --zones psys counts more of the draw. Never are both added.",
        )
    if len(measured.keys):
        return
    missing = set(settings.zone_names) - evidence.zones
    if evidence.zones and missing == set(settings.zone_names):
        yield Finding(
            level="error",
            what=f"Kepler has no zone {' or '.join(sorted(missing))}, only {', '.join(sorted(evidence.zones))}.",
            fix=f"Name a zone that is there, such as --zones {'psys' if 'psys' in evidence.zones else 'package'}.",
        )
    elif kepler.NODE_ACTIVE in evidence.present:
        yield Finding(
            level="error",
            what="Kepler's counters of node joules are there, and no watts came of them.",
            fix="Wait for two more scrapes. If it stays so, they do not advance: see Kepler's log on the node.",
        )
    elif kepler.BUILD in evidence.present or legacy_kepler.EXPORTER in evidence.present:
        yield Finding(
            level="error",
            what="Kepler runs, and exposes no power of nodes.",
            fix="Its pods need the host's /sys with /sys/class/powercap (RAPL), which virtual machines seldom have, "
            "and `node` among the levels of exporter.prometheus.metricsLevel.",
        )
    else:
        yield Finding(
            level="error",
            what="There is no Kepler here, so nothing tells what nodes draw.",
            fix="Install Kepler 0.11 or newer (Helm: oci://quay.io/sustainable_computing_io/charts/kepler) with a "
            "ServiceMonitor that this Prometheus selects, interval 5s.",
        )


def _pods(evidence: Evidence) -> Iterator[Finding]:
    measurements = evidence.round.measurements
    if len(measurements.node_cpu_watts.keys) and not len(measurements.pod_cpu_watts.keys):
        yield Finding(
            level="error",
            what="Kepler shows nodes and no pods, so no service's share is known.",
            fix="Set kube.enabled and `pod` among the levels of exporter.prometheus.metricsLevel (--kube.enable, "
            "--metrics=node --metrics=pod).",
        )
    if any(one.labels.exported_pod_name or one.labels.exported_node_name for one in _found(evidence, kepler.POD_CPU)):
        yield Finding(
            level="note",
            what="Kepler's own labels arrive as exported_*; they are read all the same.",
            fix="honorLabels: true in its ServiceMonitor keeps them as they are.",
        )


def _gpus(evidence: Evidence) -> Iterator[Finding]:
    round_, present = evidence.round, evidence.present
    if not len(round_.measurements.node_gpu_watts.keys):
        yield Finding(
            level="warning",
            what="Nothing tells what GPUs draw. On nodes with GPUs that is most of it.",
            fix="Install dcgm-exporter (part of NVIDIA's GPU operator), or start Kepler with its experimental GPU "
            "feature: --experimental.gpu.enabled (config.yaml: experimental.gpu.enabled: true).",
        )
        return
    if not round_.dcgm.node_gpu:
        yield Finding(
            level="note",
            what="No GPU's enforced power limit is known: spikes of GPUs are clamped to nameplates only.",
            fix="dcgm-exporter shows limits (DCGM_FI_DEV_ENFORCED_POWER_LIMIT).",
        )
        return
    if not round_.dcgm.node_limit:
        yield Finding(
            level="warning",
            what="dcgm-exporter shows no power limits, so stale GPUs are charged at nameplate.",
            fix="Add DCGM_FI_DEV_ENFORCED_POWER_LIMIT, gauge to its CSV of counters.",
        )
    if dcgm.ENERGY not in present:
        yield Finding(
            level="warning",
            what="dcgm-exporter shows no energy, so watts are single looks instead of averages.",
            fix="Add DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter to its CSV of counters.",
        )
    if evidence.collect_seconds > _SLOW_SECONDS:
        yield Finding(
            level="warning",
            what=f"dcgm-exporter measures only every {evidence.collect_seconds:.0f} s, however often it is scraped.",
            fix="Start it with -c 5000 (DCGM_EXPORTER_INTERVAL=5000).",
        )
    if any(one.labels.exported_pod for one in (*_found(evidence, dcgm.ENERGY), *_found(evidence, dcgm.POWER))):
        yield Finding(
            level="note",
            what="dcgm-exporter's pod labels arrive as exported_namespace and exported_pod; they are read so too.",
            fix="honorLabels: true in its ServiceMonitor keeps them as they are.",
        )


def _demand(evidence: Evidence) -> Iterator[Finding]:
    others = servers(evidence.present) - {"vLLM"}
    if len(evidence.round.measurements.pod_requests.keys):
        return
    if others:
        metric = OTHER_SERVERS[min(others)]
        yield Finding(
            level="warning",
            what=f"{' and '.join(sorted(others))} serve here; only vLLM's demand is read without a query.",
            fix=f'In the policy: demand.metric PromQL, with a query such as sum({metric}{{namespace="..."}}).',
        )
    elif not any(name in evidence.present for name in vllm.METRICS):
        yield Finding(
            level="warning",
            what="No model server's demand is seen; services would be held where they are.",
            fix="Scrape vLLM's port by a PodMonitor (path /metrics), or use demand.metric PromQL in policies.",
        )


def _meters(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.round.platform:
        yield Finding(
            level="note",
            what="No meter of whole machines: budgets of meter `wall` rest on estimated losses.",
            fix="Kepler's Redfish feature (--experimental.platform.redfish.enabled), ipmi_exporter, or meterQuery in "
            "the PowerBudget (a PDU's or UPS's metric).",
        )


def _timing(evidence: Evidence, settings: ReaderSettings) -> Iterator[Finding]:
    slow = {name: seconds for name, seconds in evidence.intervals.items() if seconds > _SLOW_SECONDS}
    if slow:
        shown = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in sorted(slow.items()))
        yield Finding(
            level="warning",
            what=f"Scraped seldom: {shown}. Watts are averaged over {WINDOW_INTERVALS} scrapes: cuts come that late.",
            fix="interval: 5s in their ServiceMonitor or scrape configuration.",
        )
    measurements = evidence.round.measurements
    scraped = settings.interval_seconds or min(evidence.intervals.values(), default=math.nan)
    if evidence.window_seconds < WINDOW_INTERVALS * scraped:
        yield Finding(
            level="warning",
            what=f"The window of {evidence.window_seconds:g} s holds fewer than {WINDOW_INTERVALS} scrapes: a lost one "
            "leaves gaps.",
            fix=f"--window {WINDOW_INTERVALS * scraped:g}, or scrape more often.",
        )
    for name, column in (("CPU", measurements.node_cpu_watts), ("GPU", measurements.node_gpu_watts)):
        stale = int((evidence.now - column.timestamps > _STALE_INTERVALS * measurements.interval_seconds).sum())
        if stale:
            yield Finding(
                level="error" if stale == len(column.keys) and name == "CPU" else "warning",
                what=f"{name} watts of {stale} of {len(column.keys)} nodes are older than 3 intervals: nothing there "
                "would be raised.",
                fix="Look at those exporters' pods and their targets in Prometheus; check that clocks agree.",
            )


def servers(present: AbstractSet[str]) -> frozenset[str]:
    """Returns the kinds of model servers that are seen."""
    seen = {name for name, metric in OTHER_SERVERS.items() if metric in present}
    return frozenset(seen | ({"vLLM"} if any(name in present for name in vllm.METRICS) else set[str]()))


def _found(evidence: Evidence, metric: str) -> Sequence[Series]:
    return evidence.round.found.get(metric, ())
