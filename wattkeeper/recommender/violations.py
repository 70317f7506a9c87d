"""Names the pods behind a budget's violation: those that have to go while a domain is over budget."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, PodPhase, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.efficiency import waste
from wattkeeper.recommender.pods import stuck_pods
from wattkeeper.recommender.result import PodViolation

# A status names at most this many pods of a domain: people read it.
MAX_PODS = 10
NOT_NAMED = np.iinfo(np.int64).max
"""The turn of a pod that was not named before."""
_TURNS = 32


def find_violations(
    readings: Readings, charges: Charges, over_watts: Floats, grants: Ints, before: Ints, now: float
) -> tuple[PodViolation, ...]:
    """Returns the pods that have to go, domain by domain, until their watts cover what the domain is over.

    Lowest priority first. Among equals those that were named before, in their order; then pods of services with more
    replicas than granted, those that slipped past the gate, those that waste most watts per token, those that may draw
    most, the youngest. Draining pods are going already: what they draw is taken off first, as long as they may be
    trusted to come to their end.

    Args:
        readings: what there is.
        charges: of the readings.
        over_watts: float64[D].
        grants: int64[S], replicas that may be there.
        before: int64[P], the turn that a pod had when it was named last, NOT_NAMED for others.
        now: Unix seconds.
    """
    if not (over_watts > 0).any():
        return ()
    pods, meter = readings.pods, readings.budgets.meter
    going = (pods.service >= 0) & (pods.phase == PodPhase.TERMINATING) & ~stuck_pods(pods, now)
    rows, domains = _members(readings, np.flatnonzero(going))
    draining = charges.pod_upper_watts[meter[domains], rows]
    missing = over_watts - np.bincount(domains, weights=draining, minlength=len(meter))

    ordered = _in_turn(readings, charges, over_watts > 0, grants, before)
    rows, domains = _members(readings, ordered)
    first, rank = _first_of_each(domains)
    rows, domains = rows[first], domains[first]
    watts = charges.pod_upper_watts[meter[domains], rows]
    # What a domain misses before its first pod goes, its second one, and so on.
    misses = np.zeros((len(meter), 1 + MAX_PODS))
    misses[:, 0] = missing
    misses[domains, 1 + rank] = watts
    named = np.flatnonzero(np.subtract.accumulate(misses, axis=1)[domains, rank] > 0)
    turn = np.zeros(len(pods.keys), dtype=np.int64)
    turn[ordered] = np.arange(len(ordered))
    found = zip(
        rows[named].tolist(), domains[named].tolist(), watts[named].tolist(), turn[rows[named]].tolist(), strict=True
    )
    return tuple([PodViolation(pods.keys[row], domain, drawn, row, place) for row, domain, drawn, place in found])


def _in_turn(readings: Readings, charges: Charges, over: Bools, grants: Ints, before: Ints) -> Ints:
    """Returns rows of managed pods that stay on nodes in domains that are over, in the order in which they have to go.

    Pods on nodes with the same domains come in the same order everywhere: the first MAX_PODS of them are enough.
    """
    pods, services, domains = readings.pods, readings.services, readings.nodes.domains
    staying = np.flatnonzero((pods.service >= 0) & (pods.phase != PodPhase.TERMINATING))
    living = staying[pods.phase[staying] != PodPhase.GATED]
    active = np.bincount(pods.service[living], minlength=len(services.keys))
    excess = active > grants * services.pods_per_replica
    _, priority = np.unique(services.priority, return_inverse=True)

    concerned = np.logical_or.reduce((domains >= 0) & over[domains], axis=1)
    staying = staying[pods.node[staying] >= 0]
    rows = staying[concerned[pods.node[staying]]]
    service = pods.service[rows]
    # Where pods come, by priority, by whether they were named, and by excess.
    turn = priority[service] * 4 + 2 * (before[rows] == NOT_NAMED) + ~excess[service]
    rows = rows[early(readings.nodes.place[pods.node[rows]], turn)]
    service = pods.service[rows]
    order = np.lexsort(
        (
            -pods.created[rows],
            -charges.pod_upper_watts[1, rows],
            -waste(readings, charges, rows),
            ~pods.slipped[rows],
            ~excess[service],
            before[rows],
            priority[service],
        )
    )
    rows = rows[order]
    first, _ = _first_of_each(readings.nodes.place[pods.node[rows]])
    return rows[np.sort(first)]


def early(place: Ints, turn: Ints) -> Bools:
    """Returns bool[n], False for all whose turn comes after those of MAX_PODS others of their place.

    That leaves few to put in order.
    """
    # Priorities may be many: the latest count as one.
    cell = place * _TURNS + np.minimum(turn, _TURNS - 1)
    size = np.bincount(cell, minlength=(place.max(initial=0) + 1) * _TURNS).reshape(-1, _TURNS)
    before = np.cumsum(size, axis=1) - size
    return before.ravel()[cell] < MAX_PODS


def _members(readings: Readings, rows: Ints) -> tuple[Ints, Ints]:
    """Returns a (pod, domain) pair for every domain that each of the pods in `rows` lies in, in the order of `rows`."""
    rows = rows[readings.pods.node[rows] >= 0]
    domains = readings.nodes.domains[readings.pods.node[rows]]
    inside = domains >= 0
    return np.repeat(rows, np.count_nonzero(inside, axis=1)), domains[inside]


def _first_of_each(group: Ints) -> tuple[Ints, Ints]:
    """Returns where the first MAX_PODS of each group stand, group by group, each in its order, and their ranks."""
    by_group = np.argsort(group, kind="stable")
    size = np.bincount(group)
    rank = np.arange(len(group)) - np.repeat(np.cumsum(size) - size, size)
    first = np.flatnonzero(rank < MAX_PODS)
    return by_group[first], rank[first]
