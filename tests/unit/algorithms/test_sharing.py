"""Whole replicas out of fair shares, against the plain version that gives one at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.algorithms.plain import plain_rounds
from tests.unit.algorithms.snapshots import random_snapshot
from wattkeeper.algorithms.draw import Draw, worst_case
from wattkeeper.algorithms.filling import fill
from wattkeeper.algorithms.sharing import Sharing
from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import Snapshot, planned_watts


def in_single_steps(snapshot: Snapshot, draw: Draw, lower: Ints, upper: Ints, room: Floats) -> list[int]:
    """What raising from `lower` to `upper` gives if replicas beyond the whole shares are given one at a time."""
    shares = fill(draw, lower, upper, room)
    whole = np.maximum(np.floor(shares + 1e-6).astype(np.int64), lower)
    left = room - draw.total_gains(lower, whole)
    return plain_rounds(draw, snapshot.services, snapshot.previous, whole, upper, shares, left)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_grants_are_those_of_giving_one_replica_at_a_time(seed: int) -> None:
    snapshot = random_snapshot(seed)
    draw, lower, upper = worst_case(snapshot), snapshot.floor, np.maximum(snapshot.demand, snapshot.floor)
    room = snapshot.limit_watts - planned_watts(snapshot, lower)
    sharing = Sharing(snapshot, draw, lower, room)
    sharing.raise_to(np.arange(len(lower)), upper)
    assert sharing.grants.tolist() == in_single_steps(snapshot, draw, lower, upper, room)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_room_is_what_grants_leave(seed: int) -> None:
    snapshot = random_snapshot(seed)
    draw, lower, upper = worst_case(snapshot), snapshot.floor, np.maximum(snapshot.demand, snapshot.floor)
    room = snapshot.limit_watts - planned_watts(snapshot, lower)
    sharing = Sharing(snapshot, draw, lower, room)
    sharing.raise_to(np.arange(len(lower)), upper)
    np.testing.assert_allclose(sharing.room_watts, room - draw.total_gains(lower, sharing.grants), rtol=1e-9, atol=1e-6)
