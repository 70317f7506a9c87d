"""Joins what the cluster says with what was measured: view and Measurements in, Readings out.

Tables follow the view's changes: a pod's change writes one row; nodes, budgets, policies and workloads mark their table
for rebuilding. A collect with nothing changed costs only the join of the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from wattkeeper.api.admission import opted_in
from wattkeeper.api.power_budget import METERS, PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.readings import (
    Bools,
    BudgetRows,
    Column,
    Floats,
    Ints,
    Measurements,
    NodeRows,
    PodRows,
    Published,
    Readings,
    ServiceKey,
    ServiceRows,
)
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.kserve import InferenceService, LLMInferenceService
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet, Namespace, Node, Pod, PodSpec, ScaledObject
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.recommender.gated_pods import GatedPods, look_at_gates
from wattkeeper.recommender.kserve import KServeServices
from wattkeeper.recommender.measured_demand import ServiceLoad, measure_demand
from wattkeeper.recommender.migrating import migration_rows
from wattkeeper.recommender.nodes import NodeTable, build_node_table
from wattkeeper.recommender.pods import PodTable
from wattkeeper.recommender.services import ServiceTable, build_service_table
from wattkeeper.recommender.user_bounds import user_bounds

_K = TypeVar("_K")
# Nodes, namespaces, pods and budgets have handlers of their own.
_Followed = PowerCappingPolicy | Deployment | LeaderWorkerSet | ScaledObject | InferenceService | LLMInferenceService
_T = TypeVar("_T", bound=_Followed)


class ReadingsCollector:
    """Keeps the tables of one view current."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._pods = PodTable()
        self._nodes: NodeTable | None = None
        self._services: ServiceTable | None = None
        self._budgets: tuple[PowerBudget, ...] = ()
        self._kserve = KServeServices(view)
        view.subscribe(Pod, self._pods.change)
        view.subscribe(Node, self._node_changed)
        view.subscribe(PowerBudget, self._budget_changed)
        view.subscribe(Namespace, self._namespace_changed)
        for kind in (
            PowerCappingPolicy,
            Deployment,
            LeaderWorkerSet,
            ScaledObject,
            InferenceService,
            LLMInferenceService,
        ):
            self._follow(kind)

    def request(self) -> ReadRequest:
        """Returns which queries of users the reader has to evaluate."""
        _, services = self._tables()
        return ReadRequest(
            demands=tuple(
                (key, demand.query)
                for key, demand in zip(services.keys, services.demands, strict=True)
                if demand is not None and demand.metric == "PromQL"
            ),
            meters=tuple(
                (budget.metadata.name, budget.spec.meter_query) for budget in self._budgets if budget.spec.meter_query
            ),
        )

    def collect(
        self, measurements: Measurements, now: float, opened: Mapping[str, PodSpec] = MappingProxyType({})
    ) -> Readings:
        """Joins one round of measurements with the cluster as it is.

        Args:
            measurements: of this round.
            now: Unix seconds.
            opened: by UID, pods whose power gate is open by now, whatever the cache shows, and how they look since.
        """
        nodes, services = self._tables()
        node = self._pods.node_names.rows(nodes.row_of)[self._pods.node_id]
        service = self._pods.service_keys.rows(services.row_of)[self._pods.service_id]
        gates = look_at_gates(
            self._pods,
            services,
            nodes,
            opened,
            service=service,
            node=node,
        )
        pods = self._pod_rows(measurements, node, service, gates, now)
        load = measure_demand(measurements, services, pods, self._pods, now)
        bounds = user_bounds(services, self._view)
        return Readings(
            nodes=_node_rows(measurements, nodes, now),
            pods=replace(pods, tokens_per_second=load.pod_tokens_per_second),
            services=_service_rows(services, gates, _slipped(pods, len(services.keys)), load, *bounds),
            budgets=self._budget_rows(measurements, now),
            demand_interval_seconds=measurements.demand_interval_seconds,
            synced=self._view.synced(),
            published=self._published(),
            migrations=migration_rows(
                self._view, services.row_of, {one.metadata.name: row for row, one in enumerate(self._budgets)}
            ),
        )

    def _follow(self, kind: type[_T]) -> None:
        def changed(old: _T | None, new: _T | None) -> None:
            if old is None or new is None or not _same_but_status(old, new):
                self._services = None

        self._view.subscribe(kind, changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        same = (
            old is not None
            and new is not None
            and old.metadata.labels == new.metadata.labels
            and old.status.capacity == new.status.capacity
        )
        if not same:
            self._nodes = self._services = None

    def _budget_changed(self, old: PowerBudget | None, new: PowerBudget | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._nodes = self._services = None

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        before, after = (one is not None and opted_in(one.metadata.labels) for one in (old, new))
        if before != after:
            self._services = None

    def _tables(self) -> tuple[NodeTable, ServiceTable]:
        if self._nodes is None:
            budgets = self._view.all(PowerBudget).values()
            self._budgets = tuple(sorted(budgets, key=lambda budget: budget.metadata.name))
            self._nodes = build_node_table(self._view.all(Node).values(), self._budgets)
        if self._services is None:
            self._services = build_service_table(
                (*self._view.all(Deployment).values(), *self._view.all(LeaderWorkerSet).values()),
                self._view.all(PowerCappingPolicy).values(),
                self._view.all(ScaledObject).values(),
                self._view.all(Namespace).values(),
                self._kserve,
                self._budgets,
                self._nodes,
            )
        return self._nodes, self._services

    def _pod_rows(self, measurements: Measurements, node: Ints, service: Ints, gates: GatedPods, now: float) -> PodRows:
        pods = self._pods
        count = len(pods)
        cpu, cpu_age = _joined(measurements.pod_cpu_watts, pods.row_of, count, now)
        gpu, gpu_age = _joined(measurements.pod_gpu_watts, pods.row_of, count, now)
        return PodRows(
            keys=tuple(pods.keys),
            uids=pods.uids,
            row_by_uid=pods.row_by_uid.copy(),
            node=node,
            service=service,
            phase=gates.phase,
            group=pods.group.copy(),
            landing=gates.landing,
            landings=gates.landings,
            gpus=pods.gpus.copy(),
            cpu_cores=pods.cpu_cores.copy(),
            since=pods.since.copy(),
            created=pods.created.copy(),
            slipped=gates.slipped,
            cpu_watts=cpu,
            gpu_watts=gpu,
            age_seconds=np.maximum(cpu_age, np.where(pods.gpus > 0, gpu_age, 0.0)),
            tokens_per_second=np.full(count, np.nan),
        )

    def _budget_rows(self, measurements: Measurements, now: float) -> BudgetRows:
        budgets = self._budgets
        row_of = {budget.metadata.name: row for row, budget in enumerate(budgets)}
        meter, age = _joined(measurements.meter_watts, row_of, len(budgets), now)
        return BudgetRows(
            names=tuple(row_of),
            limit_watts=np.array([budget.spec.limit_watts for budget in budgets], dtype=np.float64),
            reserved_watts=np.array([budget.spec.reserved_watts for budget in budgets], dtype=np.float64),
            shed_seconds=np.array([budget.spec.shed_seconds for budget in budgets], dtype=np.float64),
            meter=np.array([METERS.index(budget.spec.meter) for budget in budgets], dtype=np.int64),
            meter_watts=meter,
            meter_age_seconds=age,
        )

    def _published(self) -> Mapping[ServiceKey, Published]:
        published: dict[ServiceKey, Published] = {}
        for one in self._view.all(PowerRecommendation).values():
            reference, status = one.spec.scale_target_ref, one.status
            if status.mode:  # Written at least once.
                uncapped = -1 if status.uncapped_target is None else status.uncapped_target.replicas
                key = ServiceKey(one.metadata.namespace, reference.kind, reference.name)
                published[key] = Published(
                    status.granted_replicas,
                    uncapped,
                    violations=status.violations,
                    movable_pods=status.movable_pods,
                )
        return published


def _same_but_status(old: _Followed, new: _Followed) -> bool:
    return (
        old.spec == new.spec
        and old.metadata.labels == new.metadata.labels
        and old.metadata.annotations == new.metadata.annotations
    )


def _joined(column: Column[_K], row_of: Mapping[_K, int], count: int, now: float) -> tuple[Floats, Floats]:
    """Returns float64[count] values, NaN where the column names nothing, and their ages in seconds, inf there."""
    values = np.full(count, np.nan)
    ages = np.full(count, np.inf)
    rows: Ints = np.array([row_of.get(key, -1) for key in column.keys], dtype=np.int64)
    known = (rows >= 0) & np.isfinite(column.values)
    values[rows[known]] = column.values[known]
    # A sample from a clock ahead of ours is fresh, not younger than now.
    ages[rows[known]] = np.maximum(now - column.timestamps[known], 0.0)
    return values, ages


def _node_rows(measurements: Measurements, nodes: NodeTable, now: float) -> NodeRows:
    count = len(nodes.names)
    cpu, cpu_age = _joined(measurements.node_cpu_watts, nodes.row_of, count, now)
    gpu, gpu_age = _joined(measurements.node_gpu_watts, nodes.row_of, count, now)
    platform, platform_age = _joined(measurements.node_platform_watts, nodes.row_of, count, now)
    return NodeRows(
        names=nodes.names,
        kind=nodes.kind,
        kind_names=nodes.kind_names,
        gpus=nodes.gpus,
        domains=nodes.domains,
        place=nodes.place,
        places=nodes.places,
        cpu_watts=cpu,
        cpu_age_seconds=cpu_age,
        cpu_idle_watts=_joined(measurements.node_cpu_idle_watts, nodes.row_of, count, now)[0],
        gpu_watts=gpu,
        gpu_age_seconds=gpu_age,
        gpu_idle_watts=_joined(measurements.node_gpu_idle_watts, nodes.row_of, count, now)[0],
        gpu_limit_watts=_joined(measurements.node_gpu_limit_watts, nodes.row_of, count, now)[0],
        platform_watts=platform,
        platform_age_seconds=platform_age,
        interval_seconds=np.full(count, measurements.interval_seconds),
    )


def _slipped(pods: PodRows, count: int) -> Ints:
    return np.bincount(pods.service[pods.slipped], minlength=count)


def _service_rows(
    services: ServiceTable, gates: GatedPods, slipped: Ints, load: ServiceLoad, bound: Ints, fixed: Bools
) -> ServiceRows:
    ceiling = np.where(bound < 0, services.ceiling, np.minimum(services.ceiling, np.maximum(bound, services.floor)))
    return ServiceRows(
        keys=services.keys,
        policies=services.policies,
        mode=services.mode,
        gated=services.gated,
        slipped=slipped,
        rolls=gates.rolls,
        replaces=services.replaces,
        priority=services.priority,
        floor=services.floor,
        ceiling=ceiling,
        cap_only=services.cap_only,
        demand_stated=np.array([demand is not None for demand in services.demands], dtype=np.bool_),
        demand=np.where(fixed, bound, load.demand),
        demand_age_seconds=np.where(fixed, 0.0, load.age_seconds),
        load=load.load,
        tokens_per_second=load.tokens_per_second,
        stabilization_seconds=services.stabilization_seconds,
        spec_replicas=services.spec_replicas,
        pods_per_replica=services.pods_per_replica,
        gpus=services.gpus,
        cpu_cores=services.cpu_cores,
        prior_watts=services.prior_watts,
        eligible=services.eligible,
        eligible_domains=services.eligible_domains,
        eligible_places=services.eligible_places,
        claimed_twice=services.claimed_twice,
        violation_tolerance=services.violation_tolerance,
        least_tokens_per_joule=services.least_tokens_per_joule,
        idle_tokens_per_second=services.idle_tokens_per_second,
    )
