"""Snapshots for tests and benchmarks: small ones by hand, random ones, and a big one with a data centre's domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import History, Snapshot

NOW = 1_700_000_000.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of a small snapshot; watts are one number for all domains or one for each.

    What is None follows from the rest: committed and demand from active, started and previous from committed, wanted
    from demand, active_watts from active * unit_watts.
    """

    active: int = 0
    gated: bool = False
    surge: int = 0
    demand: int | None = None
    wanted: int | None = None
    started: int | None = None
    committed: int | None = None
    previous: int | None = None
    priority: int = 0
    floor: int = 0
    ceiling: int = 1000
    unit_watts: float | Sequence[float] = 100.0
    active_watts: float | Sequence[float] | None = None
    draining_watts: float | Sequence[float] = 0.0
    tokens_per_second: float = float("nan")
    name: str = ""


def snapshot_of(
    *services: Service,
    limit_watts: Sequence[float] = (1000.0,),
    base_watts: Sequence[float] | None = None,
    frozen: Sequence[bool] | None = None,
    state: bytes = b"",
) -> Snapshot:
    """Returns the snapshot of some services, with as many domains as limits, its arrays read-only."""
    domains = len(limit_watts)

    def wide(watts: float | Sequence[float]) -> Floats:
        return np.broadcast_to(np.asarray(watts, dtype=np.float64), (domains,))

    def table(rows: list[Floats]) -> Floats:
        return np.array(rows, dtype=np.float64).reshape(len(services), domains)

    def counts(values: list[int]) -> Ints:
        return np.array(values, dtype=np.int64)

    def first(*values: int | None) -> int:
        return next(value for value in values if value is not None)

    committed = [first(s.committed, s.active) for s in services]
    demand = [first(s.demand, kept) for s, kept in zip(services, committed, strict=True)]
    return read_only(
        Snapshot(
            now=NOW,
            services=tuple(s.name or f"service-{row}" for row, s in enumerate(services)),
            domains=tuple(f"domain-{column}" for column in range(domains)),
            limit_watts=np.array(limit_watts, dtype=np.float64),
            base_watts=np.array(base_watts if base_watts is not None else [0.0] * domains, dtype=np.float64),
            frozen=np.array(frozen if frozen is not None else [False] * domains, dtype=np.bool_),
            priority=counts([s.priority for s in services]),
            floor=counts([s.floor for s in services]),
            ceiling=counts([s.ceiling for s in services]),
            demand=counts(demand),
            wanted=counts([first(s.wanted, asked) for s, asked in zip(services, demand, strict=True)]),
            gated=np.array([s.gated for s in services], dtype=np.bool_),
            surge=counts([s.surge for s in services]),
            active=counts([s.active for s in services]),
            started=counts([first(s.started, kept) for s, kept in zip(services, committed, strict=True)]),
            committed=counts(committed),
            unit_watts=table([wide(s.unit_watts) for s in services]),
            active_watts=table(
                [
                    wide(s.active_watts) if s.active_watts is not None else s.active * wide(s.unit_watts)
                    for s in services
                ]
            ),
            draining_watts=table([wide(s.draining_watts) for s in services]),
            tokens_per_second=np.array([s.tokens_per_second for s in services], dtype=np.float64),
            previous=counts([first(s.previous, kept) for s, kept in zip(services, committed, strict=True)]),
            history=no_history(len(services), domains),
            state=state,
        )
    )


def no_history(services: int, domains: int) -> History:
    """Returns a history of no ticks."""
    return History(
        times=np.empty(0),
        demand=np.empty((0, services)),
        guarded_watts=np.empty((0, domains)),
        meter_watts=np.empty((0, domains)),
    )


def read_only(snapshot: Snapshot) -> Snapshot:
    """Makes all arrays of a snapshot read-only, as the recommender does, and returns it."""
    for part in (snapshot, snapshot.history):
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
    return snapshot


