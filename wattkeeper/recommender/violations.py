"""Names the pods behind a violation: those that have to go while a domain is over budget."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats, Ints, PodPhase, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.result import PodViolation

# A status names at most this many pods of a domain: people read it.
MAX_PODS = 10


def find_violations(readings: Readings, charges: Charges, over_watts: Floats, grants: Ints) -> tuple[PodViolation, ...]:
    """Returns the pods that have to go, domain by domain, until their watts cover what the domain is over.

    Lowest priority first, then services with more replicas than granted, then the pod that may draw most. Draining
    pods are going already: what they draw is taken off first.
    """
    over = np.flatnonzero(over_watts > 0)
    if not len(over):
        return ()
    nodes, pods = readings.nodes, readings.pods
    turn = _turns(readings, charges, grants)
    rows_by_node = np.argsort(pods.node, kind="stable")
    starts = np.searchsorted(pods.node[rows_by_node], np.arange(len(nodes.names) + 1))
    member_rows, columns = np.nonzero(nodes.domains >= 0)
    member_domains = nodes.domains[member_rows, columns]
    by_domain = np.argsort(member_domains, kind="stable")
    first_member = np.searchsorted(member_domains[by_domain], np.arange(len(over_watts) + 1))
    found: list[PodViolation] = []
    for domain in over:
        on_nodes = member_rows[by_domain[first_member[domain] : first_member[domain + 1]]]
        rows = _ranges(rows_by_node, starts[on_nodes], starts[on_nodes + 1])
        rows = rows[pods.service[rows] >= 0]
        watts = charges.pod_upper_watts[readings.budgets.meter[domain], rows]
        draining = pods.phase[rows] == PodPhase.TERMINATING
        missing = over_watts[domain] - watts[draining].sum()
        rows, watts = rows[~draining], watts[~draining]
        first = _lowest(turn[rows]) if len(rows) > MAX_PODS else np.argsort(turn[rows])
        for place in first:
            if missing <= 0:
                break
            missing -= watts[place]
            found.append(PodViolation(pod=pods.keys[rows[place]], domain=int(domain), watts=float(watts[place])))
    return tuple(found)


def _turns(readings: Readings, charges: Charges, grants: Ints) -> Ints:
    """Returns int64[P]: the order in which managed pods go; lower goes first."""
    pods, services = readings.pods, readings.services
    managed = np.flatnonzero(pods.service >= 0)
    service = pods.service[managed]
    staying = pods.phase[managed] != PodPhase.TERMINATING
    active = np.bincount(service[staying], minlength=len(services.keys))
    excess = active[service] > grants[service] * services.pods_per_replica[service]
    watts = charges.pod_upper_watts[1, managed]
    order = np.lexsort((-watts, ~excess, services.priority[service]))
    turn = np.zeros(len(pods.keys), dtype=np.int64)
    turn[managed[order]] = np.arange(len(managed))
    return turn


def _lowest(turn: Ints) -> Ints:
    candidates = np.argpartition(turn, MAX_PODS)[:MAX_PODS]
    return candidates[np.argsort(turn[candidates])]


def _ranges(values: Ints, starts: Ints, ends: Ints) -> Ints:
    """Returns values[start:end] of every pair, joined."""
    sizes = ends - starts
    offsets = np.repeat(ends - np.cumsum(sizes), sizes)
    return values[offsets + np.arange(int(sizes.sum()))]
