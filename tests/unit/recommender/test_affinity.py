"""Keeping pods out of domains, held to the index that says where pods may land."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.meta import LabelExpression, LabelSelector, ObjectMeta
from wattkeeper.cluster.objects import (
    Node,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
)
from wattkeeper.recommender.affinity import HOSTNAME, MOST_TERMS, avoiding, requiring
from wattkeeper.recommender.errors import UnavoidableError
from wattkeeper.recommender.placement import NodeIndex
from wattkeeper.simulation.cluster import tightened


def node(name: str, hostname: str | None = None, **labels: str) -> Node:
    own = {HOSTNAME: name if hostname is None else hostname}
    return Node(metadata=ObjectMeta(name=name, labels={key: value for key, value in (own | labels).items() if value}))


def requirement(key: str, operator: str, *values: str) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(key=key, operator=operator, values=values)


def pod(*terms: NodeSelectorTerm, **pinned: str) -> PodSpec:
    spec = PodSpec(node_selector=pinned)
    return requiring(spec, terms) if terms else spec


def term(*requirements: NodeSelectorRequirement) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=requirements)


def rack(*names: str) -> list[LabelSelector]:
    return [LabelSelector(match_labels={"rack": name}) for name in names]


def allowed(spec: PodSpec, nodes: list[Node]) -> set[str]:
    names = [one.metadata.name for one in nodes]
    index = NodeIndex(names, [dict(one.metadata.labels) for one in nodes])
    return {name for name, fits in zip(names, index.allows(spec).tolist(), strict=True) if fits}


def steered(spec: PodSpec, terms: tuple[NodeSelectorTerm, ...] | None) -> PodSpec:
    return spec if terms is None else pod(*terms, **spec.node_selector)


KEYS = st.sampled_from(["rack", "pool", "zone"])
VALUES = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3).map(tuple)
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
OPERATORS: st.SearchStrategy[Operator] = st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"])
LABELS = st.dictionaries(KEYS, st.sampled_from(["a", "b", "c", ""]), max_size=3)


@st.composite
def expressions(draw: st.DrawFn) -> LabelExpression:
    operator = draw(OPERATORS)
    values = draw(VALUES) if operator in ("In", "NotIn") else ()
    return LabelExpression(key=draw(KEYS), operator=operator, values=values)


@st.composite
def selectors_of_budgets(draw: st.DrawFn) -> LabelSelector:
    labels = draw(st.dictionaries(KEYS, st.sampled_from(["a", "b"]), max_size=2))
    return LabelSelector(match_labels=labels, match_expressions=tuple(draw(st.lists(expressions(), max_size=2))))


SELECTORS = selectors_of_budgets()
NODES = st.lists(st.tuples(LABELS, st.sampled_from(["", "shared", "own"])), min_size=1, max_size=8).map(
    lambda drawn: [
        Node(
            metadata=ObjectMeta(
                name=f"n{row}",
                labels=labels | ({HOSTNAME: f"n{row}" if hostname == "own" else hostname} if hostname else {}),
            )
        )
        for row, (labels, hostname) in enumerate(drawn)
    ]
)
TERMS = st.lists(
    st.lists(expressions().map(lambda one: requirement(one.key, one.operator, *one.values)), max_size=2).map(
        lambda found: term(*found)
    ),
    max_size=3,
)
PINNED = st.dictionaries(KEYS, st.sampled_from(["a", "b"]), max_size=2)


@given(nodes=NODES, selectors=st.lists(SELECTORS, max_size=4), terms=TERMS, pinned=PINNED)
def test_a_node_is_allowed_if_the_pod_allowed_it_and_no_avoided_budget_selects_it(
    nodes: list[Node],
    selectors: list[LabelSelector],
    terms: list[NodeSelectorTerm],
    pinned: dict[str, str],
) -> None:
    spec = pod(*terms, **pinned)
    outside = {
        one.metadata.name for one in nodes if not any(selector.matches(one.metadata.labels) for selector in selectors)
    }
    expected = allowed(spec, nodes) & outside
    try:
        found = avoiding(spec, selectors, nodes)
    except UnavoidableError:
        assert expected == set()
        return
    assert allowed(steered(spec, found), nodes) == expected


@given(nodes=NODES, selectors=st.lists(SELECTORS, max_size=8), terms=TERMS, pinned=PINNED)
def test_kubernetes_takes_what_comes_out(
    nodes: list[Node], selectors: list[LabelSelector], terms: list[NodeSelectorTerm], pinned: dict[str, str]
) -> None:
    try:
        found = avoiding(pod(*terms, **pinned), selectors, nodes)
    except UnavoidableError:
        return
    if found is None:
        return
    assert tightened(tuple(terms), found)
    assert len(found) <= max(MOST_TERMS, len(terms))
    own = {one for each in terms for one in each.match_expressions}
    for one in found:
        added = set(one.match_expressions) - own
        assert all(bool(each.values) == (each.operator in ("In", "NotIn")) for each in added)
        assert all(len(field.values) == 1 for field in one.match_fields)


def test_racks_are_avoided_in_one_requirement() -> None:
    found = avoiding(pod(), rack("r7", "r9"), [])
    assert found == (term(requirement("rack", "NotIn", "r7", "r9")),)


def test_nodes_without_the_label_stay_allowed() -> None:
    nodes = [node("n1", rack="r7"), node("n2")]
    assert allowed(steered(pod(), avoiding(pod(), rack("r7"), nodes)), nodes) == {"n2"}


def test_every_term_of_the_pods_own_grows() -> None:
    gpu, cpu = requirement("gpu", "Exists"), requirement("arch", "In", "arm64")
    out = requirement("rack", "NotIn", "r7")
    assert avoiding(pod(term(gpu), term(cpu)), rack("r7"), []) == (term(gpu, out), term(cpu, out))


def test_a_selector_of_two_labels_is_an_alternative_for_a_pod_without_terms() -> None:
    selector = LabelSelector(match_labels={"rack": "r7", "pool": "h100"})
    assert avoiding(pod(), [selector], []) == (
        term(requirement("rack", "NotIn", "r7")),
        term(requirement("pool", "NotIn", "h100")),
    )


def test_a_label_that_the_pod_asks_for_anyway_is_left_out() -> None:
    selector = LabelSelector(match_labels={"rack": "r7", "pool": "h100"})
    assert avoiding(pod(pool="h100"), [selector], []) == (term(requirement("rack", "NotIn", "r7")),)
    assert avoiding(pod(pool="l4"), [selector], []) is None


def test_nodes_are_named_where_the_pod_has_terms_already() -> None:
    selector = LabelSelector(match_labels={"rack": "r7", "pool": "h100"})
    gpu = requirement("gpu", "Exists")
    nodes = [node("n1", rack="r7", pool="h100"), node("n2", rack="r7", pool="l4"), node("n3", rack="r7", pool="h100")]
    assert avoiding(pod(term(gpu)), [selector], nodes) == (term(gpu, requirement(HOSTNAME, "NotIn", "n1", "n3")),)


def test_nodes_are_named_where_there_would_be_too_many_terms() -> None:
    labels = [{"rack": f"r{number}", "pool": "h100"} for number in range(5)]
    selectors = [LabelSelector(match_labels=one) for one in labels]
    nodes = [node(f"n{number}", **one) for number, one in enumerate(labels)]
    found = avoiding(pod(), selectors, nodes)
    assert found is not None
    assert len(found) == MOST_TERMS
    assert allowed(steered(pod(), found), nodes) == set()


def test_nodes_whose_hostname_says_nothing_are_named_by_their_names() -> None:
    selector = LabelSelector(match_labels={"rack": "r7", "pool": "h100"})
    gpu = requirement("gpu", "Exists")
    nodes = [node("n1", hostname="", rack="r7", pool="h100"), node("n2", hostname="twin", rack="r7", pool="h100")]
    nodes.append(node("n3", hostname="twin"))
    found = avoiding(pod(term(gpu)), [selector], nodes)
    assert found is not None
    assert [one.values for one in found[0].match_fields] == [("n1",), ("n2",)]


def test_a_pod_that_its_selector_keeps_inside_cannot_be_kept_out() -> None:
    with pytest.raises(UnavoidableError):
        avoiding(pod(rack="r7"), rack("r7"), [])
    with pytest.raises(UnavoidableError):
        avoiding(pod(), [LabelSelector()], [])


def test_nothing_is_added_where_nothing_is_avoided() -> None:
    assert avoiding(pod(term(requirement("gpu", "Exists"))), [], []) is None
