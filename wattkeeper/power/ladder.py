"""The fail-safe ladder: how far readings may be trusted, by node and by domain.

A node whose readings are older than 3 intervals is FROZEN, older than max(60 s, 6 intervals) TIGHTENED, and without any
for 15 minutes, or never, ABSENT. Three fresh samples in a row lead back to FRESH, from any rung, and nothing less does.

A domain takes a rung once more than a fifth of its nodes stand on it or worse: Facebook's Dynamo (ISCA 2016) holds an
aggregate invalid when more than 20 % of its readings are missing.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, Rung

FROZEN_INTERVALS = 3.0
TIGHTENED_INTERVALS = 6.0
TIGHTENED_SECONDS = 60.0
ABSENT_SECONDS = 900.0
RECOVERY_SAMPLES = 3
DOMAIN_SHARE = 0.2


def rung_of_age(age_seconds: Floats, interval_seconds: Floats) -> Ints:
    """Returns the rung that an age alone gives: int64 of the same shape. NaN and inf ages are ABSENT."""
    tightened = np.maximum(TIGHTENED_SECONDS, TIGHTENED_INTERVALS * interval_seconds)
    # A source that is sampled every 5 minutes is not lost after 15 of them without being late first.
    absent = np.maximum(ABSENT_SECONDS, tightened)
    age = np.where(np.isnan(age_seconds), np.inf, age_seconds)
    return (
        (age > FROZEN_INTERVALS * interval_seconds).astype(np.int64)
        + (age > tightened).astype(np.int64)
        + (age > absent).astype(np.int64)
    )


def advance(rung: Ints, streak: Ints, age_rung: Ints, sampled: Bools) -> tuple[Ints, Ints]:
    """Moves nodes on the ladder.

    Args:
        rung: int64[N], where they stood.
        streak: int64[N], fresh samples in a row since they were last late.
        age_rung: int64[N], what the age of their readings gives now.
        sampled: bool[N], there is a sample that the last call did not have.

    Returns:
        The new rung and streak.
    """
    fresh = age_rung == Rung.FRESH
    streak = np.where(fresh, np.minimum(streak + sampled, RECOVERY_SAMPLES), 0)
    recovered = fresh & (streak >= RECOVERY_SAMPLES)
    return np.where(recovered, np.int64(Rung.FRESH), np.maximum(rung, age_rung)), streak


def domain_rung(node_rung: Ints, domains: Ints, count: int) -> Ints:
    """Returns the rung of each domain: the worst that more than a fifth of its nodes stand on, or worse.

    Args:
        node_rung: int64[N].
        domains: int64[N, J], indexes of domains, padded with -1.
        count: D.

    Returns:
        int64[D], FRESH for a domain without nodes.
    """
    inside = domains >= 0
    flat = domains[inside]
    rungs = np.broadcast_to(node_rung[:, None], domains.shape)[inside]
    nodes = np.bincount(flat, minlength=count)
    result = np.zeros(count, dtype=np.int64)
    for rung in (Rung.FROZEN, Rung.TIGHTENED, Rung.ABSENT):
        late = np.bincount(flat[rungs >= rung], minlength=count)
        result[late > DOMAIN_SHARE * nodes] = rung
    return result
