"""Queries of policies and budgets: each must yield one sample, and what is wrong with it must be said by name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from wattkeeper.power.readers.samples import Reading, Series

# A selector alone: a name, matchers, or both. Anything with a function or an operator has no samples of its own.
_SELECTOR = re.compile(
    r'\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{([^"\'`{}]|"([^"\\]|\\.)*"|\'([^\'\\]|\\.)*\'|`[^`]*`)*\})?\s*'
)


def is_selector(promql: str) -> bool:
    """Says whether timestamp(promql) tells when the sample was taken.

    Of any other expression it tells when the expression was evaluated, which is now: whether `sum(rate(...))` is old
    cannot be known from outside. Prometheus looks back five minutes for what such an expression adds up.
    """
    return _SELECTOR.fullmatch(promql) is not None


def single_value(what: str, answer: Sequence[Series], sampled: Sequence[Series], now: float) -> Reading | str:
    """Interprets a query's answer.

    Args:
        what: whose query it is, for people.
        answer: to the query.
        sampled: to timestamp(query), empty where that means nothing.
        now: when the query was evaluated.

    Returns:
        The reading, or a sentence that says what came back instead.
    """
    if not answer:
        return f"{what}: its query yields nothing. Try it in Prometheus; does its metric exist there?"
    if len(answer) > 1:
        return f"{what}: its query yields {len(answer)} samples instead of one: wrap it in sum() or max()."
    value = answer[0].points[-1][1]
    if not math.isfinite(value) or value < 0.0:
        return f"{what}: its query yields {value}, which is no amount."
    when = sampled[0].points[-1][1] if len(sampled) == 1 else now
    return Reading(value, min(when, now) if math.isfinite(when) else now)
