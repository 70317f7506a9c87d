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
    if not (over_watts > 0).any():
        return ()
    pods, meter = readings.pods, readings.budgets.meter
    rows, domains = _members(readings, np.flatnonzero((pods.service >= 0) & (pods.phase == PodPhase.TERMINATING)))
    draining = charges.pod_upper_watts[meter[domains], rows]
    missing: list[float] = (over_watts - np.bincount(domains, weights=draining, minlength=len(meter))).tolist()

    rows = _in_turn(readings, charges, grants)
    # Pods on nodes with the same domains come in the same order everywhere: after so many of them, none is named.
    rows = rows[np.sort(_first_of_each(_places(readings.nodes.domains)[pods.node[rows]]))]
    rows, domains = _members(readings, rows)
    first = _first_of_each(domains)
    # Lists, because a loop over arrays takes several times as long.
    chosen: list[int] = rows[first].tolist()
    where: list[int] = domains[first].tolist()
    drawn: list[float] = charges.pod_upper_watts[meter[domains[first]], rows[first]].tolist()
    found: list[PodViolation] = []
    for pod, domain, watts in zip(chosen, where, drawn, strict=True):
        if missing[domain] > 0:
            missing[domain] -= watts
            found.append(PodViolation(pod=pods.keys[pod], domain=domain, watts=watts))
    return tuple(found)


def _in_turn(readings: Readings, charges: Charges, grants: Ints) -> Ints:
    """Returns rows of the managed pods on nodes that stay, in the order in which they have to go."""
    pods, services = readings.pods, readings.services
    staying = np.flatnonzero((pods.service >= 0) & (pods.phase != PodPhase.TERMINATING))
    living = staying[pods.phase[staying] != PodPhase.GATED]
    active = np.bincount(pods.service[living], minlength=len(services.keys))
    staying = staying[pods.node[staying] >= 0]
    excess = active > grants * services.pods_per_replica
    # Of each service once, not of each pod: where its pods come, by priority and excess.
    _, place = np.unique(np.column_stack([services.priority, ~excess]), axis=0, return_inverse=True)
    return staying[np.lexsort((-charges.pod_upper_watts[1, staying], place.ravel()[pods.service[staying]]))]


def _members(readings: Readings, rows: Ints) -> tuple[Ints, Ints]:
    """Returns a (pod, domain) pair for every domain that each of the pods in `rows` lies in, in the order of `rows`."""
    rows = rows[readings.pods.node[rows] >= 0]
    domains = readings.nodes.domains[readings.pods.node[rows]]
    place, column = np.nonzero(domains >= 0)
    return rows[place], domains[place, column]


def _places(domains: Ints) -> Ints:
    """Returns int64[N], the same number for nodes with the same row of int64[N, J]."""
    order = np.lexsort(domains.T)
    changes = (domains[order[1:]] != domains[order[:-1]]).any(axis=1)
    numbers = np.zeros(len(domains), dtype=np.int64)
    numbers[order[1:]] = np.cumsum(changes)
    return numbers


def _first_of_each(group: Ints) -> Ints:
    """Returns where the first MAX_PODS of each group stand, group by group, each in its order."""
    by_group = np.argsort(group, kind="stable")
    size = np.bincount(group)
    rank = np.arange(len(group)) - np.repeat(np.cumsum(size) - size, size)
    return by_group[rank < MAX_PODS]
