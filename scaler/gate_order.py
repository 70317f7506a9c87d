"""Who of a service's pods leaves the power gate first: those of its newest template, then the oldest.

In the middle of a rollout the gate may hold two sorts of pods: new ones, and successors of old ones that went. The
watts of one that went are for a new pod. Its successor waits until the rollout removes it, because it is not ready.
"""

from __future__ import annotations

from collections.abc import Iterable

from scaler.gate_queue import Waiting
from wattkeeper.api.power_recommendation import PowerRecommendation, recommendation_name
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import service_of
from wattkeeper.recommender.templates import outdated_templates, template_of


class GateOrder:
    """Knows old templates from the moment on at which pods of two stand at the gate, until one is left."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._outdated: dict[ServiceKey, frozenset[str]] = {}

    def look(self, service: ServiceKey, waiting: Iterable[Waiting]) -> None:
        """Looks at the pods of a service when one has come to the gate, while those that went may still show.

        Args:
            service: whose pod has come.
            waiting: who stands at the gate for it.
        """
        known = self._outdated.get(service)
        if known is None and len({template_of(one.pod) for one in waiting}) < 2:
            return
        pods = (pod for pod in self._view.all(Pod).values() if service_of(pod) == service)
        outdated = outdated_templates(pods, (known or frozenset()) | self._noted(service))
        if outdated:
            self._outdated[service] = outdated
        elif known is not None:
            del self._outdated[service]

    def _noted(self, service: ServiceKey) -> frozenset[str]:
        """Returns what the actuator has noted as old before it evicted any of it: a new leader saw none of that."""
        name = recommendation_name(service.kind, service.name)
        said = self._view.get(PowerRecommendation, service.namespace, name)
        kill = said.status.actuation.kill if said is not None and said.status.actuation is not None else None
        return frozenset() if kill is None else frozenset(kill.outdated)

    def rank(self, one: Waiting) -> tuple[bool, tuple[str, str, str]]:
        """Sorts who goes first."""
        known = () if one.service is None else self._outdated.get(one.service, ())
        return template_of(one.pod) in known, one.age