def random_snapshot(
    seed: int, *, services: int | None = None, domains: int | None = None, replicas: int = 8, settled: bool = False
) -> Snapshot:
    """Returns a random small snapshot, with overlapping domains, drains, floors that may not fit, and cuts.

    Args:
        seed: decides all of it.
        services, domains: how many; random up to 6 and 4 if not given.
        replicas: no service has, wants or may have more.
        settled: nothing is committed but not active, drains or is frozen.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 7)) if services is None else services
    width = int(rng.integers(0, 5)) if domains is None else domains
    ceiling = rng.integers(0, replicas + 1, count)
    floor = np.minimum(rng.integers(0, 3, count), ceiling)
    demand = np.clip(rng.integers(0, replicas + 1, count), floor, ceiling)
    active = rng.integers(0, replicas + 1, count)
    committed = active + (0 if settled else rng.integers(0, 3, count) * rng.integers(0, 2, count))
    started = rng.integers(active, committed + 1)
    gated = rng.random(count) < 0.4
    surge = np.where(gated, rng.integers(0, 2, count), 0) if not settled else np.zeros(count, dtype=np.int64)
    unit = rng.uniform(100.0, 700.0, (count, 1)) * (rng.random((count, width)) < 0.6)
    share = rng.random((count, width)) * (rng.random((count, width)) < 0.8)
    # A replica that runs draws at most what a further one would, and somewhere it no longer may land.
    stray = (rng.random((count, width)) < 0.1) * rng.uniform(0.0, 100.0, (count, width))
    draining = unit * rng.integers(0, 3, (count, width)) * (rng.random((count, width)) < 0.2)
    base = rng.uniform(0.0, 500.0, width)
    top = demand.astype(np.float64) @ unit + base
    history = no_history(count, width)
    return read_only(
        Snapshot(
            now=NOW,
            services=tuple(f"service-{row}" for row in range(count)),
            domains=tuple(f"domain-{column}" for column in range(width)),
            limit_watts=top * rng.uniform(0.2, 1.3, width),
            base_watts=base,
            frozen=np.zeros(width, dtype=np.bool_) if settled else rng.random(width) < 0.15,
            priority=rng.integers(0, 3, count),
            floor=floor,
            ceiling=ceiling,
            demand=demand,
            wanted=np.where(rng.random(count) < 0.3, ceiling, demand),
            gated=gated,
            surge=surge,
            active=active,
            started=np.where(gated, committed, started),
            committed=committed,
            unit_watts=unit,
            active_watts=active[:, None] * (unit * share + stray),
            draining_watts=np.zeros((count, width)) if settled else draining,
            tokens_per_second=np.where(rng.random(count) < 0.3, np.nan, rng.uniform(10.0, 5000.0, count)),
            previous=np.where(rng.random(count) < 0.1, -1, rng.integers(0, replicas + 1, count)),
            history=history,
        )
    )


def big_snapshot(
    nodes: int, services: int, seed: int, *, replicas: int | None = None, share_of_demand: float = 0.7
) -> Snapshot:
    """Returns a cluster of racks, rows, feeds and one cluster domain, under more demand than it may power.

    Racks have 8 nodes, rows 20 racks; every rack hangs on feed A or B; nodes are of four kinds, a rack of one
    kind, and a service lands on one or two kinds. Every service runs, with half to nine tenths of its demand.

    Args:
        nodes, services: how many; 3,800 nodes make about 500 domains.
        seed: decides all of it.
        replicas: the demand of all services together; 5 per node if not given.
        share_of_demand: each domain's limit, as a share of what the demand would draw in it.
    """
    rng = np.random.default_rng(seed)
    racks = max(1, nodes // 8)
    rows = -(-racks // 20)
    kind_of_rack = rng.integers(0, 4, racks)
    member = np.zeros((racks, racks + rows + 2 + 1), dtype=np.bool_)
    member[np.arange(racks), np.arange(racks)] = True
    member[np.arange(racks), racks + np.arange(racks) // 20] = True
    member[np.arange(racks), racks + rows + rng.integers(0, 2, racks)] = True
    member[:, -1] = True

    gpus = rng.choice([1, 2, 4, 8], services, p=[0.4, 0.3, 0.2, 0.1])
    kinds = rng.integers(0, 4, (services, 2))
    eligible = (kind_of_rack == kinds[:, :1]) | (kind_of_rack == kinds[:, 1:])
    weight = rng.pareto(1.5, services) + 0.2
    demand = np.maximum(1, (weight / weight.sum() * (replicas or nodes * 5)).astype(np.int64))
    active = np.maximum(1, (demand * rng.uniform(0.5, 0.9, services)).astype(np.int64))
    upper_watts = gpus * rng.uniform(350.0, 700.0, services)
    placed = np.zeros((services, racks))
    for row in range(services):
        candidates = np.flatnonzero(eligible[row])
        if len(candidates) and active[row]:
            landed = rng.choice(candidates, int(active[row]))
            placed[row] = np.bincount(landed, minlength=racks)
    active = placed.sum(axis=1).astype(np.int64)
    unit = upper_watts[:, None] * ((eligible.astype(np.float64) @ member) > 0)
    active_watts = 0.9 * upper_watts[:, None] * (placed @ member)
    base = 1500.0 * 8 * member.sum(axis=0).astype(np.float64)
    ceiling = demand * np.int64(2)
    domains = member.shape[1]
    wanted_watts = (demand / np.maximum(active, 1)) @ active_watts
    return read_only(
        Snapshot(
            now=NOW,
            services=tuple(f"service-{row:05d}" for row in range(services)),
            domains=tuple(f"domain-{column:04d}" for column in range(domains)),
            limit_watts=base + np.maximum(share_of_demand * wanted_watts, 5000.0),
            base_watts=base,
            frozen=np.zeros(domains, dtype=np.bool_),
            priority=rng.integers(0, 4, services),
            floor=np.minimum(rng.integers(0, 2, services), demand),
            ceiling=ceiling,
            demand=demand,
            wanted=demand + demand * (rng.random(services) < 0.1),
            gated=np.zeros(services, dtype=np.bool_),
            surge=np.zeros(services, dtype=np.int64),
            active=active,
            started=active,
            committed=active + rng.integers(0, 2, services),
            unit_watts=unit,
            active_watts=active_watts,
            draining_watts=np.zeros((services, domains)),
            tokens_per_second=rng.uniform(100.0, 5000.0, services),
            previous=active.copy(),
            history=no_history(services, domains),
        )
    )
