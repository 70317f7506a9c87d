"""Algorithms by name."""

from __future__ import annotations

import pytest

from wattkeeper.algorithms.errors import ParameterError, UnknownAlgorithmError
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.algorithms.registry import BUILT_INS, DEFAULT, create


def test_the_default_is_a_built_in() -> None:
    assert DEFAULT in BUILT_INS
    assert isinstance(create(DEFAULT, {}), PriorityFairShare)


def test_an_unknown_name_lists_all_and_offers_the_nearest() -> None:
    with pytest.raises(
        UnknownAlgorithmError, match=r"Did you mean priority-fair-share\?.*There is: priority-fair-share"
    ):
        create("priority-fairshare", {})


def test_a_name_that_is_like_none_lists_all() -> None:
    with pytest.raises(UnknownAlgorithmError, match=r"'x{80}'\. There is: priority-fair-share"):
        create("x" * 1000, {})


def test_parameters_that_it_does_not_take_are_refused() -> None:
    with pytest.raises(ParameterError, match="remove margin, speed"):
        create(DEFAULT, {"speed": 1.0, "margin": 2.0})
