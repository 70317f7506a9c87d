"""What one tick of the recommender sees: the cluster's facts and the watts and demand read for them, as arrays.

Rows are shared: `pods.node` indexes `nodes`, `pods.service` indexes `services`, `nodes.domains` indexes `budgets`.
NaN is *unknown*; an age is seconds since the sample was taken, `inf` where there never was one. Nothing here is
ever 0 because it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from wattkeeper.api.power_recommendation import MovablePod, Violation

K = TypeVar("K")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class PodPhase(IntEnum):
    """Where a pod stands, as far as its watts go."""

    PENDING = 0  # Not on a node yet (its node is -1).
    LOADING = 1  # On a node, not Ready.
    RUNNING = 2  # Ready.
    TERMINATING = 3  # Deleted, but its containers still run and draw.
    GATED = 4  # At the power gate: it cannot start, so it needs no watts.


class Mode(IntEnum):
    """A policy's mode; the enforcing ones are SCALE and above."""

    OFF = 0
    INITIAL = 1
    SCALE = 2
    MIGRATE = 3
    KILL = 4


class Rung(IntEnum):
    """Where on the fail-safe ladder a node or a domain stands."""

    FRESH = 0  # Controlled by what is measured.
    FROZEN = 1  # Stale for more than 3 of its source's intervals: nothing rises.
    TIGHTENED = 2  # Stale for more than max(60 s, 6 intervals): the worst of last, p99 of history, enforced limits.
    ABSENT = 3  # Never seen, or lost for long: nameplate.


class ServiceKey(NamedTuple):
    """Names one service: a scale target."""

    namespace: str
    kind: str
    name: str


