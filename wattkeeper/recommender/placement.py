"""Where pods may land: label selectors, node selectors and required affinity, over all nodes at once.

A node index answers "which nodes carry this label" as one boolean array, so that a selector costs a few array
operations however many nodes there are. Preferences, taints and free capacity are left out on purpose: they change
too fast to keep watts away from a node.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattkeeper.api.meta import LabelSelector
from wattkeeper.api.readings import Bools
from wattkeeper.cluster.objects import NodeSelectorRequirement, NodeSelectorTerm, PodSpec


class NodeIndex:
    """Labels of N nodes, by key and by key and value."""

    def __init__(self, names: Sequence[str], labels: Sequence[dict[str, str]]) -> None:
        self._count = len(names)
        self._row_of = {name: row for row, name in enumerate(names)}
        self._rows: dict[str, dict[str, list[int]]] = {}
        for row, own in enumerate(labels):
            for key, value in own.items():
                self._rows.setdefault(key, {}).setdefault(value, []).append(row)

    def with_value(self, key: str, values: Sequence[str]) -> Bools:
        """Returns bool[N]: nodes whose label has one of the values."""
        found = np.zeros(self._count, dtype=np.bool_)
        by_value = self._rows.get(key, {})
        for value in values:
            found[by_value.get(value, [])] = True
        return found

    def with_key(self, key: str) -> Bools:
        """Returns bool[N]: nodes that carry the label at all."""
        return self.with_value(key, tuple(self._rows.get(key, {})))

    def selected(self, selector: LabelSelector) -> Bools:
        """Returns bool[N]: nodes that a label selector selects."""
        found = np.ones(self._count, dtype=np.bool_)
        for key, value in selector.match_labels.items():
            found &= self.with_value(key, (value,))
        for expression in selector.match_expressions:
            found &= self._holds(expression.key, expression.operator, expression.values)
        return found

    def allows(self, spec: PodSpec) -> Bools:
        """Returns bool[N]: nodes that a pod's nodeSelector and required node affinity allow."""
        found = np.ones(self._count, dtype=np.bool_)
        for key, value in spec.node_selector.items():
            found &= self.with_value(key, (value,))
        node_affinity = spec.affinity.node_affinity if spec.affinity else None
        required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity else None
        if required is not None:
            alternatives = np.zeros(self._count, dtype=np.bool_)
            for term in required.node_selector_terms:
                alternatives |= self._term(term)
            found &= alternatives
        return found

    def _term(self, term: NodeSelectorTerm) -> Bools:
        if not term.match_expressions and not term.match_fields:
            return np.zeros(self._count, dtype=np.bool_)  # Kubernetes: an empty term matches nothing.
        found = np.ones(self._count, dtype=np.bool_)
        for requirement in term.match_expressions:
            found &= self._holds(requirement.key, requirement.operator, requirement.values)
        for requirement in term.match_fields:
            found &= self._field(requirement)
        return found

    def _field(self, requirement: NodeSelectorRequirement) -> Bools:
        named = np.zeros(self._count, dtype=np.bool_)
        named[[self._row_of[name] for name in requirement.values if name in self._row_of]] = True
        return ~named if requirement.operator == "NotIn" else named

    def _holds(self, key: str, operator: str, values: Sequence[str]) -> Bools:
        match operator:
            case "In":
                return self.with_value(key, values)
            case "NotIn":
                return ~self.with_value(key, values)
            case "Exists":
                return self.with_key(key)
            case "DoesNotExist":
                return ~self.with_key(key)
            case "Gt" | "Lt":
                return self._compares(key, operator, values)
            case _:
                # An operator that Kubernetes adds later: assume that the node is allowed, so that its watts count.
                return np.ones(self._count, dtype=np.bool_)

    def _compares(self, key: str, operator: str, values: Sequence[str]) -> Bools:
        try:
            bound = int(values[0])
        except (IndexError, ValueError):
            return np.zeros(self._count, dtype=np.bool_)
        fitting = [
            value
            for value in self._rows.get(key, {})
            if value.lstrip("-").isdigit() and (int(value) > bound if operator == "Gt" else int(value) < bound)
        ]
        return self.with_value(key, fitting)
