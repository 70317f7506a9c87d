from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tests.unit.recommender.frozen_view import (
    FrozenView,
    budget,
    column,
    deployment,
    measured,
    node,
    pod,
    policy,
    scaled_object,
)
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_capping_policy import PerformancePower, ViolationRules
from wattkeeper.api.power_recommendation import (
    MovablePod,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    ViolatingPod,
    Violation,
)
from wattkeeper.api.readings import Column, Mode, PodKey, PodPhase, ServiceKey
from wattkeeper.cluster.objects import Node, Pod
from wattkeeper.recommender.collect import ReadingsCollector

NOW = 1_000.0
CHAT = ServiceKey("llm", "Deployment", "chat")


def cluster() -> FrozenView:
    return FrozenView(
        node("a", rack="1"),
        node("b", rack="2"),
        budget("all", 9_000),
        budget("rack-1", 5_000, labels={"rack": "1"}),
        policy("chat", priority=5, ceiling=20),
        deployment("chat", 2),
        pod("chat", 1, on="a"),
        pod("chat", 2, on="b"),
    )


def test_a_pod_without_a_series_is_unknown_never_zero() -> None:
    watts = {PodKey("llm", "chat-abc-1"): 300.0}
    readings = ReadingsCollector(cluster()).collect(measured(NOW - 2, pod_gpu=watts, pod_cpu=watts), NOW)
    rows = dict(
        zip(readings.pods.keys, zip(readings.pods.gpu_watts, readings.pods.age_seconds, strict=True), strict=True)
    )
    assert rows[PodKey("llm", "chat-abc-1")] == (300.0, 2.0)
    assert np.isnan(rows[PodKey("llm", "chat-abc-2")][0])
    assert rows[PodKey("llm", "chat-abc-2")][1] == np.inf


def test_a_node_may_lie_in_several_domains() -> None:
    readings = ReadingsCollector(cluster()).collect(measured(NOW), NOW)
    by_node = {
        name: set(row[row >= 0].tolist())
        for name, row in zip(readings.nodes.names, readings.nodes.domains, strict=True)
    }
    assert (readings.budgets.names, by_node) == (("all", "rack-1"), {"a": {0, 1}, "b": {0}})


def test_a_service_is_charged_to_every_domain_it_could_land_in() -> None:
    readings = ReadingsCollector(cluster()).collect(measured(NOW), NOW)
    assert readings.services.eligible_domains.tolist() == [[True, True]]


def test_a_node_selector_keeps_a_service_out_of_a_domain() -> None:
    view = cluster()
    view.put(deployment("chat", 2, selector={"rack": "2"}))
    readings = ReadingsCollector(view).collect(measured(NOW), NOW)
    assert readings.services.eligible_domains.tolist() == [[True, False]]


def test_a_node_with_too_few_gpus_is_no_place() -> None:
    view = cluster()
    view.put(deployment("chat", 2, gpus=16))
    assert not ReadingsCollector(view).collect(measured(NOW), NOW).services.eligible_domains.any()


def test_pods_and_changes_reach_the_next_collect() -> None:
    view = cluster()
    collector = ReadingsCollector(view)
    collector.collect(measured(NOW), NOW)
    view.put(pod("chat", 3, on=""))
    view.drop(Pod, "llm", "chat-abc-1")
    phases = sorted(collector.collect(measured(NOW), NOW).pods.phase.tolist())
    assert phases == [PodPhase.PENDING, PodPhase.RUNNING]


def test_a_pod_on_a_node_that_is_not_known_is_charged_as_one_without_a_place() -> None:
    view = cluster()
    view.drop(Node, "", "b")
    readings = ReadingsCollector(view).collect(measured(NOW), NOW)
    assert sorted(readings.pods.phase.tolist()) == [PodPhase.PENDING, PodPhase.RUNNING]


def test_pods_of_no_service_are_unmanaged() -> None:
    view = cluster()
    view.put(pod("batch", 1, on="a"))
    readings = ReadingsCollector(view).collect(measured(NOW), NOW)
    assert sorted(readings.pods.service.tolist()) == [-1, 0, 0]


def test_demand_is_requests_over_what_one_replica_should_carry() -> None:
    requests = {PodKey("llm", "chat-abc-1"): 30.0, PodKey("llm", "chat-abc-2"): 15.0}
    services = ReadingsCollector(cluster()).collect(measured(NOW - 1, requests=requests), NOW).services
    assert (services.demand.tolist(), services.demand_age_seconds.tolist()) == ([4.5], [1.0])


