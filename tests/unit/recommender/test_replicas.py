"""How replicas are counted, and what those are charged that are not whole or have no node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.unit.power.rows import NOW, budget_rows, floats, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.api.readings import PodPhase, PodRows, ServiceRows
from wattkeeper.power.model import PowerModel
from wattkeeper.recommender.replicas import Replicas, count_replicas
from wattkeeper.recommender.sums import Sums, build_sums

GATED, PENDING, RUNNING, TERMINATING = PodPhase.GATED, PodPhase.PENDING, PodPhase.RUNNING, PodPhase.TERMINATING


def pods(*states: tuple[int, PodPhase], **columns: object) -> PodRows:
    """Returns pods of one service, each of a group (-1 for none) and in a phase."""
    count = len(states)
    phases = [int(phase) for _, phase in states]
    nodes = [0 if phase in (RUNNING, TERMINATING) else -1 for phase in phases]
    return pod_rows(
        count,
        phase=ints(phases, count),
        group=ints([group for group, _ in states], count),
        node=ints(nodes, count),
        **columns,
    )


def groups(size: int, *, gated: bool = True) -> ServiceRows:
    return service_rows(pods_per_replica=ints(size, 1), gated=np.array([gated]))


def counted(size: int, *states: tuple[int, PodPhase], gated: bool = True) -> tuple[int, int, int, float]:
    found: Replicas = count_replicas(pods(*states), groups(size, gated=gated))
    return int(found.active[0]), int(found.pending[0]), int(found.waiting[0]), float(found.missing[0])


def test_pods_without_a_group_are_a_replica_each() -> None:
    states = [(-1, RUNNING), (-1, RUNNING), (-1, PENDING), (-1, GATED), (-1, TERMINATING)]
    assert counted(1, *states) == (2, 1, 1, 0.0)


def test_pods_of_a_group_are_one_replica() -> None:
    assert counted(2, (0, RUNNING), (0, RUNNING), (1, RUNNING), (1, RUNNING)) == (2, 0, 0, 0.0)


def test_halves_of_two_groups_are_two_replicas() -> None:
    assert counted(2, (0, RUNNING), (1, RUNNING)) == (2, 0, 0, 1.0)


def test_a_group_counts_by_the_pod_that_is_furthest() -> None:
    states = [(0, RUNNING), (0, PENDING), (1, PENDING), (1, GATED), (2, GATED), (2, GATED)]
    assert counted(2, *states)[:3] == (1, 1, 1)


def test_a_gated_group_lacks_what_is_not_there_or_still_at_the_gate() -> None:
    assert counted(4, (0, RUNNING), (0, PENDING), (0, GATED)) == (1, 0, 0, 0.5)


def test_a_group_at_the_gate_lacks_nothing_yet() -> None:
    assert counted(4, (0, GATED), (0, GATED)) == (0, 0, 1, 0.0)


def test_a_pod_that_drains_is_charged_itself_until_its_successor_may_come() -> None:
    assert counted(2, (0, RUNNING), (0, TERMINATING)) == (1, 0, 0, 0.0)


def test_a_group_without_a_gate_lacks_what_has_no_node() -> None:
    assert counted(4, (0, RUNNING), (0, PENDING), gated=False) == (1, 0, 0, 0.75)


def test_a_group_without_a_gate_and_without_any_node_is_charged_whole_as_pending() -> None:
    assert counted(4, (0, PENDING), gated=False) == (0, 1, 0, 0.0)


def test_groups_of_two_services_are_not_mixed_up() -> None:
    rows = pods((0, RUNNING), (0, RUNNING), service=ints([0, 1], 2))
    services = service_rows(2, pods_per_replica=ints(2, 2), gated=np.array([True, True]))
    assert count_replicas(rows, services).active.tolist() == [1, 1]


def sums_of(rows: PodRows, *, size: int = 1, gated: bool = True, eligible: tuple[bool, bool] = (True, True)) -> Sums:
    """Returns sums over two racks of one node each."""
    nodes = node_rows(2, domains=np.array([[0], [1]]), places=np.array([[0], [1]]))
    services = replace(
        service_rows(domains=2, pods_per_replica=ints(size, 1), gated=np.array([gated])),
        eligible_domains=np.array([eligible]),
    )
    seen = readings(nodes, rows, services, budget_rows(2))
    model = PowerModel()
    model.observe(seen, NOW)
    return build_sums(seen, model.charges(seen, NOW), NOW)


def test_a_pod_that_should_have_ended_is_charged_as_what_stays() -> None:
    drains, stuck = (sums_of(pods((-1, TERMINATING), since=floats(NOW - age, 1))) for age in (59.0, 61.0))
    watts = float(drains.draining_watts[0, 0])
    assert (watts > 0.0, stuck.draining_watts.max()) == (True, 0.0)
    np.testing.assert_allclose(stuck.fixed_watts - drains.fixed_watts, [watts, 0.0])


def test_a_pod_of_which_nobody_knows_when_it_should_end_drains() -> None:
    assert sums_of(pods((-1, TERMINATING), since=floats(0.0, 1))).draining_watts.max() > 0.0


def test_a_pod_that_runs_for_long_is_charged_as_one_that_runs() -> None:
    sums = sums_of(pods((-1, RUNNING), since=floats(NOW - 1000.0, 1)))
    assert sums.active_watts.max() > 0.0
    np.testing.assert_allclose(sums.fixed_watts[0], sums.fixed_watts[1])


def test_a_pod_past_the_gate_is_charged_where_it_may_land() -> None:
    sums = sums_of(pods((-1, PENDING), landing=ints(0, 1), landings=np.array([[False, True]])))
    assert sums.pending_watts.tolist() == [[0.0, sums.unit_watts[0, 1]]]


def test_one_of_which_nobody_knows_where_it_may_land_is_charged_everywhere() -> None:
    sums = sums_of(pods((-1, PENDING), landings=np.array([[False, True]])))
    assert sums.pending_watts.tolist() == sums.unit_watts.tolist()


def test_one_made_from_an_older_template_is_charged_where_further_ones_cannot_land() -> None:
    rows = pods((-1, PENDING), landing=ints(0, 1), landings=np.array([[True, False]]))
    sums = sums_of(rows, eligible=(False, True))
    assert (sums.unit_watts[0, 0], sums.pending_watts[0, 1]) == (0.0, 0.0)
    assert sums.pending_watts[0, 0] == sums.unit_watts[0, 1]


def test_pods_of_a_group_are_charged_their_part() -> None:
    sums = sums_of(pods((0, PENDING), landing=ints(0, 1), landings=np.array([[True, True]])), size=4)
    np.testing.assert_allclose(sums.pending_watts, sums.unit_watts / 4)


def test_pods_without_a_node_are_not_charged_one_by_one_where_there_is_no_gate() -> None:
    assert not sums_of(pods((-1, PENDING)), gated=False).pending_watts.any()


def test_a_pod_at_the_gate_is_charged_nothing() -> None:
    sums = sums_of(pods((-1, GATED)))
    assert (sums.pending_watts + sums.active_watts).max() == 0.0
