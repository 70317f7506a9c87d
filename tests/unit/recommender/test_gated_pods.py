"""What the readings say of the power gate."""

from __future__ import annotations

import pytest

from tests.unit.recommender.frozen_view import (
    FrozenView,
    budget,
    deployment,
    lws,
    measured,
    namespace,
    node,
    pod,
    policy,
)
from wattkeeper.api.readings import PodPhase, Readings
from wattkeeper.cluster.objects import DeploymentStrategy, PodSpec, RollingUpdate
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.services import surges

NOW = 1_000.0


def cluster(*pods: object, mode: str = "Scale", enabled: bool = True, capped: bool = True) -> FrozenView:
    view = FrozenView(
        node("a", rack="1"),
        node("b", rack="2"),
        budget("rack-1", 5_000, labels={"rack": "1"}),
        budget("rack-2", 5_000, labels={"rack": "2"}),
        policy("chat", mode=mode),
        deployment("chat", 3, capped=capped),
        namespace(enabled=enabled),
    )
    for one in pods:
        view.put(one)  # pyright: ignore[reportArgumentType] - whatever a test puts there.
    return view


def collected(view: FrozenView, **opened: PodSpec) -> Readings:
    return ReadingsCollector(view).collect(measured(NOW), NOW, opened)


def test_a_service_is_gated_where_its_mode_enforces_its_namespace_opted_in_and_its_pods_are_concerned() -> None:
    assert collected(cluster()).services.gated.tolist() == [True]


@pytest.mark.parametrize(
    "view",
    [cluster(mode="Initial"), cluster(mode="Off"), cluster(enabled=False), cluster(capped=False)],
    ids=["initial", "off", "not opted in", "not concerned"],
)
def test_otherwise_it_is_not(view: FrozenView) -> None:
    assert collected(view).services.gated.tolist() == [False]


def test_a_namespace_that_opts_out_reaches_the_next_collect() -> None:
    view = cluster()
    collector = ReadingsCollector(view)
    assert collector.collect(measured(NOW), NOW).services.gated.tolist() == [True]
    view.put(namespace(enabled=False))
    assert collector.collect(measured(NOW), NOW).services.gated.tolist() == [False]


def test_a_pod_at_the_gate_is_gated_and_one_that_left_it_pending() -> None:
    readings = collected(cluster(pod("chat", 1, gated=True), pod("chat", 2, admitted=True)))
    assert readings.pods.phase.tolist() == [PodPhase.GATED, PodPhase.PENDING]


def test_a_gate_that_nobody_keeps_closed_holds_no_pod_back() -> None:
    readings = collected(cluster(pod("chat", 1, gated=True), mode="Off"))
    assert readings.pods.phase.tolist() == [PodPhase.PENDING]


def test_a_pod_just_opened_counts_as_out_before_the_cache_shows_it_and_lands_where_it_was_steered() -> None:
    readings = collected(cluster(pod("chat", 1, gated=True)), **{"chat-abc-1": PodSpec(node_selector={"rack": "2"})})
    assert readings.pods.phase.tolist() == [PodPhase.PENDING]
    assert readings.pods.landings[readings.pods.landing[0]].tolist() == [False, True]


def test_a_pod_without_a_node_may_land_where_its_own_selector_allows() -> None:
    readings = collected(
        cluster(pod("chat", 1, selector={"rack": "1"}), pod("chat", 2), pod("chat", 3, selector={"rack": "1"}))
    )
    assert readings.pods.landing.tolist() == [0, 1, 0]
    assert readings.pods.landings.tolist() == [[True, False], [True, True]]


def test_pods_without_the_admission_annotation_have_slipped() -> None:
    slipped, admitted = pod("chat", 1, on="a"), pod("chat", 2, on="a", admitted=True)
    leaving = pod("chat", 3, on="a", deleted="2026-01-01T00:00:00Z")
    assert collected(cluster(slipped, admitted, leaving)).services.slipped.tolist() == [1]


def test_nothing_slips_past_where_there_is_no_gate() -> None:
    assert collected(cluster(pod("chat", 1, on="a"), enabled=False)).services.slipped.tolist() == [0]


def test_a_service_rolls_while_there_are_pods_of_two_templates_gated_ones_included() -> None:
    view = cluster(pod("chat", 1, on="a"), pod("chat", 2, template="def", gated=True))
    assert collected(view).services.rolls.tolist() == [True]


def test_old_pods_that_only_drain_are_no_rollout() -> None:
    old = pod("chat", 1, on="a", deleted="2026-01-01T00:00:00Z")
    assert collected(cluster(old, pod("chat", 2, template="def", on="b"))).services.rolls.tolist() == [False]


@pytest.mark.parametrize(
    ("replicas", "strategy", "surges_first"),
    [
        (3, DeploymentStrategy(), True),  # 25 % of three is none.
        (4, DeploymentStrategy(), False),
        (9, DeploymentStrategy(rolling_update=RollingUpdate(max_unavailable=0)), True),
        (9, DeploymentStrategy(rolling_update=RollingUpdate(max_unavailable="10%")), True),
        (9, DeploymentStrategy(rolling_update=RollingUpdate(max_unavailable=1)), False),
        (9, DeploymentStrategy(rolling_update=RollingUpdate(max_surge=0, max_unavailable="0%")), False),
        (1, DeploymentStrategy(type="Recreate"), False),
    ],
)
def test_a_deployment_surges_where_no_pod_may_be_missing(
    replicas: int, strategy: DeploymentStrategy, surges_first: bool
) -> None:
    assert surges(deployment("chat", replicas, strategy=strategy)) == surges_first


@pytest.mark.parametrize(("unavailable", "surges_first"), [(None, False), (1, False), (0, True), ("30%", True)])
def test_a_leader_worker_set_surges_only_where_it_says_so(unavailable: int | str | None, surges_first: bool) -> None:
    assert surges(lws("big", 3, max_unavailable=unavailable)) == surges_first
