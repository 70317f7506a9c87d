"""The table of services: scale targets, the policies that select them, and where their replicas may land."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wattkeeper.api.admission import concerned, opted_in
from wattkeeper.api.marks import WATTS_ANNOTATION, watts_of
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import Demand, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.readings import Bools, Floats, Ints, Mode, ServiceKey
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet, Namespace, PodSpec, RollingUpdate, ScaledObject
from wattkeeper.recommender.kserve import KServeServices, Part, selecting
from wattkeeper.recommender.nodes import NodeTable
from wattkeeper.recommender.pod_metric import asks_for_replicas
from wattkeeper.recommender.pods import requested

EXTERNAL_TRIGGERS = ("external", "external-push")
MODES = {"Off": Mode.OFF, "Initial": Mode.INITIAL, "Scale": Mode.SCALE, "Migrate": Mode.MIGRATE, "Kill": Mode.KILL}

Workload = Deployment | LeaderWorkerSet


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceTable:
    """S services, sorted by key. Columns are those of wattkeeper.api.readings.ServiceRows of the same name.

    Attributes:
        row_of: row by key.
        demands: how each service's demand is measured, None where nothing says.
        parts: what each service is to KServe, None for others.
        surges: bool[S], a rollout takes no replica away before a new one is ready.
    """

    keys: tuple[ServiceKey, ...]
    row_of: dict[ServiceKey, int]
    policies: tuple[str, ...]
    demands: tuple[Demand | None, ...]
    parts: tuple[Part | None, ...]
    mode: Ints
    gated: Bools
    surges: Bools
    replaces: Bools
    priority: Ints
    floor: Ints
    ceiling: Ints
    cap_only: Bools
    target_per_replica: Floats
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


@dataclass(kw_only=True, slots=True)
class _Row:
    """One service on its way into the table."""

    key: ServiceKey
    policy: str
    demand: Demand | None
    mode: Mode
    priority: int
    floor: int
    ceiling: int
    cap_only: bool
    replaces: bool
    claimed_twice: bool
    workload: Workload
    violation_tolerance: float
    least_tokens_per_joule: float
    idle_tokens_per_second: float
    part: Part | None = None
    pods: list[PodSpec] = field(default_factory=list[PodSpec])
    prior_watts: float = float("nan")


def key_of(workload: Workload) -> ServiceKey:
    """Returns the key of a scale target."""
    kind = "Deployment" if isinstance(workload, Deployment) else "LeaderWorkerSet"
    return ServiceKey(workload.metadata.namespace, kind, workload.metadata.name)


def pod_specs(workload: Workload) -> list[PodSpec]:
    """Returns the specs of all pods of one replica, the leader first."""
    if isinstance(workload, Deployment):
        return [workload.spec.template.spec]
    group = workload.spec.leader_worker_template
    leader = (group.leader_template or group.worker_template).spec
    return [leader, *[group.worker_template.spec] * max(group.size - 1, 0)]


def _annotated_watts(metadata: Iterable[ObjectMeta]) -> float:
    """Returns the highest readable annotation, NaN without: a tenant's figure can only raise."""
    return float(np.fmax.reduce([watts_of(one.annotations.get(WATTS_ANNOTATION, "")) for one in metadata]))


def _templates(workload: Workload) -> list[ObjectMeta]:
    if isinstance(workload, Deployment):
        return [workload.spec.template.metadata]
    group = workload.spec.leader_worker_template
    templates = (
        [group.worker_template] if group.leader_template is None else [group.leader_template, group.worker_template]
    )
    return [template.metadata for template in templates]


def surges(workload: Workload) -> bool:
    """Says whether a rollout takes no replica away before a new one is ready.

    A Deployment rounds its percentage down, and takes one away where it may neither surge nor take any.
    """
    if isinstance(workload, LeaderWorkerSet):
        configured = workload.spec.rollout_strategy.rolling_update_configuration
        unavailable = None if configured is None else configured.max_unavailable
        return _share(1 if unavailable is None else unavailable, workload.spec.replicas) == 0
    strategy = workload.spec.strategy
    if strategy.type == "Recreate":
        return False
    rolling = strategy.rolling_update or RollingUpdate()
    unavailable = "25%" if rolling.max_unavailable is None else rolling.max_unavailable
    return _share(unavailable, workload.spec.replicas) == 0 and rolling.max_surge not in (0, "0", "0%")


def _share(amount: int | str, replicas: int) -> int:
    """Returns how many replicas a number or a percentage is, rounded down; 0 for what cannot be read."""
    if isinstance(amount, int):
        return amount
    digits = amount.removesuffix("%")
    return int(digits) * replicas // 100 if digits.isdecimal() and digits != amount else 0


