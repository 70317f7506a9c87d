"""What each service's traffic asks for, from its pods' own counters or from its policy's query.

    demand = requests running and waiting (or tokens/s, or a query's value) / what one replica should carry

as KEDA's users of vLLM compute it with a Prometheus trigger. A running pod that has reported before and falls silent
still serves: it counts with the mean of the others, because a lost scrape is no fall of traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Column, Floats, Ints, Measurements, PodKey, PodPhase, PodRows, ServiceKey
from wattkeeper.recommender.pods import PodTable
from wattkeeper.recommender.services import ServiceTable

# Where fewer than half of the running pods that ever reported do so now, they say nothing about the service.
MIN_COVERAGE = 0.5
# A pod sampled longer ago than this many intervals counts as not covered.
FRESH_INTERVALS = 3.0
MIN_FRESH_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLoad:
    """S services, P pods. Attributes are those of wattkeeper.api.readings.ServiceRows.

    Attributes:
        pod_tokens_per_second: float64[P], see PodRows.
    """

    demand: Floats
    age_seconds: Floats
    load: Floats
    tokens_per_second: Floats
    pod_tokens_per_second: Floats


def measure_demand(
    measurements: Measurements,
    services: ServiceTable,
    pods: PodRows,
    table: PodTable,
    now: float,
) -> ServiceLoad:
    """Measures demand by each service's own metric. Unknown is NaN with age inf.

    Marks in `table`, which has the rows of `pods`, who reports.
    """
    count = len(services.keys)
    fresh_seconds = max(FRESH_INTERVALS * measurements.demand_interval_seconds, MIN_FRESH_SECONDS)
    running = (pods.service >= 0) & (pods.phase == PodPhase.RUNNING)
    requests = _sum_by_service(
        _sampled(measurements.pod_requests, table.row_of, now),
        pods,
        table.reported_requests,
        running,
        count,
        fresh_seconds,
    )
    sampled_tokens = _sampled(measurements.pod_tokens_per_second, table.row_of, now)
    tokens = _sum_by_service(
        sampled_tokens,
        pods,
        table.reported_tokens,
        running,
        count,
        fresh_seconds,
    )
    queried = _by_service(measurements.service_demand, services, now)
    metric = np.array([_METRICS[demand.metric] if demand else -1 for demand in services.demands], dtype=np.int64)
    raw = np.select([metric == 0, metric == 1, metric == 2], [requests[0], tokens[0], queried[0]], np.nan)
    age = np.select([metric == 0, metric == 1, metric == 2], [requests[1], tokens[1], queried[1]], np.inf)
    demand = raw / services.target_per_replica
    demand[~np.isfinite(demand) | (demand < 0)] = np.nan
    running_pods = np.bincount(pods.service[running], minlength=count)
    replicas = running_pods / services.pods_per_replica
    return ServiceLoad(
        demand=demand,
        age_seconds=np.where(np.isnan(demand), np.inf, age),
        load=np.divide(demand, replicas, out=np.full(count, np.nan), where=replicas > 0),
        tokens_per_second=tokens[0],
        pod_tokens_per_second=_by_pod(sampled_tokens, len(pods.keys), fresh_seconds),
    )


_METRICS = {"Requests": 0, "TokensPerSecond": 1, "PromQL": 2}


def _sampled(column: Column[PodKey], row_of: Mapping[PodKey, int], now: float) -> tuple[Ints, Floats, Floats]:
    """Returns the pods' rows, values and ages in seconds of every sample that is one and whose pod is known."""
    rows: Ints = np.array([row_of.get(key, -1) for key in column.keys], dtype=np.int64)
    usable = (rows >= 0) & np.isfinite(column.values)
    return rows[usable], column.values[usable], np.maximum(now - column.timestamps[usable], 0.0)


def _by_pod(sampled: tuple[Ints, Floats, Floats], count: int, fresh_seconds: float) -> Floats:
    """Returns float64[P], NaN where there is no fresh sample."""
    rows, values, ages = sampled
    fresh = ages <= fresh_seconds
    found = np.full(count, np.nan)
    found[rows[fresh]] = values[fresh]
    return found


def _sum_by_service(
    sampled: tuple[Ints, Floats, Floats],
    pods: PodRows,
    reported: Bools,
    running: Bools,
    count: int,
    fresh_seconds: float,
) -> tuple[Floats, Floats]:
    """Returns float64[S] sums over running pods and the age of the oldest fresh sample; NaN and inf where too few.

    In a LeaderWorkerSet only the leader serves, so one covered pod of a group covers it: coverage is judged against
    the pods that were ever seen to report, and a service of which none reports is unknown.
    """
    rows, values, ages = sampled
    reported[rows] = True
    keep = running[rows]
    rows, values, ages = rows[keep], values[keep], ages[keep]
    service = pods.service[rows]
    fresh = ages <= fresh_seconds
    reporting = np.bincount(pods.service[running & reported], minlength=count)
    covered = np.bincount(service[fresh], minlength=count)
    total = np.bincount(service[fresh], weights=values[fresh], minlength=count)
    oldest = np.zeros(count)
    np.maximum.at(oldest, service[fresh], ages[fresh])
    known = (covered > 0) & (covered >= MIN_COVERAGE * reporting)
    whole = np.divide(total * reporting, covered, out=np.full(count, np.nan), where=known)
    return whole, np.where(known, oldest, np.inf)


def _by_service(column: Column[ServiceKey], services: ServiceTable, now: float) -> tuple[Floats, Floats]:
    values = np.full(len(services.keys), np.nan)
    ages = np.full(len(services.keys), np.inf)
    for key, value, timestamp in zip(column.keys, column.values, column.timestamps, strict=True):
        row = services.row_of.get(key, -1)
        if row >= 0 and np.isfinite(value):
            values[row], ages[row] = value, max(now - timestamp, 0.0)
    return values, ages
