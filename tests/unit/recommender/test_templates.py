"""Which of a workload's templates a rollout leaves behind."""

from __future__ import annotations

import pytest

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import TEMPLATE_HASH_LABEL
from wattkeeper.recommender.templates import outdated_templates


def born(template: str, second: int) -> Pod:
    created = f"2027-01-15T07:00:{second:02}Z"
    labels = {TEMPLATE_HASH_LABEL: template}
    return Pod(metadata=ObjectMeta(name=template, namespace="llm", labels=labels, creation_timestamp=created))


@pytest.mark.parametrize(
    ("births", "known", "old"),
    [
        ({"t1": 0}, (), ()),
        ({"t1": 0, "t2": 9}, (), ("t1",)),
        ({"t1": 0, "t2": 9, "t3": 20}, (), ("t1", "t2")),
        ({"t1": 20, "t2": 9}, ("t1",), ("t1",)),
        ({"t1": 5, "t2": 5}, (), ()),
        ({"t1": 0, "t2": 5, "t3": 5}, (), ("t1",)),
    ],
)
def test_all_but_the_newest_template_are_old(
    births: dict[str, int], known: tuple[str, ...], old: tuple[str, ...]
) -> None:
    pods = [born(template, second) for template, second in births.items()]
    assert outdated_templates(pods, known) == frozenset(old)
