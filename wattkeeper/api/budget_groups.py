"""Where groups of budgets contradict themselves.

`parentRef` groups budgets for people, and no figure is computed from it: each budget is kept by itself. So nothing here
lets more watts flow; it misleads who reads the group. The leader says it on statuses, the admission plugin to who
writes a budget.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from wattkeeper.api.power_budget import METERS, PowerBudget

Reason = Literal["ParentMissing", "ParentCycle", "ChildrenExceedLimit"]

_TOLERANCE_WATTS: Final = 1e-3
"""What floats may be wrong by: limits go up to 1e10 W."""

_MOST_NAMES: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """One contradiction.

    Attributes:
        reason: CamelCase, for machines.
        field: the field of the budget that is to blame.
        message: for people, with what to do.
    """

    reason: Reason
    field: str
    message: str


class BudgetGroups:
    """Budgets by name, and who names whom as parent."""

    def __init__(self, budgets: Iterable[PowerBudget]) -> None:
        self._budgets: Mapping[str, PowerBudget] = {one.metadata.name: one for one in budgets}
        self._children: dict[str, list[PowerBudget]] = defaultdict(list)
        for one in self._budgets.values():
            if parent := parent_of(one):
                self._children[parent].append(one)

    def grouped(self, budget: PowerBudget) -> bool:
        """Says whether a budget has a parent or is one."""
        return bool(parent_of(budget)) or budget.metadata.name in self._children

    def contradictions(self, budget: PowerBudget) -> Iterator[Contradiction]:
        """Yields what contradicts itself about one of the budgets, in this order: its parents, then its children."""
        parent = parent_of(budget)
        if parent and parent not in self._budgets:
            message = f"there is no PowerBudget {parent}: create it, or correct the name."
            yield Contradiction(reason="ParentMissing", field="spec.parentRef.name", message=message)
        circle = self.cycle_through(budget.metadata.name)
        if circle:
            way = " -> ".join(circle if len(circle) <= _MOST_NAMES else (*circle[:_MOST_NAMES], "...", circle[-1]))
            message = f"parents lead in a circle, {way}: let one of them name no parent."
            yield Contradiction(reason="ParentCycle", field="spec.parentRef.name", message=message)
        excess = self.excess_watts(budget)
        if excess:
            message = (
                f"children may draw {self.children_watts(budget):,.0f} W together, {excess:,.0f} W more than "
                f"PowerBudget {budget.metadata.name} allows: lower their limitWatts, raise its own, or set "
                "oversubscribed: true there."
            )
            yield Contradiction(reason="ChildrenExceedLimit", field="spec.limitWatts", message=message)

    def cycle_through(self, name: str) -> tuple[str, ...]:
        """Returns the way from a budget through its parents back to itself, () where they lead elsewhere."""
        way = [name]
        seen = {name}
        while (budget := self._budgets.get(way[-1])) is not None and (parent := parent_of(budget)):
            way.append(parent)
            if parent == name:
                return tuple(way)
            if parent in seen:
                break
            seen.add(parent)
        return ()

    def excess_watts(self, parent: PowerBudget) -> float:
        """Returns by how much the limits of a budget's children exceed its own; 0 where it says that they may."""
        excess = 0.0 if parent.spec.oversubscribed else self.children_watts(parent) - parent.spec.limit_watts
        return excess if excess > _TOLERANCE_WATTS else 0.0

    def children_watts(self, parent: PowerBudget) -> float:
        """Returns what a budget's children may draw of it together for certain, in watts at its meter."""
        return math.fsum(promised_watts(child, parent) for child in self._children.get(parent.metadata.name, ()))


def parent_of(budget: PowerBudget) -> str:
    """Returns the name of a budget's parent, "" for none."""
    return "" if budget.spec.parent_ref is None else budget.spec.parent_ref.name


def promised_watts(child: PowerBudget, parent: PowerBudget) -> float:
    """Returns what a child may draw of its parent for certain, in watts at the parent's meter.

    A meter further out sees more: wall is never less than node, and node never less than gpu. So the limit of a child
    that is measured further out than its parent says nothing that could be added up here.
    """
    if parent_of(child) != parent.metadata.name:
        return 0.0
    comparable = METERS.index(child.spec.meter) >= METERS.index(parent.spec.meter)
    return child.spec.limit_watts if comparable else 0.0