def test_demand_is_as_old_as_its_own_source_lets_it_be() -> None:
    requests = {PodKey("llm", "chat-abc-1"): 30.0, PodKey("llm", "chat-abc-2"): 15.0}
    slow = replace(measured(NOW - 50, requests=requests, interval_seconds=5.0), demand_interval_seconds=60.0)
    readings = ReadingsCollector(cluster()).collect(slow, NOW)
    assert readings.services.demand.tolist() == [4.5]
    assert readings.demand_interval_seconds == 60.0
    assert readings.nodes.interval_seconds.tolist() == [5.0] * len(readings.nodes.names)


def test_demand_that_nobody_reports_is_unknown() -> None:
    services = ReadingsCollector(cluster()).collect(measured(NOW), NOW).services
    assert np.isnan(services.demand[0])
    assert services.demand_age_seconds[0] == np.inf


CHATS = [PodKey("llm", f"chat-abc-{number}") for number in (1, 2, 3, 4)]


def demand_after_silence(silent: int, *, at: float | None = None) -> float:
    """Returns the demand of four pods with 10 requests each, once the last ones are silent or were read last `at`."""
    view = cluster()
    view.put(pod("chat", 3, on="a"))
    view.put(pod("chat", 4, on="b"))
    collector = ReadingsCollector(view)
    collector.collect(measured(NOW - 1, requests=dict.fromkeys(CHATS, 10.0)), NOW)
    heard = measured(NOW + 59, requests=dict.fromkeys(CHATS[: len(CHATS) - silent], 10.0))
    if at is not None:
        old = Column(keys=tuple(CHATS), values=np.full(4, 10.0), timestamps=np.array([NOW + 59] * 4))
        old.timestamps[len(CHATS) - silent :] = at
        heard = replace(heard, pod_requests=old)
    return float(collector.collect(heard, NOW + 60).services.demand[0])


@pytest.mark.parametrize("at", [None, NOW], ids=["vanished", "old"])
def test_a_pod_that_falls_silent_counts_as_the_others_do_and_not_as_idle(at: float | None) -> None:
    assert demand_after_silence(1, at=at) == demand_after_silence(2, at=at) == 4.0


def test_demand_is_unknown_once_most_of_its_pods_are_silent() -> None:
    assert np.isnan(demand_after_silence(3))


def test_a_pod_that_never_reported_adds_nothing() -> None:
    view = cluster()
    collector = ReadingsCollector(view)
    collector.collect(measured(NOW - 1, requests=dict.fromkeys(CHATS[:2], 10.0)), NOW)
    view.put(pod("chat", 3, on="a"))
    services = collector.collect(measured(NOW + 4, requests=dict.fromkeys(CHATS[:2], 10.0)), NOW + 5).services
    assert services.demand.tolist() == [2.0]


def test_a_policys_own_query_is_asked_for_and_used() -> None:
    view = cluster()
    view.put(policy("chat", query="sum(gateway_requests)", per_replica=4))
    collector = ReadingsCollector(view)
    assert collector.request().demands == ((CHAT, "sum(gateway_requests)"),)
    assert collector.collect(measured(NOW, queried={CHAT: 10.0}), NOW).services.demand.tolist() == [2.5]


def test_a_target_claimed_twice_gets_the_stricter_of_each_figure() -> None:
    view = cluster()
    view.put(policy("strict", priority=1, ceiling=7, mode="Off", selects={"policy": "chat"}))
    services = ReadingsCollector(view).collect(measured(NOW), NOW).services
    assert (
        services.claimed_twice.tolist(),
        services.priority.tolist(),
        services.ceiling.tolist(),
        services.mode.tolist(),
    ) == (
        [True],
        [1],
        [7],
        [Mode.SCALE],
    )


def test_a_budget_limits_the_priority_that_a_namespace_may_use() -> None:
    view = cluster()
    view.put(budget("rack-1", 5_000, labels={"rack": "1"}, max_priority={"*": 3}))
    assert ReadingsCollector(view).collect(measured(NOW), NOW).services.priority.tolist() == [3]


@pytest.mark.parametrize(
    ("metadata", "expected"), [({"metric": "cap"}, True), ({"metric": "replicas"}, False), ({}, False)]
)
def test_a_trigger_that_hands_out_the_cap_alone_is_recognised(metadata: dict[str, str], expected: bool) -> None:
    view = cluster()
    view.put(scaled_object("chat", "chat", **metadata))
    assert ReadingsCollector(view).collect(measured(NOW), NOW).services.cap_only.tolist() == [expected]