class PodKey(NamedTuple):
    """Names one pod."""

    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Column(Generic[K]):
    """One quantity as a reader found it, before it is joined with the cluster: n rows.

    Attributes:
        keys: n names: a node's name, a PodKey, a ServiceKey or a budget's name.
        values: float64[n], in the quantity's unit.
        timestamps: float64[n], Unix seconds of the youngest sample behind each value.
    """

    keys: tuple[K, ...]
    values: Floats
    timestamps: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """Everything a reader found in one round, by name, before it is joined with the cluster. Absent is absent, never 0.

    Attributes:
        node_cpu_watts, node_cpu_idle_watts: by node name; CPU and memory, idle included, and its idle part.
        node_gpu_watts, node_gpu_idle_watts: by node name; all GPUs of the node, idle included, and their idle part.
        node_gpu_limit_watts: by node name; the sum of enforced GPU power limits.
        node_platform_watts: by node name; the machine at its supplies.
        pod_cpu_watts, pod_gpu_watts: by PodKey; active watts, without the node's idle draw.
        pod_requests: by PodKey; requests running and waiting.
        pod_tokens_per_second: by PodKey; generated tokens.
        service_demand: by ServiceKey; the value of the policy's own query, not yet divided by its target.
        meter_watts: by budget name; the value of the budget's meterQuery.
        interval_seconds: how often the sources of nodes' and pods' watts are sampled (the slowest one).
        demand_interval_seconds: how often model servers are sampled.
        problems: sentences for people: what could not be read, and why.
    """

    node_cpu_watts: Column[str]
    node_cpu_idle_watts: Column[str]
    node_gpu_watts: Column[str]
    node_gpu_idle_watts: Column[str]
    node_gpu_limit_watts: Column[str]
    node_platform_watts: Column[str]
    pod_cpu_watts: Column[PodKey]
    pod_gpu_watts: Column[PodKey]
    pod_requests: Column[PodKey]
    pod_tokens_per_second: Column[PodKey]
    service_demand: Column[ServiceKey]
    meter_watts: Column[str]
    interval_seconds: float
    demand_interval_seconds: float
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRows:
    """N nodes.

    Attributes:
        names: N node names.
        kind: int64[N], index into kind_names: nodes of a kind share a power model.
        kind_names: K names such as "NVIDIA-H100-80GB-HBM3x8".
        gpus: int64[N], GPUs that the node offers.
        domains: int64[N, J], indexes of the budgets that cover the node, padded with -1.
        place: int64[N], row of the node's domains in `places`.
        places: int64[L, J], each row of `domains` once: nodes of a place lie in the same domains.
        cpu_watts, cpu_age_seconds: float64[N], the node's CPU (and memory) draw, idle included.
        cpu_idle_watts: float64[N], the idle part of it.
        gpu_watts, gpu_age_seconds: float64[N], the node's GPUs' draw, idle included.
        gpu_idle_watts: float64[N], the idle part of it.
        gpu_limit_watts: float64[N], the sum of the enforced power limits of the node's GPUs.
        platform_watts, platform_age_seconds: float64[N], the whole machine, at its supplies.
        interval_seconds: float64[N], how often the source of the node's readings is sampled.
    """

    names: tuple[str, ...]
    kind: Ints
    kind_names: tuple[str, ...]
    gpus: Ints
    domains: Ints
    place: Ints
    places: Ints
    cpu_watts: Floats
    cpu_age_seconds: Floats
    cpu_idle_watts: Floats
    gpu_watts: Floats
    gpu_age_seconds: Floats
    gpu_idle_watts: Floats
    gpu_limit_watts: Floats
    platform_watts: Floats
    platform_age_seconds: Floats
    interval_seconds: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class PodRows:
    """P pods: managed ones, and unmanaged ones that draw or request watts.

    Attributes:
        keys: P pod keys (for reports only).
        uids: P UIDs. row_by_uid: their rows.
        node: int64[P], row of the node, -1 while pending.
        service: int64[P], row of the service, -1 for unmanaged pods.
        phase: int64[P], PodPhase; GATED only for pods of gated services.
        group: int64[P], pods of a service with the same number are one replica; -1 for a pod that is one by itself.
        landing: int64[P], row of `landings` for pods of gated services that have left the gate and have no node; -1 for
            others, and where nobody knows.
        landings: bool[C, D], the domains that such pods may land in, by what each of them asks of its node.
        gpus: float64[P], GPUs that the pod requests.
        cpu_cores: float64[P], CPU that the pod requests, in cores.
        since: float64[P], Unix seconds since when the pod is in its phase.
        created: float64[P], Unix seconds, 0 unknown.
        slipped: bool[P], of a gated service, and started without passing the admission plugin.
        cpu_watts, gpu_watts: float64[P], active draw (idle is the node's, as Kepler counts), NaN unknown.
        age_seconds: float64[P], age of the older of the two that the pod should have.
        tokens_per_second: float64[P], generated by the pod; NaN unknown or old.
    """

    keys: tuple[PodKey, ...]
    uids: tuple[str, ...]
    row_by_uid: Mapping[str, int]
    node: Ints
    service: Ints
    phase: Ints
    group: Ints
    landing: Ints
    landings: Bools
    gpus: Floats
    cpu_cores: Floats
    since: Floats
    created: Floats
    slipped: Bools
    cpu_watts: Floats
    gpu_watts: Floats
    age_seconds: Floats
    tokens_per_second: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRows:
    """S services.

    Attributes:
        keys: S service keys.
        policies: S names of the policy that selects each (in the service's namespace).
        mode: int64[S], Mode.
        gated: bool[S], new pods wait at the power gate: the mode enforces, the namespace has opted in, and the pods'
            labels bring them before the webhook.
        slipped: int64[S], pods of gated services that started without passing the admission plugin.
        rolls: bool[S], a gated service has pods of more than one template, and its strategy takes no old replica away
            before a new one is ready.
        replaces: bool[S], where its rollout lacks watts an old pod is made to go first.
        priority: int64[S], after the budgets' limits on what a namespace may use.
        floor, ceiling: int64[S], the policy's minReplicas and maxReplicas.
        cap_only: bool[S], the service's trigger hands out the cap alone, so all of the cap is reserved.
        demand_stated: bool[S], the policy says how demand is measured.
        demand: float64[S], what was measured over what one replica should carry, not rounded; NaN unknown.
        demand_age_seconds: float64[S].
        load: float64[S], what was measured over what the running replicas should carry (1 = full); NaN unknown.
        tokens_per_second: float64[S], generated by all replicas together; NaN unknown.
        stabilization_seconds: float64[S], how long demand must be lower before it counts as lower.
        spec_replicas: int64[S], what the scale target's spec asks for now.
        pods_per_replica: int64[S], 1, or the size of a LeaderWorkerSet's group.
        gpus, cpu_cores: float64[S], what one replica requests, all of its pods together.
        prior_watts: float64[S], the policy's or annotation's watts per replica, NaN without.
        eligible: bool[S, K], kinds of node that a replica can land on.
        eligible_domains: bool[S, D], domains with a node that a replica can land on.
        eligible_places: bool[S, L], places with a node that a replica can land on.
        claimed_twice: bool[S], another policy or ScaledObject claims the same target.
        violation_tolerance: float64[S], by which share of its limit a domain may be over before that is a violation.
        least_tokens_per_joule: float64[S], what a pod has to generate, the tolerance taken off; NaN for no target.
        idle_tokens_per_second: float64[S], a pod that generates no more than this idles.
    """

    keys: tuple[ServiceKey, ...]
    policies: tuple[str, ...]
    mode: Ints
    gated: Bools
    slipped: Ints
    rolls: Bools
    replaces: Bools
    priority: Ints
    floor: Ints
    ceiling: Ints
    cap_only: Bools
    demand_stated: Bools
    demand: Floats
    demand_age_seconds: Floats
    load: Floats
    tokens_per_second: Floats
    stabilization_seconds: Floats
    spec_replicas: Ints
    pods_per_replica: Ints
    gpus: Floats
    cpu_cores: Floats
    prior_watts: Floats
    eligible: Bools
    eligible_domains: Bools
    eligible_places: Bools
    claimed_twice: Bools
    violation_tolerance: Floats
    least_tokens_per_joule: Floats
    idle_tokens_per_second: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRows:
    """D budgets, each a domain.

    Attributes:
        names: D names.
        limit_watts, reserved_watts, shed_seconds: float64[D].
        meter: int64[D], index into wattkeeper.api.power_budget.METERS.
        meter_watts, meter_age_seconds: float64[D], from the budget's own meterQuery; NaN and inf without.
    """

    names: tuple[str, ...]
    limit_watts: Floats
    reserved_watts: Floats
    shed_seconds: Floats
    meter: Ints
    meter_watts: Floats
    meter_age_seconds: Floats


