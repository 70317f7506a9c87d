"""Steering: which domains the new replicas of gated services avoid.

A replica that may land in several domains is charged to each, so the fullest one decides. Kubernetes lets a gated pod's
node affinity be tightened: the pod can be kept out of domains that are too full for it, and is charged nothing there.

A service avoids the domains without room for all of its replicas that are granted and not there yet and one more,
except those of the emptiest place that it may use: the pods must be able to land somewhere. Nothing is remembered: a
domain stops being avoided only when it has room for all that it would be charged with.

Groups of several pods are not steered: pods that follow the first of their group are charged wherever it might have
landed when it left the gate, and what was avoided then is not known any more.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Readings
from wattkeeper.api.snapshot import total_watts
from wattkeeper.recommender.commitments import Commitments
from wattkeeper.recommender.sums import Sums


def steer(readings: Readings, sums: Sums, committed: Commitments) -> Bools:
    """Returns bool[S, D], the domains that new replicas of each service avoid."""
    gated, replicas = readings.services.gated, sums.replicas
    if not gated.any():
        return np.zeros(sums.unit_watts.shape, dtype=np.bool_)
    started = np.maximum(committed.committed - replicas.active, 0)
    drawn = sums.fixed_watts + sums.active_watts.sum(axis=0) + sums.pending_watts.sum(axis=0)
    drawn += sums.draining_watts.sum(axis=0)
    drawn += total_watts(np.where(gated, 0.0, started + committed.rebound) + replicas.missing, sums.unit_watts)
    coming = np.maximum(started - replicas.pending, 0)
    return avoided_domains(readings, sums.unit_watts, readings.budgets.limit_watts - drawn, coming)


def avoided_domains(readings: Readings, unit_watts: Floats, room_watts: Floats, coming: Ints) -> Bools:
    """Returns bool[S, D], False for services that are not steered.

    Args:
        readings: say who is gated, and where services may land.
        unit_watts: float64[S, D], what one further replica may draw wherever it may land.
        room_watts: float64[D], limit less what may draw already.
        coming: int64[S], replicas that are granted and are not in what may draw already.
    """
    avoided = np.zeros(unit_watts.shape, dtype=np.bool_)
    rows = np.flatnonzero(readings.services.gated & (readings.services.pods_per_replica == 1))
    unit = unit_watts[rows]
    short = (unit > 0.0) & ((coming[rows] + 1.0)[:, np.newaxis] * unit > room_watts)
    affected = short.any(axis=1)
    rows, unit, short = rows[affected], unit[affected], short[affected]
    if len(rows):
        replicas = np.divide(room_watts, unit, out=np.full(unit.shape, np.inf), where=unit > 0.0)
        avoided[rows] = short & ~_emptiest(replicas, readings.nodes.places, readings.services.eligible_places[rows])
    return avoided


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
