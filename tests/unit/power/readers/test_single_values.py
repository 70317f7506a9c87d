import math

import pytest

from wattkeeper.power.readers.samples import Labels, Reading, Series
from wattkeeper.power.readers.single_values import is_selector, single_value


def vector(*values: float) -> list[Series]:
    return [Series(Labels(), [(100.0, value)]) for value in values]


def test_one_sample_is_a_value_with_the_time_of_its_sample():
    assert single_value("service ml/a", vector(7.0), vector(88.0), 100.0) == Reading(7.0, 88.0)


def test_without_a_time_of_its_own_it_counts_as_evaluated_now():
    assert single_value("service ml/a", vector(7.0), (), 100.0) == Reading(7.0, 100.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "nothing"),
        (vector(1.0, 2.0), "2 samples"),
        (vector(math.nan), "nan"),
        (vector(math.inf), "inf"),
        (vector(-1.0), "-1"),
    ],
)
def test_anything_else_is_said_with_the_name_of_whose_query_it_is(answer: list[Series], said: str):
    sentence = single_value("service ml/a", answer, (), 100.0)
    assert isinstance(sentence, str)
    assert "service ml/a" in sentence
    assert said in sentence


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ("up", True),
        ('vllm:num_requests_running{pod="a(b)"}', True),
        ("sum(up)", False),
        ("up + 1", False),
        ("up[5m]", False),
        ("42", False),
    ],
)
def test_only_a_plain_selector_tells_when_it_was_sampled(query: str, plain: bool):
    assert is_selector(query) is plain
