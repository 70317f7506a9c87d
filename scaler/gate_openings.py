"""What the last decision lets out of the power gate, less what has been let out since its readings were taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wattkeeper.api.meta import LabelSelector
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Node, NodeSelectorTerm, PodSpec
from wattkeeper.recommender.affinity import avoiding
from wattkeeper.recommender.errors import UnavoidableError
from wattkeeper.recommender.result import StepResult


class Openings:
    """Counts.

    A decision counts from what was out of the gate when its readings were collected. That moment is marked; what is
    opened from then on is taken off the decision when it comes, and off the last one until it does.
    """

    def __init__(self) -> None:
        self._result: StepResult | None = None
        self._row_of: dict[ServiceKey, int] = {}
        self._keys: tuple[ServiceKey, ...] = ()
        self._left: dict[ServiceKey, int] = {}
        self._counted: dict[str, ServiceKey] = {}
        self._told: frozenset[str] = frozenset()
        self._marked_selectors: dict[str, LabelSelector] = {}
        self._selectors: dict[str, LabelSelector] = {}
        self._terms: dict[tuple[object, ...], tuple[NodeSelectorTerm, ...] | None] = {}

    @property
    def result(self) -> StepResult | None:
        """The decision in force, None where there is none."""
        return self._result

    def mark(self, told: Iterable[str], budgets: Iterable[PowerBudget]) -> None:
        """Notes the moment at which readings are collected.

        Args:
            told: UIDs of the pods that the readings are told to be out.
            budgets: as the readings see them.
        """
        self._counted = {}
        self._told = frozenset(told)
        self._marked_selectors = {one.metadata.name: one.spec.node_selector for one in budgets}

    def take(self, result: StepResult) -> None:
        """Puts the decision in force that was made of the marked readings."""
        services, gate = result.services, result.gate
        if services.keys is not self._keys:
            self._keys = services.keys
            self._row_of = {key: row for row, key in enumerate(services.keys)}
        self._result = result
        self._selectors = self._marked_selectors
        self._terms = {}
        self._left = {services.keys[row]: int(gate.openings[row]) for row in gate.openings.nonzero()[0].tolist()}
        for service in self._counted.values():
            self._left[service] = self._left.get(service, 0) - 1

    def forget(self) -> None:
        """Lets nothing out until the next decision."""
        self._result = None
        self._left = {}
        self._counted = {}

    def knows(self, service: ServiceKey | None) -> bool:
        """Says whether the decision is about a service at all."""
        return service in self._row_of

    def gated(self, service: ServiceKey | None) -> bool:
        """Says whether the decision keeps pods of a service at the gate."""
        row = -1 if service is None else self._row_of.get(service, -1)
        return row >= 0 and self._result is not None and bool(self._result.gate.gated[row])

    def priority(self, service: ServiceKey) -> int:
        """Returns a service's priority; higher is served first."""
        row = self._row_of.get(service, -1)
        return 0 if self._result is None or row < 0 else int(self._result.services.priority[row])

    def left(self, service: ServiceKey) -> int:
        """Returns how many replicas may still leave; below 0 where more have left than may."""
        return self._left.get(service, 0)

    def spend(self, uid: str, service: ServiceKey) -> None:
        """Counts a pod that is let out now."""
        self._counted[uid] = service
        self._left[service] = self._left.get(service, 0) - 1

    def give_back(self, uid: str) -> None:
        """Takes back what was spent on a pod that stands at the gate for sure.

        Nothing comes back where the decision itself was told that the pod is out.
        """
        service = self._counted.pop(uid, None)
        if service is not None and self._result is not None:
            self._left[service] = self._left.get(service, 0) + 1

    def seen_out(self, uid: str, service: ServiceKey) -> None:
        """Counts a pod that others let out, or that never came to the gate: the decision does not know of it."""
        if uid not in self._counted and uid not in self._told:
            self.spend(uid, service)

    def terms(
        self, service: ServiceKey, spec: PodSpec, nodes: Mapping[str, Node]
    ) -> tuple[NodeSelectorTerm, ...] | None:
        """Returns the required affinity terms that keep a pod out of what its service avoids, None for no change.

        Raises:
            UnavoidableError: it cannot be kept out.
        """
        row = self._row_of.get(service, -1)
        if self._result is None or row < 0:
            return None
        avoided = self._result.gate.avoided[row]
        if not avoided.any():
            return None
        asked = (row, spec.affinity, *sorted(spec.node_selector.items()))
        if asked not in self._terms:
            domains: list[int] = avoided.nonzero()[0].tolist()
            names = [self._result.plan.domains[domain] for domain in domains]
            gone = [name for name in names if name not in self._selectors]
            if gone:
                raise UnavoidableError(f"PowerBudget {gone[0]} was not there when the readings were collected")
            selectors = [self._selectors[name] for name in names]
            self._terms[asked] = avoiding(spec, selectors, nodes.values())
        return self._terms[asked]
