"""Which requests a pod's containers get, and what holds them up or down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from admission.requests import RequestPlan, plan_requests
from admission.view import Surroundings
from tests.unit.admission.samples import GIB, MIB, SERVICE, KnownUsage, container, patched, pod, read, usage
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_capping_policy import ContainerRequests, Requests, ResourceBound
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    Metric,
    MetricTarget,
    ResourceMetric,
)

ALONE = Surroundings()
SCALE = Requests(limits="Scale")


def plan(
    given: dict[str, Any],
    known: Mapping[str, Any] | None = None,
    *,
    rules: Requests | None = None,
    surroundings: Surroundings = ALONE,
) -> RequestPlan:
    estimates = KnownUsage({"main": usage()} if known is None else known)
    return plan_requests(read(given), SERVICE, rules or Requests(), estimates, surroundings)


def resources(
    given: dict[str, Any],
    known: Mapping[str, Any] | None = None,
    *,
    rules: Requests | None = None,
    surroundings: Surroundings = ALONE,
    where: str = "containers",
) -> dict[str, Any]:
    """Returns the first container's resources after the patch."""
    operations = plan(given, known, rules=rules, surroundings=surroundings).operations
    found: dict[str, Any] = patched(given, operations)["spec"][where][0]["resources"]
    return found


def asks(*, cpu: str = "4", memory: str = "16Gi") -> dict[str, str]:
    return {"cpu": cpu, "memory": memory}


def limit_range(kind: str = "Container", **item: Any) -> Surroundings:
    entry = LimitRangeItem(type=kind, **item)
    return Surroundings(
        limit_ranges=(LimitRange(metadata=ObjectMeta(name="bounds"), spec=LimitRangeSpec(limits=(entry,))),)
    )


def scaled_by(*metrics: Metric) -> Surroundings:
    spec = HorizontalPodAutoscalerSpec(
        scale_target_ref=CrossVersionTarget(kind="Deployment", name="llm-predictor"), metrics=metrics
    )
    return Surroundings(autoscalers=(HorizontalPodAutoscaler(metadata=ObjectMeta(name="hpa"), spec=spec),))


def of_pod(name: str, target: str = "Utilization") -> Metric:
    return Metric(type="Resource", resource=ResourceMetric(name=name, target=MetricTarget(type=target)))


def of_container(name: str, container_name: str) -> Metric:
    metric = ResourceMetric(name=name, container=container_name, target=MetricTarget(type="Utilization"))
    return Metric(type="ContainerResource", container_resource=metric)


def test_requests_become_what_was_used() -> None:
    assert resources(pod(container(requests=asks()))) == {"requests": {"cpu": "2", "memory": "8Gi"}}


@pytest.mark.parametrize(
    "given",
    [
        pod({"name": "main"}),
        pod({"name": "main", "resources": None}),
        pod({"name": "main", "resources": {}}),
        pod({"name": "main", "resources": {"requests": None}}),
    ],
    ids=["no-resources", "null", "empty", "null-requests"],
)
def test_requests_that_are_missing_are_added(given: dict[str, Any]) -> None:
    assert resources(given)["requests"] == {"cpu": "2", "memory": "8Gi"}


def test_values_are_rounded_up_to_a_millicore_and_a_mebibyte() -> None:
    known = {"main": usage(cores=0.1234567, memory=100.5 * MIB)}
    assert resources(pod(container()), known)["requests"] == {"cpu": "124m", "memory": "101Mi"}


@pytest.mark.parametrize(("cores", "kept"), [(3.6, True), (3.59, False), (4.4, True), (4.41, False)])
def test_only_what_differs_by_more_than_a_tenth_is_changed(cores: float, kept: bool) -> None:
    found = resources(pod(container(requests=asks())), {"main": usage(cores=cores, doubt=0.0)})
    assert (found["requests"]["cpu"] == "4") is kept


