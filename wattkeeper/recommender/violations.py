"""Names the pods behind a violation: those that have to go while a domain is over budget."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Floats, Ints, PodPhase, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.recommender.result import PodViolation

# A status names at most this many pods of a domain: people read it.
MAX_PODS = 10
# A pod is over its own bound only beyond the noise of a measurement.
BOUND_TOLERANCE = 1.05


def find_violations(readings: Readings, charges: Charges, over_watts: Floats, grants: Ints) -> tuple[PodViolation, ...]:
    """Returns the pods that have to go, domain by domain, until their watts cover what the domain is over.

    Lowest priority first, then services with more replicas than granted, then the pod that may draw most. Draining
    pods are going already: what they draw is taken off first.
    """
    nodes, pods, services = readings.nodes, readings.pods, readings.services
    found: list[PodViolation] = []
    for domain in np.flatnonzero(over_watts > 0):
        on_nodes = np.flatnonzero((nodes.domains == domain).any(axis=1))
        meter = readings.budgets.meter[domain]
        inside = np.flatnonzero((pods.service >= 0) & np.isin(pods.node, on_nodes))
        draining = pods.phase[inside] == PodPhase.TERMINATING
        watts = charges.pod_upper_watts[meter, inside]
        missing = over_watts[domain] - watts[draining].sum()
        rows, watts = inside[~draining], watts[~draining]
        service = pods.service[rows]
        active = np.bincount(service, minlength=len(services.keys))
        excess = active[service] > grants[service]
        order = np.lexsort((-watts, ~excess, services.priority[service]))[:MAX_PODS]
        for place in order:
            if missing <= 0:
                break
            missing -= watts[place]
            row = rows[place]
            found.append(PodViolation(pod=pods.keys[row], domain=int(domain), watts=float(watts[place])))
    return tuple(found)
