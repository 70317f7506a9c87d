"""Progressive filling against its plain version, and what makes shares max-min fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.algorithms.plain import plain_fill
from tests.unit.algorithms.snapshots import random_snapshot
from wattkeeper.algorithms.draw import Draw, expected, worst_case
from wattkeeper.algorithms.filling import fill
from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import planned_watts

STEPS = 240


def case(seed: int, *, by_expectation: bool = False) -> tuple[Draw, Ints, Ints, Floats]:
    snapshot = random_snapshot(seed)
    draw = worst_case(snapshot)
    if by_expectation:
        draw = expected(snapshot, draw)
    room = snapshot.limit_watts - planned_watts(snapshot, snapshot.floor)
    return draw, snapshot.floor, snapshot.demand, room


@worlds(50)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_shares_are_those_of_filling_in_small_steps(seed: int, by_expectation: bool) -> None:
    draw, lower, upper, room = case(seed, by_expectation=by_expectation)
    shares = fill(draw, lower, upper, room)
    plain = [float(share) for share in plain_fill(draw, np.arange(len(lower)), lower, upper, room, steps=STEPS)]
    # A step is at most 8 / 240 of a replica; services stopped a step early leave some room to the others.
    assert shares == pytest.approx(plain, abs=0.5)
    assert np.mean(np.abs(shares - plain)) < 0.15 if len(shares) else True


@worlds(200)
@given(st.integers(0, 2**32 - 1))
def test_shares_fit_wherever_floors_do(seed: int) -> None:
    draw, lower, upper, room = case(seed)
    shares = fill(draw, lower, upper, room)
    active = draw.active
    kept = (np.minimum(shares, active) - np.minimum(lower, active)) @ draw.each
    added = (np.maximum(shares - active, 0) - np.maximum(lower - active, 0)) @ draw.further
    assert (kept + added <= np.maximum(room, 0) + 1e-5).all()
    assert (shares >= lower).all()
    assert (shares <= upper).all()


@worlds(200)
@given(st.integers(0, 2**32 - 1))
def test_whoever_gets_less_than_due_meets_a_full_domain_in_which_nobody_has_more(seed: int) -> None:
    draw, lower, upper, room = case(seed)
    shares = fill(draw, lower, upper, room)
    active = draw.active
    kept = np.minimum(shares, active) - np.minimum(lower, active)
    added = np.maximum(shares - active, 0) - np.maximum(lower - active, 0)
    left = room - kept @ draw.each - added @ draw.further
    gains = draw.gains(lower, upper)
    level = np.divide(shares, upper, out=np.ones(len(lower)), where=upper > 0)
    for place in np.flatnonzero(shares < upper - 1e-6):
        full = np.flatnonzero((gains[place] > 0) & (left < 1e-3))
        peers = [(gains[:, domain] > 0) & (shares > lower + 1e-6) for domain in full]
        assert any((level[peer] <= level[place] + 1e-6).all() for peer in peers)


def test_nobody_and_nothing_to_share_is_an_empty_share() -> None:
    draw, *_ = case(0)
    none = np.empty(0, dtype=np.int64)
    assert fill(draw.only(none), none, none, np.zeros(len(draw.each.T))).shape == (0,)


def test_a_domain_without_room_stops_only_the_services_that_draw_there() -> None:
    # The third domain is over its limit already, but nobody who shares draws there.
    each = np.array([[100.0, 0.0, 0.0], [100.0, 100.0, 0.0], [0.0, 100.0, 0.0]])
    draw = Draw(active=np.zeros(3), each=each, further=each)
    room = np.array([-50.0, 600.0, -900.0])
    shares = fill(draw, np.array([1, 1, 0]), np.array([4, 4, 8]), room)
    assert shares.tolist() == pytest.approx([1.0, 1.0, 6.0])


def test_sums_of_gains_are_those_of_the_matrix() -> None:
    draw, lower, upper, _ = case(7)
    assert draw.total_gains(lower, upper) == pytest.approx(draw.gains(lower, upper).sum(axis=0))
