"""What an algorithm sees: one compact picture of services competing for watts, as a structure of arrays.

S services, D domains (budgets). All arrays are read-only. Watts are *guarded*: at upper bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints

MAX_STATE_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The last H ticks, oldest first (H is bounded).

    Attributes:
        times: float64[H], Unix seconds.
        demand: float64[H, S], replicas asked for, before stabilisation; NaN unknown.
        guarded_watts: float64[H, D], guarded sums.
        meter_watts: float64[H, D], measured; NaN unknown.
    """

    times: Floats
    demand: Floats
    guarded_watts: Floats
    meter_watts: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The picture.

    What a grant of N replicas of service s would draw in domain d, at their upper bound, is, with M = N + surge[s],

        M * active_watts[s, d] / active[s]                       for M <= active[s]
        active_watts[s, d] + (M - active[s]) * unit_watts[s, d]  above it

    The first line is an expectation (nobody knows yet which replicas will go), the second a worst case (nobody
    knows yet where new ones will land).

    New pods of a *gated* service wait at the power gate until they are let out. So what draws now and what is reserved
    differ: a gated service draws what its active replicas do, and has as much reserved as is committed.

    Attributes:
        now: Unix seconds.
        services, domains: names, for reports and for state that is kept by name.
        limit_watts: float64[D].
        base_watts: float64[D], guarded watts that no decision here changes: fixed draw, losses, unmanaged pods,
            reservations, the residual, the services that nobody may scale, and pods that should have ended.
        frozen: bool[D], readings are too old for anything in the domain to rise.
        priority: int64[S], higher is served first.
        floor, ceiling: int64[S], replica bounds; a proposal outside is clipped.
        demand: int64[S], replicas that the traffic asks for, stabilised and inside [floor, ceiling]. Where it is
            unknown, what is committed.
        wanted: int64[S], at least demand: replicas that may be granted from watts that no demand needs.
        gated: bool[S], new replicas wait at the power gate.
        surge: int64[S], replicas beyond the grant that a rollout needs for a while, 0 for services without a gate.
        active: int64[S], replicas on nodes that are not terminating. For gated services those without a node count as
            well once they have left the gate, and what groups lack that have: all that may draw without an opening.
        started: int64[S], replicas that come or stay whatever anybody is told: active ones, those without a node, and
            what the scale target's spec asks for. What is granted beyond waits for an autoscaler to act on it.
        committed: int64[S], replicas that may exist without any new decision: those started, and what is told or was
            granted so recently that an autoscaler may still act on it. For gated services, without the surge, active
            ones and those granted or told: whatever their spec asks for beyond waits at the gate.
        unit_watts: float64[S, D], the most that one further replica may draw in a domain, 0 where it cannot land.
        active_watts: float64[S, D], what the active replicas may draw.
        draining_watts: float64[S, D], what terminating pods may draw until their containers have exited.
        tokens_per_second: float64[S], served per replica at the measured load, NaN unknown.
        previous: int64[S], the last plan's grants; -1 for a service that is new.
        history: the last ticks.
        state: at most 64 KiB that the algorithm returned last time, b"" at first.
    """

    now: float
    services: tuple[str, ...]
    domains: tuple[str, ...]
    limit_watts: Floats
    base_watts: Floats
    frozen: Bools
    priority: Ints
    floor: Ints
    ceiling: Ints
    demand: Ints
    wanted: Ints
    gated: Bools
    surge: Ints
    active: Ints
    started: Ints
    committed: Ints
    unit_watts: Floats
    active_watts: Floats
    draining_watts: Floats
    tokens_per_second: Floats
    previous: Ints
    history: History
    state: bytes = b""


def total_watts(replicas: Floats, watts: Floats) -> Floats:
    """Returns what replicas draw in each domain, all services together: float64[D].

    Not by BLAS (`replicas @ watts`): that spreads a product of a millisecond over all cores and waits for each of them,
    which takes many times as long where others keep a core busy. And its sums depend on how many cores there are.

    Args:
        replicas: float64[S].
        watts: float64[S, D], of one replica.
    """
    return np.einsum("s,sd->d", replicas, watts)


def planned_watts(snapshot: Snapshot, replicas: Ints) -> Floats:
    """Returns what `replicas` of each service would draw per domain, guarded, once drains have ended: float64[D].

    This is the formula of Snapshot's docstring, plus base_watts.
    """
    total = replicas + snapshot.surge
    kept = np.minimum(total, snapshot.active)
    share = np.divide(kept, snapshot.active, out=np.zeros(len(kept)), where=snapshot.active > 0)
    added = np.maximum(total - snapshot.active, 0).astype(np.float64)
    return snapshot.base_watts + total_watts(share, snapshot.active_watts) + total_watts(added, snapshot.unit_watts)


def running_grants(snapshot: Snapshot) -> Ints:
    """Returns up to which grant a further replica draws the share of a running one, and more above it: int64[S]."""
    return np.maximum(snapshot.active - snapshot.surge, 0)


def committed_watts(snapshot: Snapshot) -> Floats:
    """Returns what is reserved in each domain: float64[D].

    All that runs, loads or drains, plus every replica that is committed or a planned surge but not there yet, wherever
    it may land. Without gates this is what may draw: `drawing_watts`.
    """
    missing = np.maximum(snapshot.committed + snapshot.surge - snapshot.active, 0).astype(np.float64)
    return _there(snapshot) + total_watts(missing, snapshot.unit_watts)


def drawing_watts(snapshot: Snapshot) -> Floats:
    """Returns the guarded sum of each domain as it stands: float64[D].

    All that may draw without an opening: what runs, loads or drains, and what is committed of services without a gate.
    """
    missing = np.maximum(snapshot.committed - snapshot.active, 0).astype(np.float64)
    return _there(snapshot) + total_watts(np.where(snapshot.gated, 0.0, missing), snapshot.unit_watts)


def _there(snapshot: Snapshot) -> Floats:
    return snapshot.base_watts + snapshot.active_watts.sum(axis=0) + snapshot.draining_watts.sum(axis=0)