@pytest.mark.parametrize(
    ("doubt", "cpu", "memory"), [(1.0, "4", "16Gi"), (0.99, "2", "8Gi"), (float("inf"), "4", "16Gi")]
)
def test_a_request_is_lowered_only_where_usage_cannot_come_to_it(doubt: float, cpu: str, memory: str) -> None:
    found = resources(pod(container(requests=asks())), {"main": usage(doubt=doubt)})
    assert found["requests"] == {"cpu": cpu, "memory": memory}


def test_a_request_that_usage_may_yet_reach_says_so() -> None:
    found = plan(pod(container(requests=asks())), {"main": usage(doubt=10.0)})
    assert found.notes == ("main: cpu left alone (usage may reach it yet), memory left alone (usage may reach it yet)",)


def test_a_request_is_raised_on_the_first_evidence() -> None:
    found = resources(pod(container(requests=asks())), {"main": usage(cores=6.0, doubt=float("inf"))})
    assert found["requests"]["cpu"] == "6"


def test_a_request_that_usage_may_yet_reach_is_lowered_no_further_than_a_bound_wants() -> None:
    rules = Requests(containers=(ContainerRequests(name="main", max_allowed=ResourceBound(cpu="3")),))
    found = plan(pod(container(requests=asks())), {"main": usage(doubt=10.0)}, rules=rules)
    assert "cpu 4 -> 3 (maxAllowed)" in found.notes[0]


def test_memory_is_never_set_below_what_loading_takes() -> None:
    found = plan(pod(container(requests=asks())), {"main": usage(memory=8.0 * GIB, loading=12.0 * GIB)})
    assert "memory 16Gi -> 12Gi (loading)" in found.notes[0]


def test_a_container_without_history_is_left_alone_and_told() -> None:
    found = plan(pod(container(requests=asks())), {})
    assert (found.operations, found.notes, found.unknown) == ((), ("main: no usage known yet",), 1)


