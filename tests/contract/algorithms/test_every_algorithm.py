"""Every registered algorithm keeps the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.algorithms.conformance import CHECKS
from wattkeeper.algorithms.contract import Algorithm
from wattkeeper.algorithms.registry import BUILT_INS, create


@pytest.mark.parametrize("name", BUILT_INS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it(name: str, check: Callable[[Algorithm], None]) -> None:
    check(create(name, {}))
