"""A large fleet as Readings: racks, rows, two feeds, one cluster budget; services pinned to a row or free to roam."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import BudgetRows, NodeRows, PodKey, PodPhase, PodRows, Readings, ServiceKey, ServiceRows

NODES_PER_RACK = 20
RACKS_PER_ROW = 10
PODS_PER_NODE = 10
GPUS_PER_NODE = 8
# The share of services that may run anywhere; the rest are pinned to one row of racks.
ROAMING_SHARE = 0.2


def fleet(
    nodes: int, services: int, *, seed: int, now: float, share_of_limit: float = 1.25, gated: bool = False
) -> Readings:
    """Returns readings of a running fleet: `nodes` nodes with 10 pods each, most of them of some service.

    Limits are `share_of_limit` times 5.2 kW a node: a little below what the model charges, so that there is something
    to decide in every domain.
    """
    random = np.random.default_rng(seed)
    rack = np.arange(nodes) // NODES_PER_RACK
    row = rack // RACKS_PER_ROW
    racks, rows = int(rack.max()) + 1, int(row.max()) + 1
    names = (
        "cluster",
        "feed-a",
        "feed-b",
        *(f"row-{number}" for number in range(rows)),
        *(f"rack-{number}" for number in range(racks)),
    )
    domains = np.stack([np.zeros(nodes), 1 + rack % 2, 3 + row, 3 + rows + rack], axis=1).astype(np.int64)
    places, place = np.unique(domains, axis=0, return_inverse=True)
    row_of_place = places[:, 2] - 3
    pinned_row = np.where(random.random(services) < ROAMING_SHARE, -1, random.integers(0, rows, services))
    pods = nodes * PODS_PER_NODE
    node = np.repeat(np.arange(nodes), PODS_PER_NODE)
    service = _services_of_pods(pinned_row, row[node], random)
    phase = random.choice([PodPhase.RUNNING, PodPhase.LOADING, PodPhase.TERMINATING], pods, p=[0.97, 0.02, 0.01])
    running = np.bincount(service[service >= 0], minlength=services)
    node_watts = 400.0 + 600.0 * GPUS_PER_NODE
    size = np.bincount(domains.ravel(), minlength=len(names))
    eligible_domains = np.zeros((services, len(names)), dtype=np.bool_)
    for number in range(services):
        own = domains if pinned_row[number] < 0 else domains[row == pinned_row[number]]
        eligible_domains[number, np.unique(own)] = True
    return Readings(
        nodes=NodeRows(
            names=tuple(f"node-{number}" for number in range(nodes)),
            kind=np.arange(nodes, dtype=np.int64) % 3,
            kind_names=("NVIDIA-A100-SXM4-80GBx8", "NVIDIA-H100-80GB-HBM3x8", "NVIDIA-H200x8"),
            gpus=np.full(nodes, GPUS_PER_NODE),
            domains=domains,
            place=place.ravel(),
            places=places,
            cpu_watts=random.normal(350.0, 20.0, nodes),
            cpu_age_seconds=np.full(nodes, 3.0),
            cpu_idle_watts=np.full(nodes, 200.0),
            gpu_watts=random.normal(3200.0, 100.0, nodes),
            gpu_age_seconds=np.full(nodes, 3.0),
            gpu_idle_watts=np.full(nodes, 560.0),
            gpu_limit_watts=np.full(nodes, 700.0 * GPUS_PER_NODE),
            platform_watts=np.full(nodes, np.nan),
            platform_age_seconds=np.full(nodes, np.inf),
            interval_seconds=np.full(nodes, 5.0),
        ),
        pods=PodRows(
            keys=tuple(PodKey("llm", f"pod-{number}") for number in range(pods)),
            uids=tuple(map(str, range(pods))),
            row_by_uid={str(number): number for number in range(pods)},
            node=node,
            service=service,
            phase=phase.astype(np.int64),
            group=np.full(pods, -1),
            landing=np.full(pods, -1),
            landings=np.zeros((0, len(names)), dtype=np.bool_),
            gpus=np.full(pods, 0.8),
            cpu_cores=np.full(pods, 4.0),
            since=np.full(pods, now - 900.0),
            created=np.full(pods, now - 960.0),
            slipped=np.zeros(pods, dtype=np.bool_),
            cpu_watts=random.normal(15.0, 2.0, pods),
            gpu_watts=random.normal(260.0, 30.0, pods),
            age_seconds=np.full(pods, 3.0),
            tokens_per_second=np.where(service < 0, np.nan, np.random.default_rng(seed + 1).normal(900.0, 200.0, pods)),
        ),
        services=ServiceRows(
            keys=tuple(ServiceKey("llm", "Deployment", f"service-{number}") for number in range(services)),
            policies=("default",) * services,
            mode=np.full(services, 2),
            gated=np.full(services, gated),
            slipped=np.zeros(services, dtype=np.int64),
            rolls=np.zeros(services, dtype=np.bool_),
            replaces=np.zeros(services, dtype=np.bool_),
            priority=random.choice([0, 10, 100], services),
            floor=np.ones(services, dtype=np.int64),
            ceiling=np.full(services, 400),
            cap_only=random.random(services) < 0.1,
            demand_stated=np.ones(services, dtype=np.bool_),
            demand=running * random.uniform(0.5, 1.5, services),
            demand_age_seconds=np.full(services, 3.0),
            load=random.uniform(0.2, 1.2, services),
            tokens_per_second=(running * 900.0).astype(np.float64),
            stabilization_seconds=np.full(services, 300.0),
            spec_replicas=running,
            pods_per_replica=np.ones(services, dtype=np.int64),
            gpus=np.full(services, 0.8),
            cpu_cores=np.full(services, 4.0),
            prior_watts=np.full(services, np.nan),
            eligible=np.ones((services, 3), dtype=np.bool_),
            eligible_domains=eligible_domains,
            eligible_places=(pinned_row[:, None] == row_of_place) | (pinned_row[:, None] < 0),
            claimed_twice=np.zeros(services, dtype=np.bool_),
            violation_tolerance=np.zeros(services),
            least_tokens_per_joule=np.full(services, 1.0),
            idle_tokens_per_second=np.ones(services),
        ),
        budgets=BudgetRows(
            names=names,
            limit_watts=(size * (node_watts * share_of_limit)).astype(np.float64),
            reserved_watts=np.zeros(len(names)),
            shed_seconds=np.full(len(names), 300.0),
            meter=np.ones(len(names), dtype=np.int64),
            meter_watts=np.full(len(names), np.nan),
            meter_age_seconds=np.full(len(names), np.inf),
        ),
        demand_interval_seconds=5.0,
        synced=True,
    )


def _services_of_pods(pinned_row: np.ndarray, pod_row: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns int64[P]: a random service that may run in the pod's row; every fiftieth pod is unmanaged."""
    service = np.empty(len(pod_row), dtype=np.int64)
    for row in np.unique(pod_row):
        here = pod_row == row
        fitting = np.flatnonzero((pinned_row == row) | (pinned_row < 0))
        service[here] = random.choice(fitting, int(here.sum()))
    service[::50] = -1
    return service
