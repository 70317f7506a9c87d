"""Selectors select as Kubernetes' own do."""

from __future__ import annotations

from typing import Literal

import pytest

from wattkeeper.api.meta import LabelExpression, LabelSelector

LABELS = {"rack": "a", "pool": "gpu"}


def test_an_empty_selector_selects_everything() -> None:
    assert LabelSelector().matches({})
    assert LabelSelector().matches(LABELS)


@pytest.mark.parametrize(
    ("wanted", "selects"),
    [({"rack": "a"}, True), ({"rack": "a", "pool": "gpu"}, True), ({"rack": "b"}, False), ({"feed": "A"}, False)],
)
def test_every_label_must_be_there_with_its_value(wanted: dict[str, str], selects: bool) -> None:
    assert LabelSelector(match_labels=wanted).matches(LABELS) is selects


@pytest.mark.parametrize(
    ("key", "operator", "values", "selects"),
    [
        ("rack", "In", ("a", "b"), True),
        ("rack", "In", ("b",), False),
        ("feed", "In", ("A",), False),
        ("rack", "NotIn", ("a",), False),
        ("rack", "NotIn", ("b",), True),
        ("feed", "NotIn", ("A",), True),  # A label that is absent is not in any list.
        ("rack", "Exists", (), True),
        ("feed", "Exists", (), False),
        ("rack", "DoesNotExist", (), False),
        ("feed", "DoesNotExist", (), True),
    ],
)
def test_operators_mean_what_they_mean_in_kubernetes(
    key: str, operator: Literal["In", "NotIn", "Exists", "DoesNotExist"], values: tuple[str, ...], selects: bool
) -> None:
    expression = LabelExpression(key=key, operator=operator, values=values)
    assert LabelSelector(match_expressions=(expression,)).matches(LABELS) is selects


def test_labels_and_expressions_must_all_hold() -> None:
    exists = LabelExpression(key="pool", operator="Exists")
    absent = LabelExpression(key="pool", operator="DoesNotExist")
    assert LabelSelector(match_labels={"rack": "a"}, match_expressions=(exists,)).matches(LABELS)
    assert not LabelSelector(match_labels={"rack": "a"}, match_expressions=(exists, absent)).matches(LABELS)
