"""Keeps a pod out of domains by its required node affinity: the negation of the budgets' node selectors.

Kubernetes lets affinity be tightened while a pod is gated: terms may grow by requirements, and a pod without terms may
get any (kubernetes 1.36 pkg/apis/core/validation/validation.go, validateNodeAffinityMutation). A selector of one
requirement becomes one more requirement in every term. The negation of several is an alternative, which needs terms of
its own: where the pod has terms already, or there would be too many, the nodes are named instead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from wattkeeper.api.meta import LabelExpression, LabelSelector
from wattkeeper.cluster.objects import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    RequiredNodeAffinity,
)
from wattkeeper.recommender.errors import UnavoidableError

MOST_TERMS: Final = 16
"""The scheduler tries a pod's terms on every node one after the other."""

HOSTNAME: Final = "kubernetes.io/hostname"
NODE_NAME_FIELD: Final = "metadata.name"
_OPPOSITES: Final = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}

_Requirements = tuple[NodeSelectorRequirement, ...]


def avoiding(
    spec: PodSpec, avoided: Sequence[LabelSelector], nodes: Iterable[Node]
) -> tuple[NodeSelectorTerm, ...] | None:
    """Returns required terms that allow what the pod allowed, less every node that an avoided selector selects.

    Args:
        spec: the gated pod's.
        avoided: node selectors of the budgets to keep out of.
        nodes: all there are. Read only where they have to be named; one that joins later is then not kept out.

    Returns:
        All the terms from now on, None where nothing has to be added.

    Raises:
        UnavoidableError: what the pod's node selector asks for lies in an avoided domain altogether.
    """
    everywhere: list[NodeSelectorRequirement] = []
    choices: list[_Requirements] = []
    named: list[LabelSelector] = []
    own = required_terms(spec)
    for selector in avoided:
        alternatives = _negated(selector, spec.node_selector)
        if alternatives is None:
            continue
        if not alternatives:
            raise UnavoidableError("the pod's own nodeSelector keeps it inside a domain that it is to avoid")
        if len(alternatives) == 1:
            everywhere += alternatives
        elif own or math.prod(map(len, choices)) * len(alternatives) > MOST_TERMS:
            named.append(selector)
        else:
            choices.append(alternatives)
    added = _merged(everywhere)
    fields: _Requirements = ()
    if named:
        by_label, fields = _without_nodes(named, nodes)
        added += by_label
    if own:
        return tuple(_grown(term, added, fields) for term in own) if added or fields else None
    combined = (_merged([*added, *chosen]) for chosen in itertools.product(*choices))
    terms = tuple(NodeSelectorTerm(match_expressions=one, match_fields=fields) for one in combined)
    return terms if added or fields or choices else None


def required_terms(spec: PodSpec) -> tuple[NodeSelectorTerm, ...]:
    """Returns a pod's required node affinity terms, none where it has none."""
    node_affinity = spec.affinity.node_affinity if spec.affinity else None
    required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity else None
    return required.node_selector_terms if required else ()


def requiring(spec: PodSpec, terms: tuple[NodeSelectorTerm, ...]) -> PodSpec:
    """Returns a pod's spec with other required terms."""
    required = RequiredNodeAffinity(node_selector_terms=terms)
    node_affinity = NodeAffinity(required_during_scheduling_ignored_during_execution=required)
    return replace(spec, affinity=Affinity(node_affinity=node_affinity))


def _negated(selector: LabelSelector, pinned: dict[str, str]) -> _Requirements | None:
    """Returns requirements of which one must hold for a node to be outside: none where every node is inside.

    None where every node is outside. Only nodes that have the labels `pinned` count.
    """
    expressions = [
        LabelExpression(key=key, operator="In", values=(value,)) for key, value in selector.match_labels.items()
    ]
    alternatives: list[NodeSelectorRequirement] = []
    for expression in (*expressions, *selector.match_expressions):
        value = pinned.get(expression.key)
        if value is not None:
            # The pod's nodeSelector has decided already: it must hold beside the affinity.
            if not LabelSelector(match_expressions=(expression,)).matches({expression.key: value}):
                return None
        elif expression.operator in ("In", "NotIn") and not expression.values:
            # Kubernetes refuses these in an affinity. In nothing never holds, not in nothing always does.
            if expression.operator == "In":
                return None
        else:
            opposite = _OPPOSITES[expression.operator]
            alternatives.append(
                NodeSelectorRequirement(key=expression.key, operator=opposite, values=expression.values)
            )
    return tuple(alternatives)


def _merged(requirements: Sequence[NodeSelectorRequirement]) -> _Requirements:
    """Returns requirements that must all hold, those of NotIn on one key as one: racks are avoided by the dozen."""
    kept: list[NodeSelectorRequirement] = []
    excluded: dict[str, dict[str, None]] = {}
    for one in requirements:
        if one.operator == "NotIn":
            excluded.setdefault(one.key, {}).update(dict.fromkeys(one.values))
        elif one not in kept:
            kept.append(one)
    merged = [
        NodeSelectorRequirement(key=key, operator="NotIn", values=tuple(values)) for key, values in excluded.items()
    ]
    return (*merged, *kept)


def _without_nodes(selectors: Sequence[LabelSelector], nodes: Iterable[Node]) -> tuple[_Requirements, _Requirements]:
    """Returns requirements on labels, and on fields, that exclude exactly the nodes that some selector selects.

    The hostname label takes a list and a field takes one name. But the label is no more than a label: a node may lack
    it, and two nodes may share one.
    """
    inside: list[Node] = []
    outside: set[str] = set()
    for node in nodes:
        if any(selector.matches(node.metadata.labels) for selector in selectors):
            inside.append(node)
        else:
            outside.add(node.metadata.labels.get(HOSTNAME, ""))
    hostnames: set[str] = set()
    names: list[str] = []
    for node in inside:
        hostname = node.metadata.labels.get(HOSTNAME, "")
        if hostname and hostname not in outside:
            hostnames.add(hostname)
        else:
            names.append(node.metadata.name)
    by_label = NodeSelectorRequirement(key=HOSTNAME, operator="NotIn", values=tuple(sorted(hostnames)))
    by_field = [
        NodeSelectorRequirement(key=NODE_NAME_FIELD, operator="NotIn", values=(name,)) for name in sorted(names)
    ]
    return (by_label,) if hostnames else (), tuple(by_field)


def _grown(term: NodeSelectorTerm, added: _Requirements, fields: _Requirements) -> NodeSelectorTerm:
    if not term.match_expressions and not term.match_fields:
        return term  # It allows nothing, and Kubernetes wants it to stay empty.
    return replace(
        term,
        match_expressions=(*term.match_expressions, *added),
        match_fields=(*term.match_fields, *fields),
    )
