"""Which domains new replicas avoid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.power.rows import budget_rows, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.api.readings import Readings
from wattkeeper.recommender.steering import avoided_domains

# All racks, two rows, and four racks, two in each row.
PLACES = np.array([[0, 1, 3], [0, 1, 4], [0, 2, 5], [0, 2, 6]])
UNIT_WATTS = 100.0


def cluster(count: int = 1, places: tuple[int, ...] = (0, 1, 2, 3)) -> Readings:
    services = replace(
        service_rows(count, domains=7, gated=np.ones(count, dtype=np.bool_)),
        eligible_places=np.broadcast_to(np.isin(np.arange(4), places), (count, 4)),
    )
    return readings(node_rows(4, domains=PLACES, places=PLACES), pod_rows(), services, budget_rows(7))


def avoided(*room: float, coming: int = 0, places: tuple[int, ...] = (0, 1, 2, 3)) -> list[int]:
    """Returns the domains that a service avoids which may land in some places."""
    seen = cluster(places=places)
    unit = np.zeros((1, 7))
    unit[0, np.unique(PLACES[list(places)])] = UNIT_WATTS
    found = avoided_domains(seen, unit, np.array(room), ints(coming, 1))
    return np.flatnonzero(found[0]).tolist()


def test_domains_with_room_for_one_more_are_not_avoided() -> None:
    assert avoided(400, 200, 200, 100, 100, 100, 100) == []


def test_a_full_rack_is() -> None:
    assert avoided(400, 200, 200, 99, 100, 100, 100) == [3]


def test_what_is_granted_and_not_there_yet_must_fit_as_well() -> None:
    assert avoided(900, 900, 900, 300, 200, 300, 300, coming=2) == [4]


def test_a_full_row_is_avoided_with_its_racks() -> None:
    assert avoided(400, 0, 200, 0, 100, 100, 100) == [1, 3]


def test_where_nothing_has_room_the_emptiest_place_stays() -> None:
    assert avoided(90, 90, 80, 30, 50, 70, 60) == [1, 3, 4, 6]


def test_a_domain_around_all_places_is_never_avoided() -> None:
    assert 0 not in avoided(-500, 200, 200, 100, 100, 100, 100)


def test_places_that_the_service_may_not_use_save_nobody() -> None:
    assert avoided(400, 0, 200, 0, 0, 100, 100, places=(0, 1)) == [4]


def test_a_domain_where_nothing_is_charged_is_not_avoided() -> None:
    assert avoided(400, 200, 0, 100, 0, 0, 0, places=(0, 1)) == [4]


@pytest.mark.parametrize("change", [{"gated": np.array([False])}, {"pods_per_replica": ints(2, 1)}])
def test_services_without_a_gate_and_groups_of_several_pods_are_not_steered(change: dict[str, object]) -> None:
    seen = cluster()
    seen = replace(seen, services=replace(seen.services, **change))  # pyright: ignore[reportArgumentType] - columns.
    assert not avoided_domains(seen, np.full((1, 7), UNIT_WATTS), np.zeros(7), ints(0, 1)).any()


@given(st.integers(0, 2**32 - 1))
def test_some_place_is_left_and_whatever_has_room_is_used(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = cluster(5)
    eligible = rng.random((5, 4)) < 0.6
    eligible[:, 0] |= ~eligible.any(axis=1)
    seen = replace(seen, services=replace(seen.services, eligible_places=eligible))
    unit, room, coming = np.zeros((5, 7)), rng.uniform(-100, 500, 7), rng.integers(0, 4, 5)
    for row in range(5):
        unit[row, np.unique(PLACES[eligible[row]])] = rng.uniform(50, 150)
    found = avoided_domains(seen, unit, room, coming)
    for row in range(5):
        assert any(not found[row, PLACES[place]].any() for place in np.flatnonzero(eligible[row]))
        fits = (coming[row] + 1) * unit[row] <= room
        assert not (found[row] & fits).any()
