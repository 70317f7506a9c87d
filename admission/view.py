"""What a review looks up, indexed so that it costs microseconds: everything comes from memory, however old it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from wattkeeper.api.admission import opted_in
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation, recommendation_name
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View, Watched
from wattkeeper.cluster.objects import (
    Deployment,
    HorizontalPodAutoscaler,
    LeaderWorkerSet,
    LimitRange,
    Namespace,
    Node,
    ResourceQuota,
)
from wattkeeper.recommender.kserve import KServeServices

T = TypeVar("T", bound=Watched)
Workload = Deployment | LeaderWorkerSet


class _Index(Generic[T]):
    """Objects of one kind by something that they have in common, each group sorted by name."""

    def __init__(self, view: View, kind: type[T], key: Callable[[T], Hashable]) -> None:
        self._key = key
        self._groups: dict[Hashable, dict[str, T]] = defaultdict(dict)
        self._sorted: dict[Hashable, tuple[T, ...]] = {}
        view.subscribe(kind, self._changed)

    def get(self, key: Hashable) -> tuple[T, ...]:
        """Returns a group, empty where nothing is in it."""
        return self._sorted.get(key, ())

    def _changed(self, old: T | None, new: T | None) -> None:
        if old is not None:
            self._groups[self._key(old)].pop(old.metadata.uid, None)
            self._sort(self._key(old))
        if new is not None:
            self._groups[self._key(new)][new.metadata.uid] = new
            self._sort(self._key(new))

    def _sort(self, key: Hashable) -> None:
        group = self._groups[key]
        if group:
            self._sorted[key] = tuple(sorted(group.values(), key=lambda one: one.metadata.name))
        else:
            del self._groups[key]
            self._sorted.pop(key, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What else has a say in a pod's requests.

    Attributes:
        autoscalers: HPAs of the pod's scale target.
        limit_ranges: of its namespace.
        quotas: of its namespace.
    """

    autoscalers: tuple[HorizontalPodAutoscaler, ...] = ()
    limit_ranges: tuple[LimitRange, ...] = ()
    quotas: tuple[ResourceQuota, ...] = ()


class AdmissionView:
    """The caches, as a review asks them. It follows changes from its construction on."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._kserve = KServeServices(view)
        self._policies = _Index(view, PowerCappingPolicy, _namespace)
        self._limit_ranges = _Index(view, LimitRange, _namespace)
        self._quotas = _Index(view, ResourceQuota, _namespace)
        self._autoscalers = _Index(view, HorizontalPodAutoscaler, _scaled)

    def opted_out(self, namespace: str) -> bool:
        """Says whether pods of a namespace are to be left alone. One that is not seen yet was let through to us."""
        found = self._view.get(Namespace, "", namespace)
        return found is not None and not opted_in(found.metadata.labels)

    def policies(self, namespace: str) -> tuple[PowerCappingPolicy, ...]:
        """Returns a namespace's policies, sorted by name."""
        return self._policies.get(namespace)

    def workload(self, service: ServiceKey) -> Workload | None:
        """Returns the scale target, None where it is not seen yet."""
        kind = Deployment if service.kind == "Deployment" else LeaderWorkerSet
        return self._view.get(kind, service.namespace, service.name)

    def annotated_policy(self, workload: Workload) -> str:
        """Returns the policy that an annotation names for a scale target, "" without one."""
        return self._kserve.policy(workload)

    def recommendation(self, service: ServiceKey) -> PowerRecommendation | None:
        """Returns what the leader last wrote about a service."""
        return self._view.get(PowerRecommendation, service.namespace, recommendation_name(service.kind, service.name))

    def budget(self, name: str) -> PowerBudget | None:
        """Returns a budget."""
        return self._view.get(PowerBudget, "", name)

    def budgets(self) -> Collection[PowerBudget]:
        """Returns every budget."""
        return self._view.all(PowerBudget).values()

    def nodes(self) -> Collection[Node]:
        """Returns every node."""
        return self._view.all(Node).values()

    def workloads(self, namespace: str) -> list[Workload]:
        """Returns a namespace's scale targets. Each is looked at: only who writes a policy asks, and that is rare."""
        every = chain(self._view.all(Deployment).values(), self._view.all(LeaderWorkerSet).values())
        return [one for one in every if one.metadata.namespace == namespace]

    def surroundings(self, service: ServiceKey) -> Surroundings:
        """Returns what else has a say in the requests of a service's pods."""
        return Surroundings(
            autoscalers=self._autoscalers.get(service),
            limit_ranges=self._limit_ranges.get(service.namespace),
            quotas=self._quotas.get(service.namespace),
        )

    def synced(self) -> bool:
        """Says whether the caches are complete and follow the cluster."""
        return self._view.synced()


def _namespace(one: Watched) -> str:
    return one.metadata.namespace


def _scaled(autoscaler: HorizontalPodAutoscaler) -> ServiceKey:
    target = autoscaler.spec.scale_target_ref
    return ServiceKey(autoscaler.metadata.namespace, target.kind, target.name)
