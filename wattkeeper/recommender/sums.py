"""Sums over domains: every term of the guarded sum as arrays by service and domain.

A node may lie in several domains, each with a meter of its own, so every sum gathers by (domain, row) pairs and
takes the watts of that domain's meter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Floats, Ints, PodPhase, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.pods import stuck_pods
from wattkeeper.recommender.replicas import Replicas, count_replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """S services, D domains.

    Attributes:
        replicas: how many there are.
        active_watts: float64[S, D], what pods on nodes may draw that are not terminating.
        pending_watts: float64[S, D], what pods of gated services may draw that have left the gate and have no node yet,
            each wherever it may land.
        draining_watts, unit_watts: float64[S, D], see Snapshot.
        fixed_watts: float64[D], fixed draw, unmanaged pods, what pending ones request, pods that do not come to their
            end, reserved and residual watts.
        expected_watts: float64[D], the expected sum.
        nodes: int64[D].
    """

    replicas: Replicas
    active_watts: Floats
    pending_watts: Floats
    draining_watts: Floats
    unit_watts: Floats
    fixed_watts: Floats
    expected_watts: Floats
    nodes: Ints


def build_sums(readings: Readings, charges: Charges, now: float) -> Sums:
    """Builds every sum of one tick, which is at `now` in Unix seconds."""
    nodes, pods, services, budgets = readings.nodes, readings.pods, readings.services, readings.budgets
    domain_count, service_count = len(budgets.names), len(services.keys)
    node_rows, node_domains = _pairs(nodes.domains)
    node_meter = budgets.meter[node_domains]

    def over_nodes(watts: Floats) -> Floats:
        return _total(node_domains, watts[node_meter, node_rows], domain_count)

    placed = np.flatnonzero((pods.node >= 0) & (pods.service >= 0))
    pair_rows, pod_domains = _pairs(nodes.domains.take(pods.node[placed], axis=0))
    pod_rows = placed[pair_rows]
    # Watts of the pod in the domain's own meter.
    at = budgets.meter[pod_domains] * len(pods.keys) + pod_rows
    watts = charges.pod_upper_watts.ravel()[at]
    cell = pods.service[pod_rows] * domain_count + pod_domains
    terminating = pods.phase[pod_rows] == PodPhase.TERMINATING
    # What does not come to its end is no drain that plans may count on: room is made for it elsewhere.
    stuck = stuck_pods(pods, now)[pod_rows]
    leaving = np.flatnonzero(terminating & ~stuck)

    def by_service(cells: Ints, watts: Floats) -> Floats:
        flat = _total(cells, watts, service_count * domain_count)
        return flat.reshape(service_count, domain_count)

    unit = unit_watts(readings, charges)
    expected = over_nodes(charges.node_expected_watts) + over_nodes(charges.unmanaged_expected_watts)
    expected += _total(pod_domains, charges.pod_expected_watts.ravel()[at], domain_count)
    return Sums(
        replicas=count_replicas(pods, services),
        active_watts=by_service(cell, np.where(terminating, 0.0, watts)),
        pending_watts=_pending_watts(readings, charges, unit),
        draining_watts=by_service(cell[leaving], watts[leaving]),
        unit_watts=unit,
        fixed_watts=over_nodes(charges.node_upper_watts)
        + over_nodes(charges.unmanaged_upper_watts)
        + charges.pending_unmanaged_watts[budgets.meter]
        + budgets.reserved_watts
        + np.maximum(charges.residual_watts, 0.0)
        + _total(pod_domains, np.where(stuck, watts, 0.0), domain_count),
        expected_watts=expected,
        nodes=np.bincount(node_domains, minlength=domain_count),
    )


def unit_watts(readings: Readings, charges: Charges) -> Floats:
    """Returns float64[S, D]: the most that one further replica may draw in a domain, 0 where it cannot land.

    The worst of the kinds of node that the domain has and the service may use.
    """
    upper = charges.replica_upper_watts * readings.services.eligible  # float64[meters, S, K]
    worst = _worst(readings, upper)
    worst *= readings.services.eligible_domains
    return worst


def _worst(readings: Readings, upper: Floats) -> Floats:
    """Returns float64[n, D] of float64[meters, n, K]: the worst of the kinds of node that each domain has."""
    nodes, budgets = readings.nodes, readings.budgets
    node_rows, node_domains = _pairs(nodes.domains)
    present = np.zeros((len(budgets.names), len(nodes.kind_names)), dtype=np.bool_)
    present[node_domains, nodes.kind[node_rows]] = True
    # Most domains have the same kinds and the same meter as many others: each such sort is worked out once.
    sorts, sort_of = np.unique(np.column_stack([budgets.meter, present]), axis=0, return_inverse=True)
    worst = np.zeros((upper.shape[1], len(sorts)))
    for column, (meter, *kinds) in enumerate(sorts.tolist()):
        worst[:, column] = upper[meter][:, np.flatnonzero(kinds)].max(axis=1, initial=0.0)
    return worst.take(sort_of.ravel(), axis=1)


def _pending_watts(readings: Readings, charges: Charges, unit: Floats) -> Floats:
    """Returns float64[S, D], see Sums: by pod, what an opening was charged for it, but only where that pod may land.

    A pod made from an older template may land where further ones cannot: there the hungriest kind of node counts.
    """
    pods, services = readings.pods, readings.services
    watts = np.zeros((len(services.keys), len(readings.budgets.names)))
    rows = np.flatnonzero((pods.phase == PodPhase.PENDING) & (pods.service >= 0) & (pods.node < 0))
    rows = rows[services.gated[pods.service[rows]]]
    if len(rows):
        pairs, times = np.unique(np.column_stack([pods.service[rows], pods.landing[rows]]), axis=0, return_counts=True)
        service, landing = pairs.T
        replica = np.where(
            unit[service] > 0.0, unit[service], _worst(readings, charges.replica_upper_watts[:, service])
        )
        each = times / np.maximum(services.pods_per_replica[service], 1)
        # The row that is added last is for those of which nobody knows where they may land.
        anywhere = np.ones((1, watts.shape[1]), dtype=np.bool_)
        allowed = np.concatenate([pods.landings, anywhere])[landing]
        np.add.at(watts, service, replica * allowed * each[:, None])
    return watts


def replica_watts(readings: Readings, charges: Charges) -> Floats:
    """Returns float64[S]: upper bound of one replica at the node's meter, the worst kind that it can land on."""
    node_meter = 1
    upper = np.where(readings.services.eligible, charges.replica_upper_watts[node_meter], 0.0)
    return upper.max(axis=1, initial=0.0)


def _total(rows: Ints, watts: Floats, count: int) -> Floats:
    """Returns float64[count]: watts summed by row."""
    return np.bincount(rows, weights=watts, minlength=count).astype(np.float64, copy=False)


def _pairs(domains: Ints) -> tuple[Ints, Ints]:
    """Returns (row, domain) of every membership in a padded int64[n, J]."""
    inside = (domains >= 0).ravel()
    return np.repeat(np.arange(len(domains)), domains.shape[1])[inside], domains.ravel()[inside]