@pytest.mark.parametrize("cores", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_means_nothing_is_no_target(cores: float) -> None:
    known = {"main": usage(cores=cores)}
    assert resources(pod(container(requests=asks())), known)["requests"]["cpu"] == "4"


def test_resources_that_the_policy_does_not_control_stay() -> None:
    found = resources(pod(container(requests=asks())), rules=Requests(controlled_resources=("memory",)))
    assert found["requests"] == {"cpu": "4", "memory": "8Gi"}


def test_a_policy_that_controls_nothing_says_nothing() -> None:
    assert plan(pod(container(requests=asks())), rules=Requests(controlled_resources=())) == RequestPlan()


def test_a_container_whose_rule_is_off_is_left_alone() -> None:
    rules = Requests(containers=(ContainerRequests(name="main", mode="Off"),))
    found = plan(pod(container(requests=asks())), rules=rules)
    assert (found.operations, found.notes) == ((), ("main: left alone, as the policy says",))


def test_the_rule_for_all_holds_for_containers_that_none_names() -> None:
    rules = Requests(containers=(ContainerRequests(name="*", mode="Off"), ContainerRequests(name="main")))
    given = pod(container("main", requests=asks()), container("proxy", requests=asks()))
    changed = [one.path for one in plan(given, {"main": usage(), "proxy": usage()}, rules=rules).operations]
    assert changed
    assert all(path.startswith("/spec/containers/0/") for path in changed)


@pytest.mark.parametrize(
    ("rule", "cpu", "why"),
    [
        (ContainerRequests(name="main", max_allowed=ResourceBound(cpu="1500m")), "1500m", "maxAllowed"),
        (ContainerRequests(name="main", min_allowed=ResourceBound(cpu="3")), "3", "minAllowed"),
    ],
)
def test_the_policys_bounds_hold(rule: ContainerRequests, cpu: str, why: str) -> None:
    rules = Requests(containers=(rule,))
    given = pod(container(requests=asks()))
    assert resources(given, rules=rules)["requests"]["cpu"] == cpu
    assert f"cpu 4 -> {cpu} ({why})" in plan(given, rules=rules).notes[0]


def test_what_no_bound_allows_is_left_alone_and_told() -> None:
    rules = Requests(containers=(ContainerRequests(name="main", max_allowed=ResourceBound(memory="10Gi")),))
    found = plan(pod(container(requests=asks())), {"main": usage(loading=12.0 * GIB)}, rules=rules)
    assert "memory left alone (loading wants 12Gi, maxAllowed allows 10Gi)" in found.notes[0]


def test_a_request_never_exceeds_its_limit() -> None:
    given = pod(container(requests=asks(cpu="1"), limits={"cpu": "1500m", "memory": "32Gi"}))
    assert resources(given) == {
        "requests": {"cpu": "1500m", "memory": "8Gi"},
        "limits": {"cpu": "1500m", "memory": "32Gi"},
    }


def test_a_limit_without_a_request_is_the_request() -> None:
    given = pod(container(requests={"cpu": "1"}, limits={"memory": "8Gi"}))
    assert resources(given)["requests"] == {"cpu": "2"}


def test_limits_keep_their_proportion_where_the_policy_says_so() -> None:
    given = pod(container(requests=asks(), limits={"cpu": "6", "memory": "32Gi"}))
    assert resources(given, rules=SCALE) == {
        "requests": {"cpu": "2", "memory": "8Gi"},
        "limits": {"cpu": "3", "memory": "16Gi"},
    }
    assert "cpu 4 -> 2 and limit 6 -> 3" in plan(given, rules=SCALE).notes[0]


def test_no_limit_is_made_where_there_is_none() -> None:
    assert "limits" not in resources(pod(container(requests=asks())), rules=SCALE)


def guaranteed(**same: str) -> dict[str, Any]:
    return pod(container(requests=asks(**same), limits=asks(**same)))


def test_a_guaranteed_pod_is_left_alone_while_limits_are_kept() -> None:
    found = plan(guaranteed())
    assert found.operations == ()
    assert "Guaranteed" in found.notes[0]


def test_a_guaranteed_pod_stays_guaranteed_when_limits_follow() -> None:
    given = guaranteed()
    changed = patched(given, plan(given, rules=SCALE).operations)
    assert changed["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}
    assert read(changed).guaranteed()


def test_a_guaranteed_pod_with_whole_cpus_goes_on_asking_for_whole_ones() -> None:
    assert resources(guaranteed(), {"main": usage(cores=1.2)}, rules=SCALE)["limits"]["cpu"] == "2"
    fraction = resources(guaranteed(cpu="3500m"), {"main": usage(cores=1.2)}, rules=SCALE)
    assert fraction["limits"]["cpu"] == "1200m"


def test_a_pod_is_not_guaranteed_because_of_an_init_container_without_limits() -> None:
    given = guaranteed()
    given["spec"]["initContainers"] = [container("download")]
    assert plan(given).operations != ()


def test_requests_of_the_pod_as_a_whole_keep_us_away() -> None:
    found = plan(pod(container(requests=asks()), spec={"resources": {"requests": {"cpu": "4"}}}))
    assert found.operations == ()
    assert "for all of its containers together" in found.notes[0]


def test_a_pod_of_more_containers_than_any_that_runs_is_left_alone_and_told() -> None:
    main, init = container("main", requests=asks(cpu="1")), container("init")
    most = pod(*[main] * 50, spec={"initContainers": [init] * 50})
    assert len(plan(most).notes) == 50
    more = pod(*[main] * 50, spec={"initContainers": [init] * 51})
    assert plan(more) == RequestPlan(notes=("requests left alone: the pod has more than 100 containers",))


def test_init_containers_are_left_alone() -> None:
    init = container("main", requests=asks())
    given = pod(container("other", requests=asks()), spec={"initContainers": [init]})
    assert plan(given, {"main": usage()}).operations == ()


def test_native_sidecars_are_containers() -> None:
    sidecar = container("main", requests=asks(), restartPolicy="Always")
    given = pod(container("other", requests=asks()), spec={"initContainers": [sidecar]})
    assert resources(given, where="initContainers")["requests"] == {"cpu": "2", "memory": "8Gi"}


def test_gpus_and_other_resources_are_never_touched() -> None:
    others = {"nvidia.com/gpu": "1", "ephemeral-storage": "1Gi", "hugepages-2Mi": "128Mi"}
    given = pod(container(requests={**asks(), **others}, limits=others))
    found = resources(given, rules=SCALE)
    assert found["requests"] == {"cpu": "2", "memory": "8Gi", **others}
    assert found["limits"] == others


@pytest.mark.parametrize(
    ("metric", "cpu"),
    [
        (of_pod("cpu"), "4"),
        (of_pod("memory"), "2"),
        (of_pod("cpu", "AverageValue"), "2"),
        (of_container("cpu", "main"), "4"),
        (of_container("cpu", "other"), "2"),
        (Metric(type="External"), "2"),
        (Metric(type="Resource"), "2"),
    ],
    ids=["cpu", "memory", "cpu-by-value", "this-container", "another-container", "external", "empty"],
)
def test_what_an_hpa_divides_by_is_left_alone(metric: Metric, cpu: str) -> None:
    assert resources(pod(container(requests=asks())), surroundings=scaled_by(metric))["requests"]["cpu"] == cpu


def test_the_hpa_that_keeps_us_away_is_named() -> None:
    found = plan(pod(container(requests=asks())), surroundings=scaled_by(of_pod("cpu")))
    assert "cpu left alone (HorizontalPodAutoscaler hpa scales on it)" in found.notes[0]


@pytest.mark.parametrize(
    ("item", "cpu"),
    [
        ({"min": {"cpu": "3"}}, "3"),
        ({"max": {"cpu": "1"}}, "1"),
        ({"kind": "PersistentVolumeClaim", "max": {"cpu": "1"}}, "2"),
        ({"max_limit_request_ratio": {"cpu": "2"}}, "3"),
    ],
    ids=["min", "max", "of-other-things", "ratio"],
)
def test_a_limit_range_for_containers_holds(item: dict[str, Any], cpu: str) -> None:
    given = pod(container(requests=asks(), limits={"cpu": "6"}))
    assert resources(given, surroundings=limit_range(**item))["requests"]["cpu"] == cpu


def test_a_limit_that_follows_stays_within_the_limit_range() -> None:
    given = pod(container(requests=asks(cpu="1"), limits={"cpu": "2"}))
    found = resources(given, rules=SCALE, surroundings=limit_range(max={"cpu": "3"}))
    assert (found["requests"]["cpu"], found["limits"]["cpu"]) == ("1500m", "3")


def test_a_limit_range_outside_of_the_policys_bounds_leaves_the_request_alone() -> None:
    rules = Requests(containers=(ContainerRequests(name="main", max_allowed=ResourceBound(cpu="1")),))
    found = plan(pod(container(requests=asks())), rules=rules, surroundings=limit_range(min={"cpu": "2"}))
    assert "cpu left alone (LimitRange bounds wants 2, maxAllowed allows 1)" in found.notes[0]


AMOUNTS = st.sampled_from([None, "100m", "500m", "1", "1500m", "2", "3", "8"])


@examples(
    request=AMOUNTS,
    limit=AMOUNTS,
    cores=st.floats(0.001, 20.0),
    scale=st.booleans(),
    least=AMOUNTS,
    most=AMOUNTS,
    ratio=st.sampled_from([None, "1", "2", "4.5"]),
)
def test_planning_for_the_patched_pod_changes_nothing(
    request: str | None,
    limit: str | None,
    cores: float,
    scale: bool,
    least: str | None,
    most: str | None,
    ratio: str | None,
) -> None:
    def cpu(value: str | None) -> dict[str, str]:
        return {} if value is None else {"cpu": value}

    around = limit_range(min=cpu(least), max=cpu(most), max_limit_request_ratio=cpu(ratio))
    rules = Requests(limits="Scale" if scale else "Keep")
    given = pod(container(requests=cpu(request), limits=cpu(limit)))
    known = {"main": usage(cores=cores)}
    once = patched(given, plan(given, known, rules=rules, surroundings=around).operations)
    again = plan(once, known, rules=rules, surroundings=around).operations
    assert [operation for operation in again if "cpu" in operation.path] == []