def gated(workload: Workload, mode: Mode, enabled: Collection[str]) -> bool:
    """Says whether new pods of a target wait at the power gate: what the webhook does with them."""
    return (
        mode >= Mode.SCALE
        and workload.metadata.namespace in enabled
        and all(concerned(template.labels) for template in _templates(workload))
    )


def _claimed(workload: Workload, policies: Sequence[PowerCappingPolicy]) -> _Row:
    """Merges every policy that selects a target. A target claimed twice gets the stricter of each figure."""
    ordered = sorted(policies, key=lambda policy: policy.metadata.name)
    specs = [policy.spec for policy in ordered]
    own_watts = [spec.watts_per_replica for spec in specs if spec.watts_per_replica is not None]
    floor = min(spec.min_replicas for spec in specs)
    least, idle = _performance(specs)
    return _Row(
        key=key_of(workload),
        policy=ordered[0].metadata.name,
        demand=next((spec.demand for spec in specs if spec.demand is not None), None),
        mode=max(MODES[spec.mode] for spec in specs),
        priority=min(spec.priority for spec in specs),
        floor=floor,
        ceiling=max(min(spec.max_replicas for spec in specs), floor),
        cap_only=False,
        # As the actuator sees it, which looks at that one policy.
        replaces=ordered[0].spec.rollout == "Replace" and isinstance(workload, Deployment),
        claimed_twice=len(ordered) > 1,
        workload=workload,
        violation_tolerance=min(spec.violation.tolerance if spec.violation else 0.0 for spec in specs),
        least_tokens_per_joule=least,
        idle_tokens_per_second=idle,
        pods=pod_specs(workload),
        prior_watts=float(
            np.fmax(
                _annotated_watts([workload.metadata, _templates(workload)[-1]]), max(own_watts, default=float("nan"))
            )
        ),
    )


def _performance(specs: Sequence[PowerCappingPolicySpec]) -> tuple[float, float]:
    """Returns the tokens per joule that a pod has to generate, and the tokens per second up to which it idles."""
    rules = [spec.performance_power for spec in specs if spec.performance_power is not None]
    targets = [(rule.tokens_per_joule * (1.0 - rule.tolerance), rule.min_tokens_per_second) for rule in rules]
    return max(targets, default=(float("nan"), 0.0))


def _triggers_of_ours(scaled_object: ScaledObject) -> list[Mapping[str, str]]:
    return [trigger.metadata for trigger in scaled_object.spec.triggers if trigger.type in EXTERNAL_TRIGGERS]


def build_service_table(
    workloads: Iterable[Workload],
    policies: Iterable[PowerCappingPolicy],
    scaled_objects: Iterable[ScaledObject],
    namespaces: Iterable[Namespace],
    kserve: KServeServices,
    budgets: Sequence[PowerBudget],
    nodes: NodeTable,
) -> ServiceTable:
    """Builds the table. Rows are sorted by key, domains are in the budgets' order."""
    by_namespace: dict[str, list[PowerCappingPolicy]] = defaultdict(list)
    for policy in policies:
        by_namespace[policy.metadata.namespace].append(policy)
    scalers: dict[ServiceKey, list[ScaledObject]] = defaultdict(list)
    for scaled_object in scaled_objects:
        target = scaled_object.spec.scale_target_ref
        key = ServiceKey(scaled_object.metadata.namespace, target.kind or "Deployment", target.name)
        scalers[key].append(scaled_object)
    rows: list[_Row] = []
    for workload in workloads:
        candidates = by_namespace.get(workload.metadata.namespace, ())
        chosen = selecting(workload, kserve.policy(workload), candidates) if candidates else []
        if chosen:
            row = _claimed(workload, chosen)
            row.part = kserve.part(workload)
            own = scalers.get(row.key, [])
            # KServe's own autoscalers decide up to the ceiling that they are given, so all of it is reserved, unless
            # they only pass on what the scaler tells.
            told = bool(own) and all(map(asks_for_replicas, own))
            row.cap_only = row.part is not None and bool(row.part.maximum) and not told
            row.cap_only |= any(trigger.get("metric") == "cap" for one in own for trigger in _triggers_of_ours(one))
            row.claimed_twice |= len(own) > 1
            rows.append(row)
    rows.sort(key=lambda row: row.key)
    return _columns(rows, {one.metadata.name for one in namespaces if opted_in(one.metadata.labels)}, budgets, nodes)


