"""What is wrong with a PowerBudget that is being written.

Refused is what contradicts itself and comes with this very write. Everything else is a warning:

- A budget that selects no node: a rack may be registered before its nodes join.
- A parent that does not exist: who applies several files has no say in their order.
- A limit below the children's: a cut must always pass, or the higher limit would stay in force.
- What was wrong before: whoever repairs something else must not be held up by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from admission.nearest import nearest
from admission.problem import Problem
from wattkeeper.api.budget_groups import BudgetGroups, Contradiction, parent_of, promised_watts
from wattkeeper.api.meta import LabelSelector
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.objects import Node


def budget_problems(
    new: PowerBudget, old: PowerBudget | None, known: Collection[PowerBudget], nodes: Collection[Node]
) -> Iterator[Problem]:
    """Yields problems.

    Args:
        new: as it shall be.
        old: as it is, None where it is being created.
        known: every budget of the cluster, this one included or not.
        nodes: every node.
    """
    name = new.metadata.name
    groups = BudgetGroups([*(one for one in known if one.metadata.name != name), new])
    for found in groups.contradictions(new):
        meant = nearest(parent_of(new), (one.metadata.name for one in known)) if found.reason == "ParentMissing" else ""
        message = f"{found.message} Did you mean {meant}?" if meant else found.message
        yield Problem(field=found.field, message=message, refuses=_made_by(found, new, old, groups))
    for parent in known:
        if parent.metadata.name == parent_of(new) != name:
            grows = promised_watts(new, parent) > (0.0 if old is None else promised_watts(old, parent))
            for found in groups.contradictions(parent):
                if found.reason == "ChildrenExceedLimit":
                    yield Problem(field=found.field, message=found.message, refuses=grows)
    selector = new.spec.node_selector
    if not any(selector.matches(node.metadata.labels) for node in nodes):
        message = f"no node is selected now, so nothing is limited until one is{_meant(selector, nodes)}."
        yield Problem(field="spec.nodeSelector", message=message)


def _made_by(found: Contradiction, new: PowerBudget, old: PowerBudget | None, groups: BudgetGroups) -> bool:
    """Says whether a contradiction of a budget with its parents or children comes with this write and is refused."""
    match found.reason:
        case "ParentMissing":
            return False
        case "ParentCycle":
            return old is None or parent_of(old) != parent_of(new)
        case "ChildrenExceedLimit":
            # A limit that is cut makes it so, too, and passes.
            return old is None or old.spec.oversubscribed or groups.children_watts(new) > groups.children_watts(old)


def _meant(selector: LabelSelector, nodes: Collection[Node]) -> str:
    """Returns which label no node has, and the nearest one that some have."""
    for key, value in selector.match_labels.items():
        values = {node.metadata.labels[key] for node in nodes if key in node.metadata.labels}
        if value in values:
            continue
        if values:
            near = nearest(value, values)
            return f"; no node has {key}={value}{f', but some have {key}={near}' if near else ''}"
        near = nearest(key, {known for node in nodes for known in node.metadata.labels})
        return f"; no node has the label {key}{f', but some have {near}' if near else ''}"
    return ""
