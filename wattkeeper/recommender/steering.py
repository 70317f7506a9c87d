"""Steering: which domains the new replicas of gated services avoid.

A replica that may land in several domains is charged to each, so the fullest one decides. Kubernetes lets a gated pod's
node affinity be tightened: the pod can be kept out of domains that are too full for it, and is charged nothing there.

A service avoids the domains without room for all of its replicas that are granted and not there yet and one more,
except those of the emptiest place that it may use: the pods must be able to land somewhere. Nothing is remembered: a
domain stops being avoided only when it has room for all that it would be charged with.

Groups of several pods are not steered: pods that follow the first of their group are charged wherever it might have
landed when it left the gate, and what was avoided then is not known any more.

While a pod moves away from a budget, its service avoids that budget, and uses the emptiest place that is left.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Readings
from wattkeeper.api.snapshot import total_watts
from wattkeeper.recommender.commitments import Commitments
from wattkeeper.recommender.sums import Sums


def steer(readings: Readings, sums: Sums, committed: Commitments, left: Ints | None = None) -> Bools:
    """Returns bool[S, D], the domains that new replicas of each service avoid.

    Args:
        readings: what there is.
        sums: of the readings.
        committed: what may exist without any new decision.
        left: int64[S], the domain that a pod of the service moves away from, -1 for none; it must leave some place.
    """
    gated, replicas = readings.services.gated, sums.replicas
    if not gated.any():
        return np.zeros(sums.unit_watts.shape, dtype=np.bool_)
    started = np.maximum(committed.committed - replicas.active, 0)
    drawn = sums.fixed_watts + sums.active_watts.sum(axis=0) + sums.pending_watts.sum(axis=0)
    drawn += sums.draining_watts.sum(axis=0)
    drawn += total_watts(np.where(gated, 0.0, started + committed.rebound) + replicas.missing, sums.unit_watts)
    coming = np.maximum(started - replicas.pending, 0)
    return avoided_domains(readings, sums.unit_watts, readings.budgets.limit_watts - drawn, coming, left)


def places_left(readings: Readings, row: int, domain: int) -> Bools:
    """Returns bool[L], places that a service may use and that lie outside of a domain."""
    outside = np.logical_and.reduce(readings.nodes.places != domain, axis=1)
    return np.asarray(readings.services.eligible_places[row] & outside, dtype=np.bool_)


def avoided_domains(
    readings: Readings, unit_watts: Floats, room_watts: Floats, coming: Ints, left: Ints | None = None
) -> Bools:
    """Returns bool[S, D], False for services that are not steered.

    Args:
        readings: say who is gated, and where services may land.
        unit_watts: float64[S, D], what one further replica may draw wherever it may land.
        room_watts: float64[D], limit less what may draw already.
        coming: int64[S], replicas that are granted and are not in what may draw already.
        left: int64[S], the domain that a pod of the service moves away from, -1 for none; None for none at all.
    """
    avoided = np.zeros(unit_watts.shape, dtype=np.bool_)
    moves = np.full(len(coming), -1, dtype=np.int64) if left is None else left
    rows = np.flatnonzero(readings.services.gated & (readings.services.pods_per_replica == 1))
    unit = unit_watts[rows]
    short = (unit > 0.0) & ((coming[rows] + 1.0)[:, np.newaxis] * unit > room_watts)
    affected = short.any(axis=1) | (moves[rows] >= 0)
    rows, unit, short = rows[affected], unit[affected], short[affected]
    if len(rows):
        eligible = readings.services.eligible_places[rows]
        forbidden = np.zeros(short.shape, dtype=np.bool_)
        for number in np.flatnonzero(moves[rows] >= 0).tolist():
            row = int(rows[number])
            eligible[number] = places_left(readings, row, int(moves[row]))
            # Domains that lie inside the one that is left are out of reach with it.
            used: Ints = readings.nodes.places[eligible[number]]
            forbidden[number] = (unit[number] > 0.0) & ~_among(used, len(room_watts))
        replicas = np.divide(room_watts, unit, out=np.full(unit.shape, np.inf), where=unit > 0.0)
        avoided[rows] = forbidden | (short & ~_emptiest(replicas, readings.nodes.places, eligible))
    return avoided


def _among(domains: Ints, count: int) -> Bools:
    """Returns bool[count], True for the rows that int64[...] names; -1 names none."""
    found = np.zeros(count, dtype=np.bool_)
    found[domains[domains >= 0]] = True
    return found


def _emptiest(replicas: Floats, places: Ints, eligible: Bools) -> Bools:
    """Returns bool[n, D]: the domains of the place with room for most replicas, for each of n services.

    Args:
        replicas: float64[n, D], how many replicas each domain has room for, inf where none is charged.
        places: int64[L, J], the domains of each place, padded with -1.
        eligible: bool[n, L].
    """
    # One column more, for the padding: a place that lies in fewer domains than others.
    room = np.concatenate([replicas, np.full((len(replicas), 1), np.inf)], axis=1)
    least = np.full(eligible.shape, np.inf)
    for domains in places.T:
        np.minimum(least, room[:, domains], out=least)
    least[~eligible] = -np.inf
    found = np.zeros(room.shape, dtype=np.bool_)
    np.put_along_axis(found, places[least.argmax(axis=1)], True, axis=1)
    return found[:, :-1]