class MigrationKey(NamedTuple):
    """Names one very PowerMigration."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationRows:
    """M migrations that have begun and are not over. Of one service's, the first row is the one that goes first.

    Attributes:
        keys: M migrations.
        service: int64[M], row of the service, -1 where nothing says what to grant it.
        budget: int64[M], row of the budget whose nodes the service's new replicas avoid, -1 where there is none.
        asks: bool[M], asks for the watts of one replica more, or holds them. Otherwise it is past that.
        reserved: bool[M], it was told last that it has them.
        replicas: int64[M], replicas of the service with the one more, as it was told last; 0 where it was told nothing.
    """

    keys: tuple[MigrationKey, ...]
    service: Ints
    budget: Ints
    asks: Bools
    reserved: Bools
    replicas: Ints


def no_migrations() -> MigrationRows:
    """Returns no rows."""
    none: Ints = np.zeros(0, dtype=np.int64)
    return MigrationRows(
        keys=(),
        service=none,
        budget=none,
        asks=none.astype(np.bool_),
        reserved=none.astype(np.bool_),
        replicas=none,
    )


class Published(NamedTuple):
    """What an existing PowerRecommendation says: how a new leader learns what the last one granted.

    The grant is without what the service has only while a pod moves.
    """

    grant: int
    demand: int  # -1 unknown.
    violations: tuple[Violation, ...] = ()
    movable_pods: tuple[MovablePod, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Everything that one tick sees.

    Attributes:
        demand_interval_seconds: how often what demand is measured by is sampled.
        published: what recommendations now say, by service.
        migrations: what is under way.
        synced: every cache of the cluster is complete and alive. Until then nothing acts.
    """

    nodes: NodeRows
    pods: PodRows
    services: ServiceRows
    budgets: BudgetRows
    demand_interval_seconds: float
    synced: bool
    published: Mapping[ServiceKey, Published] = field(default_factory=dict[ServiceKey, Published])
    migrations: MigrationRows = field(default_factory=no_migrations)
