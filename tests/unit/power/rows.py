"""Readings for tests: small ones by hand, and any of a given size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wattkeeper.api.readings import (
    BudgetRows,
    Mode,
    NodeRows,
    PodKey,
    PodPhase,
    PodRows,
    Readings,
    ServiceKey,
    ServiceRows,
)

H100 = "NVIDIA-H100-80GB-HBM3x8"
CPU = "cpu"
NOW = 1_700_000_000.0


def floats(value: float | list[float], count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.full(count, value, dtype=np.float64)


def ints(value: int | list[int], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.full(count, value, dtype=np.int64)


def node_rows(count: int = 1, **columns: Any) -> NodeRows:
    """H100 servers that draw 150 W of CPU and 600 W of GPU at rest, read 5 s ago, all in domain 0."""
    rows = NodeRows(
        names=tuple(f"node-{index}" for index in range(count)),
        kind=ints(0, count),
        kind_names=(H100,),
        gpus=ints(8, count),
        domains=np.zeros((count, 1), dtype=np.int64),
        place=ints(0, count),
        places=np.zeros((1, 1), dtype=np.int64),
        cpu_watts=floats(150.0, count),
        cpu_age_seconds=floats(5.0, count),
        cpu_idle_watts=floats(np.nan, count),
        gpu_watts=floats(600.0, count),
        gpu_age_seconds=floats(5.0, count),
        gpu_idle_watts=floats(np.nan, count),
        gpu_limit_watts=floats(np.nan, count),
        platform_watts=floats(np.nan, count),
        platform_age_seconds=floats(np.inf, count),
        interval_seconds=floats(15.0, count),
    )
    rows = replace(rows, **columns)
    _, place = np.unique(rows.domains, axis=0, return_inverse=True)
    return replace(rows, place=place.ravel())


def pod_rows(count: int = 0, **columns: Any) -> PodRows:
    """Ready pods of service 0 on node 0 with one GPU and four cores, 20 W of CPU and 400 W of GPU, read 5 s ago."""
    rows = PodRows(
        keys=tuple(PodKey("serving", f"pod-{index}") for index in range(count)),
        uids=tuple(f"uid-{index}" for index in range(count)),
        row_by_uid={},
        node=ints(0, count),
        service=ints(0, count),
        phase=ints(PodPhase.RUNNING, count),
        group=ints(-1, count),
        landing=ints(-1, count),
        landings=np.zeros((0, 1), dtype=np.bool_),
        gpus=floats(1.0, count),
        cpu_cores=floats(4.0, count),
        since=floats(0.0, count),
        created=floats(0.0, count),
        slipped=np.zeros(count, dtype=np.bool_),
        cpu_watts=floats(20.0, count),
        gpu_watts=floats(400.0, count),
        age_seconds=floats(5.0, count),
        tokens_per_second=floats(np.nan, count),
    )
    rows = replace(rows, **columns)
    return replace(rows, row_by_uid={uid: row for row, uid in enumerate(rows.uids)})


def service_rows(count: int = 1, kinds: int = 1, domains: int = 1, **columns: Any) -> ServiceRows:
    """Services of one to eight one-GPU replicas in mode Scale, at full load, that may land anywhere."""
    rows = ServiceRows(
        keys=tuple(ServiceKey("serving", "Deployment", f"service-{index}") for index in range(count)),
        policies=("policy",) * count,
        mode=ints(Mode.SCALE, count),
        gated=np.zeros(count, dtype=np.bool_),
        slipped=ints(0, count),
        rolls=np.zeros(count, dtype=np.bool_),
        replaces=np.zeros(count, dtype=np.bool_),
        priority=ints(0, count),
        floor=ints(1, count),
        ceiling=ints(8, count),
        cap_only=np.zeros(count, dtype=np.bool_),
        demand_stated=np.ones(count, dtype=np.bool_),
        demand=floats(1.0, count),
        demand_age_seconds=floats(5.0, count),
        load=floats(1.0, count),
        tokens_per_second=floats(np.nan, count),
        stabilization_seconds=floats(300.0, count),
        spec_replicas=ints(1, count),
        pods_per_replica=ints(1, count),
        gpus=floats(1.0, count),
        cpu_cores=floats(4.0, count),
        prior_watts=floats(np.nan, count),
        eligible=np.ones((count, kinds), dtype=np.bool_),
        eligible_domains=np.ones((count, domains), dtype=np.bool_),
        eligible_places=np.ones((count, 1), dtype=np.bool_),
        claimed_twice=np.zeros(count, dtype=np.bool_),
        violation_tolerance=floats(0.0, count),
        least_tokens_per_joule=floats(np.nan, count),
        idle_tokens_per_second=floats(0.0, count),
    )
    return replace(rows, **columns)


def budget_rows(count: int = 1, **columns: Any) -> BudgetRows:
    """Budgets of 10 kW in the node meter, without a meter of their own."""
    rows = BudgetRows(
        names=tuple(f"budget-{index}" for index in range(count)),
        limit_watts=floats(10_000.0, count),
        reserved_watts=floats(0.0, count),
        shed_seconds=floats(300.0, count),
        meter=ints(1, count),
        meter_watts=floats(np.nan, count),
        meter_age_seconds=floats(np.inf, count),
    )
    return replace(rows, **columns)


def readings(
    nodes: NodeRows | None = None,
    pods: PodRows | None = None,
    services: ServiceRows | None = None,
    budgets: BudgetRows | None = None,
) -> Readings:
    return Readings(
        nodes=node_rows() if nodes is None else nodes,
        pods=pod_rows() if pods is None else pods,
        services=service_rows() if services is None else services,
        budgets=budget_rows() if budgets is None else budgets,
        demand_interval_seconds=15.0,
        synced=True,
    )
