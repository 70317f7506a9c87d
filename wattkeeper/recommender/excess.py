"""Names the pods of services of which more replicas run than are granted."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Ints, PodPhase, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.power.meters import NODE
from wattkeeper.recommender.efficiency import waste
from wattkeeper.recommender.violations import MAX_PODS, NOT_NAMED


def find_excess(
    readings: Readings, charges: Charges, too_many: Ints, tight: Bools, binding: Ints, before: Ints
) -> Ints:
    """Returns rows of pods that have to go, service by service, each service's in the order in which they have to.

    Those that were named before first, in their order; then those that slipped past the gate, those in domains that
    have too few watts, those that waste most watts per token, that may draw most, the youngest. Of a LeaderWorkerSet
    the group with the highest number goes first, because its controller removes no other.

    Args:
        readings: what there is.
        charges: of the readings.
        too_many: int64[S], replicas that run beyond what is granted.
        tight: bool[D], domains that everybody should leave.
        binding: int64[S], the domain that holds a service below its demand, -1 for none.
        before: int64[P], the turn that a pod had when it was named last, NOT_NAMED for others.
    """
    pods, services = readings.pods, readings.services
    want = np.minimum(np.maximum(too_many, 0) * services.pods_per_replica, MAX_PODS)
    rows = np.flatnonzero((pods.service >= 0) & (pods.node >= 0) & (pods.phase != PodPhase.TERMINATING))
    rows = rows[want[pods.service[rows]] > 0]
    # Most pods that had to go a moment ago still have to: only services that lack some have to be put in order.
    named = before[rows] != NOT_NAMED
    lacking = np.bincount(pods.service[rows[named]], minlength=len(want)) < want
    keep = named | lacking[pods.service[rows]]
    rows, named = rows[keep], named[keep]
    service = pods.service[rows]

    domains = readings.nodes.domains[pods.node[rows]]
    # A row of no domain looks at what is appended, also where there is no domain at all.
    at_bound = (domains == binding[service][:, np.newaxis]) | np.append(tight, False)[domains]
    elsewhere = ~np.logical_or.reduce(at_bound & (domains >= 0), axis=1)
    # One number for what comes first: sorting takes as long as it has keys.
    lower_group = pods.group.max(initial=-1) - pods.group[rows]
    place = (service * (pods.group.max(initial=-1) + 2) + np.where(named, 0, lower_group)) * 8
    place += np.where(named, 0, 4 + 2 * ~pods.slipped[rows] + elsewhere)
    order = np.lexsort(
        (
            -pods.created[rows],
            -charges.pod_upper_watts[NODE, rows],
            np.where(named, before[rows].astype(np.float64), -waste(readings, charges, rows)),
            place,
        )
    )
    rows, service = rows[order], service[order]
    size = np.bincount(service, minlength=len(want))
    rank = np.arange(len(rows)) - (np.cumsum(size) - size)[service]
    return rows[rank < want[service]]
