"""The built-in algorithms by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from wattkeeper.algorithms.contract import Algorithm
from wattkeeper.algorithms.errors import ParameterError, UnknownAlgorithmError
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare

Parameters = Mapping[str, float]

DEFAULT = "priority-fair-share"


def _priority_fair_share(parameters: Parameters) -> Algorithm:
    if parameters:
        names = ", ".join(sorted(parameters))
        raise ParameterError(f"priority-fair-share takes no parameters; remove {names}")
    return PriorityFairShare()


BUILT_INS: Mapping[str, Callable[[Parameters], Algorithm]] = {
    DEFAULT: _priority_fair_share,
}


def create(name: str, parameters: Parameters) -> Algorithm:
    """Returns the built-in algorithm called `name`.

    Raises:
        UnknownAlgorithmError: there is none.
        ParameterError: it cannot use the parameters.
    """
    build = BUILT_INS.get(name)
    if build is None:
        nearest = difflib.get_close_matches(name, BUILT_INS, n=1)
        offer = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UnknownAlgorithmError(f"no algorithm is called {name[:80]!r}.{offer} There is: {', '.join(BUILT_INS)}")
    return build(parameters)
