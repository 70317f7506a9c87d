"""Annotations that name no policy: said once a term of leadership, where people have written them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from kserve_hooks.actions import Announce, ServicePlan
from kserve_hooks.events import policy_unknown
from wattkeeper.api.marks import POLICY_ANNOTATION
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.kserve import COMPONENTS, Component, InferenceService, KServeService, LLMInferenceService
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet
from wattkeeper.recommender.kserve import KServeServices, Workload


class UnknownPolicies:
    """Remembers what was said."""

    def __init__(self, view: View) -> None:
        """Takes the caches."""
        self._view = view
        self._said: set[tuple[str, str]] = set()

    def plans(self) -> Iterator[ServicePlan]:
        """Yields an event for each annotation that has come to name no policy."""
        unknown = {
            (one.metadata.uid, name): one
            for one in self._annotated()
            for name in _named(one)
            if self._view.get(PowerCappingPolicy, one.metadata.namespace, name) is None
        }
        for (uid, name), one in unknown.items():
            if (uid, name) not in self._said:
                yield ServicePlan(key=uid, actions=(Announce(event=policy_unknown(one, name)),))
        self._said = set(unknown)

    def _annotated(self) -> Iterator[KServeService | Workload]:
        kserve = KServeServices(self._view)
        yield from self._view.all(InferenceService).values()
        yield from self._view.all(LLMInferenceService).values()
        for one in chain(self._view.all(Deployment).values(), self._view.all(LeaderWorkerSet).values()):
            # What KServe may have copied to a workload does not count.
            if POLICY_ANNOTATION in one.metadata.annotations and kserve.service(one) is None:
                yield one


def _named(one: KServeService | Workload) -> Iterator[str]:
    places = [one.metadata.annotations]
    if isinstance(one, InferenceService):
        components: list[Component | None] = [getattr(one.spec, name) for name in COMPONENTS]
        places += [component.annotations for component in components if component is not None]
    for place in places:
        if place.get(POLICY_ANNOTATION):
            yield place[POLICY_ANNOTATION]
