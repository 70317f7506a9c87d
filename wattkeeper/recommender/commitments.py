"""What may exist without any new decision: pods, specs, and grants that autoscalers may still act on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Ints, ServiceRows
from wattkeeper.recommender.grants import Outstanding
from wattkeeper.recommender.replicas import Replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class Commitments:
    """S services.

    Attributes:
        started, committed: int64[S], see Snapshot.
        granted: int64[S], the highest grant that may still be acted on, -1 for none.
        rebound: int64[S], replicas that may yet drain while their successors start (see GrantLog).
    """

    started: Ints
    committed: Ints
    granted: Ints
    rebound: Ints


def commitments(
    services: ServiceRows, replicas: Replicas, outstanding: Outstanding, promised: Ints, *, warm: bool
) -> Commitments:
    """Returns what is committed.

    Pods that a gated service's spec asks for beyond its grants wait at the gate: they are no commitment, and successors
    start only when they are let out. Until anything was ever granted or decided, the spec stands for a grant.

    Args:
        services: S rows.
        replicas: how many there are.
        outstanding: what autoscalers may still do with earlier grants.
        promised: int64[S], what they are told now, -1 for nothing.
        warm: caches and history are warm.
    """
    out = replicas.active + replicas.pending
    granted = np.maximum(outstanding.highest, promised)
    if not warm:
        granted = np.where(services.gated & (granted < 0), services.spec_replicas, granted)
    started = np.maximum(out, services.spec_replicas)
    committed = np.maximum(np.where(services.gated, out, started), granted)
    return Commitments(
        started=np.where(services.gated, committed, started),
        committed=committed,
        granted=granted,
        rebound=np.where(services.gated, 0, outstanding.rebound),
    )
