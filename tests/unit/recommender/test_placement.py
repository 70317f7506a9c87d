import pytest

from wattkeeper.api.meta import LabelExpression, LabelSelector
from wattkeeper.cluster.objects import (
    Affinity,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    RequiredNodeAffinity,
)
from wattkeeper.recommender.placement import NodeIndex

INDEX = NodeIndex(("a", "b", "c"), [{"rack": "1", "gen": "3"}, {"rack": "2", "gen": "5"}, {"zone": "x"}])


def affine(*terms: NodeSelectorTerm) -> PodSpec:
    required = RequiredNodeAffinity(node_selector_terms=terms)
    return PodSpec(
        affinity=Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))
    )


def test_an_empty_selector_selects_every_node() -> None:
    assert INDEX.selected(LabelSelector()).tolist() == [True, True, True]


def test_labels_and_expressions_must_all_hold() -> None:
    expression = LabelExpression(key="gen", operator="In", values=("3", "5"))
    selector = LabelSelector(match_labels={"rack": "2"}, match_expressions=(expression,))
    assert INDEX.selected(selector).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ("1",), [True, False, False]),
        ("NotIn", ("1",), [False, True, True]),
        ("Exists", (), [True, True, False]),
        ("DoesNotExist", (), [False, False, True]),
    ],
)
def test_operators_on_labels(operator: str, values: tuple[str, ...], expected: list[bool]) -> None:
    term = NodeSelectorTerm(match_expressions=(NodeSelectorRequirement(key="rack", operator=operator, values=values),))
    assert INDEX.allows(affine(term)).tolist() == expected


def test_numbers_compare_as_numbers() -> None:
    term = NodeSelectorTerm(match_expressions=(NodeSelectorRequirement(key="gen", operator="Gt", values=("3",)),))
    assert INDEX.allows(affine(term)).tolist() == [False, True, False]


def test_terms_are_alternatives() -> None:
    by_rack = NodeSelectorTerm(match_expressions=(NodeSelectorRequirement(key="rack", operator="In", values=("1",)),))
    by_name = NodeSelectorTerm(
        match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=("c", "gone")),)
    )
    assert INDEX.allows(affine(by_rack, by_name)).tolist() == [True, False, True]


def test_an_empty_term_matches_nothing_as_in_kubernetes() -> None:
    assert not INDEX.allows(affine(NodeSelectorTerm())).any()


def test_an_operator_of_the_future_keeps_the_nodes_watts_in_the_sum() -> None:
    term = NodeSelectorTerm(match_expressions=(NodeSelectorRequirement(key="rack", operator="Near", values=("1",)),))
    assert INDEX.allows(affine(term)).all()