def _columns(
    rows: list[_Row], enabled: Collection[str], budgets: Sequence[PowerBudget], nodes: NodeTable
) -> ServiceTable:
    eligible, eligible_domains, eligible_places = _eligibility(rows, nodes)
    wants = np.array([np.sum([requested(spec) for spec in row.pods], axis=0) for row in rows]).reshape(len(rows), 2)

    def whole(values: Iterable[int]) -> Ints:
        return np.fromiter(values, dtype=np.int64, count=len(rows))

    def real(values: Iterable[float]) -> Floats:
        return np.fromiter(values, dtype=np.float64, count=len(rows))

    def flags(values: Iterable[bool]) -> Bools:
        return np.fromiter(values, dtype=np.bool_, count=len(rows))

    return ServiceTable(
        keys=tuple(row.key for row in rows),
        row_of={row.key: number for number, row in enumerate(rows)},
        policies=tuple(row.policy for row in rows),
        demands=tuple(row.demand for row in rows),
        parts=tuple(row.part for row in rows),
        mode=whole(row.mode for row in rows),
        gated=flags(gated(row.workload, row.mode, enabled) for row in rows),
        surges=flags(surges(row.workload) for row in rows),
        replaces=flags(row.replaces for row in rows),
        priority=_effective_priority(rows, budgets, eligible_domains),
        floor=whole(row.floor for row in rows),
        ceiling=whole(row.ceiling for row in rows),
        cap_only=flags(row.cap_only for row in rows),
        target_per_replica=real(row.demand.target_per_replica if row.demand else float("nan") for row in rows),
        stabilization_seconds=real(row.demand.stabilization_seconds if row.demand else 0.0 for row in rows),
        spec_replicas=whole(row.workload.spec.replicas for row in rows),
        pods_per_replica=whole(max(len(row.pods), 1) for row in rows),
        gpus=wants[:, 0],
        cpu_cores=wants[:, 1],
        prior_watts=real(row.prior_watts for row in rows),
        eligible=eligible,
        eligible_domains=eligible_domains,
        eligible_places=eligible_places,
        claimed_twice=flags(row.claimed_twice for row in rows),
        violation_tolerance=real(row.violation_tolerance for row in rows),
        least_tokens_per_joule=real(row.least_tokens_per_joule for row in rows),
        idle_tokens_per_second=real(row.idle_tokens_per_second for row in rows),
    )


def _eligibility(rows: list[_Row], nodes: NodeTable) -> tuple[Bools, Bools, Bools]:
    """Returns bool[S, K], bool[S, D] and bool[S, L]: kinds, domains and places where some pod of a replica can land.

    Services with the same constraints share one answer: there are far fewer constraints than services.
    """
    eligible = np.zeros((len(rows), len(nodes.kind_names)), dtype=np.bool_)
    domains = np.zeros((len(rows), nodes.members.shape[0]), dtype=np.bool_)
    places = np.zeros((len(rows), len(nodes.places)), dtype=np.bool_)
    known: dict[str, tuple[Bools, Bools, Bools]] = {}
    for number, row in enumerate(rows):
        for spec in row.pods[:2]:  # The leader and one worker stand for the group.
            gpus = requested(spec)[0]
            signature = f"{gpus} {sorted(spec.node_selector.items())} {spec.affinity}"
            if signature not in known:
                allowed = nodes.index.allows(spec) & (nodes.gpus >= gpus)
                kinds = np.zeros(len(nodes.kind_names), dtype=np.bool_)
                kinds[nodes.kind[allowed]] = True
                here = np.zeros(len(nodes.places), dtype=np.bool_)
                here[nodes.place[allowed]] = True
                known[signature] = (kinds, np.logical_or.reduce(nodes.members & allowed, axis=1), here)
            eligible[number] |= known[signature][0]
            domains[number] |= known[signature][1]
            places[number] |= known[signature][2]
    return eligible, domains, places


def _effective_priority(rows: list[_Row], budgets: Sequence[PowerBudget], eligible_domains: Bools) -> Ints:
    """Returns int64[S]: the policy's priority, limited by every budget that the service can draw from."""
    priority = np.array([row.priority for row in rows], dtype=np.int64)
    for domain, budget in enumerate(budgets):
        limits = {entry.namespace: entry.max_priority for entry in budget.spec.namespace_priorities}
        if not limits:
            continue
        for number in np.flatnonzero(eligible_domains[:, domain]):
            limit = limits.get(rows[number].key.namespace, limits.get("*"))
            if limit is not None:
                priority[number] = min(priority[number], limit)
    return priority