def test_an_annotation_raises_what_a_policy_says_and_never_lowers_it() -> None:
    import msgspec

    view = cluster()
    plain = deployment("chat", 2)
    noted = msgspec.structs.replace(plain.metadata, annotations={"wattkeeper.dev/watts-per-replica": "900"})
    view.put(msgspec.structs.replace(plain, metadata=noted))
    assert ReadingsCollector(view).collect(measured(NOW), NOW).services.prior_watts.tolist() == [900.0]


def test_tokens_are_each_pods_own_and_unknown_once_they_are_old() -> None:
    tokens = {PodKey("llm", "chat-abc-1"): 120.0, PodKey("llm", "chat-abc-2"): 80.0}
    fresh = replace(measured(NOW), pod_tokens_per_second=column(tokens, NOW - 4))
    old = replace(measured(NOW), pod_tokens_per_second=column(tokens, NOW - 40))
    collector = ReadingsCollector(cluster())
    assert sorted(collector.collect(fresh, NOW).pods.tokens_per_second.tolist()) == [80.0, 120.0]
    assert np.isnan(collector.collect(old, NOW).pods.tokens_per_second).all()


def test_pods_are_found_by_uid_after_others_have_gone() -> None:
    view = cluster()
    collector = ReadingsCollector(view)
    view.drop(Pod, "llm", "chat-abc-1")
    pods = collector.collect(measured(NOW), NOW).pods
    assert (pods.uids, dict(pods.row_by_uid)) == (("chat-abc-2",), {"chat-abc-2": 0})


def test_a_policy_says_what_a_violation_is() -> None:
    one = policy("chat")
    rules = PerformancePower(tokens_per_joule=2.0, tolerance=0.25, min_tokens_per_second=5.0)
    view = cluster()
    view.put(
        msgspec.structs.replace(
            one,
            spec=msgspec.structs.replace(one.spec, violation=ViolationRules(tolerance=0.05), performance_power=rules),
        )
    )
    services = ReadingsCollector(view).collect(measured(NOW), NOW).services
    assert services.violation_tolerance.tolist() == [0.05]
    assert (services.least_tokens_per_joule.tolist(), services.idle_tokens_per_second.tolist()) == ([1.5], [5.0])


def test_a_policy_says_whether_an_old_pod_goes_first_in_a_rollout() -> None:
    view, one = cluster(), policy("chat")
    assert ReadingsCollector(view).collect(measured(NOW), NOW).services.replaces.tolist() == [False]
    view.put(msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, rollout="Replace")))
    assert ReadingsCollector(view).collect(measured(NOW), NOW).services.replaces.tolist() == [True]


def test_a_policy_without_rules_tolerates_nothing_and_asks_for_no_performance() -> None:
    services = ReadingsCollector(cluster()).collect(measured(NOW), NOW).services
    assert services.violation_tolerance.tolist() == [0.0]
    assert np.isnan(services.least_tokens_per_joule).all()


def test_of_two_policies_the_stricter_violation_rules_hold() -> None:
    both = {"policy": "chat"}
    lax, strict = policy("lax", selects=both), policy("strict", selects=both)
    view = cluster()
    view.put(
        msgspec.structs.replace(lax, spec=msgspec.structs.replace(lax.spec, violation=ViolationRules(tolerance=0.5)))
    )
    view.put(
        msgspec.structs.replace(
            strict,
            spec=msgspec.structs.replace(
                strict.spec, performance_power=PerformancePower(tokens_per_joule=3.0, tolerance=0.0)
            ),
        )
    )
    services = ReadingsCollector(view).collect(measured(NOW), NOW).services
    assert (services.violation_tolerance.tolist(), services.least_tokens_per_joule.tolist()) == ([0.0], [3.0])


def test_what_is_published_of_pods_reaches_the_next_leader() -> None:
    key = ScaleTargetRef(kind="Deployment", name="chat")
    said = Violation(type="Slipped", since="2026-01-01T00:00:00Z", pods=(ViolatingPod(name="chat-abc-1", uid="1"),))
    moves = (MovablePod(name="chat-abc-2", uid="2", budget="rack-1"),)
    view = cluster()
    view.put(
        PowerRecommendation(
            metadata=ObjectMeta(name="deployment-chat", namespace="llm"),
            spec=PowerRecommendationSpec(scale_target_ref=key, policy="chat"),
            status=PowerRecommendationStatus(mode="Off", violations=(said,), movable_pods=moves),
        )
    )
    published = ReadingsCollector(view).collect(measured(NOW), NOW).published[CHAT]
    assert (published.violations, published.movable_pods) == ((said,), moves)
