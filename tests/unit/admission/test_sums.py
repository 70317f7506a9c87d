"""What a pod's requests add up to stays within LimitRanges and quotas; a pod that would pass is never made to fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, example, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from admission.requests import RequestPlan, plan_requests
from admission.sums import Move, Rule, fit
from admission.view import Surroundings
from tests.unit.admission.plain import admitted
from tests.unit.admission.samples import SERVICE, KnownUsage, container, patched, pod, read, usage
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_capping_policy import Requests
from wattkeeper.cluster.objects import (
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
    ScopeRequirement,
    ScopeSelector,
)

KNOWN = {"main": usage(cores=3.0), "proxy": usage(cores=1.0)}


def limit_range(*items: LimitRangeItem) -> LimitRange:
    return LimitRange(metadata=ObjectMeta(name="bounds"), spec=LimitRangeSpec(limits=items))


def of_pod(**item: Any) -> Surroundings:
    return Surroundings(limit_ranges=(limit_range(LimitRangeItem(type="Pod", **item)),))


def quota(hard: dict[str, Any], used: dict[str, Any] | None = None, **spec: Any) -> Surroundings:
    one = ResourceQuota(
        metadata=ObjectMeta(name="team"),
        spec=ResourceQuotaSpec(hard=hard, **spec),
        status=ResourceQuotaStatus(hard=hard, used=used or {}),
    )
    return Surroundings(quotas=(one,))


def plan(given: dict[str, Any], surroundings: Surroundings, rules: Requests | None = None) -> RequestPlan:
    only_cpu = rules or Requests(controlled_resources=("cpu",))
    return plan_requests(read(given), SERVICE, only_cpu, KnownUsage(KNOWN), surroundings)


def cpus(given: dict[str, Any], surroundings: Surroundings, rules: Requests | None = None) -> list[str]:
    changed = patched(given, plan(given, surroundings, rules).operations)
    return [one["resources"]["requests"]["cpu"] for one in changed["spec"]["containers"]]


def two(main: str, proxy: str, **spec: Any) -> dict[str, Any]:
    return pod(container("main", requests={"cpu": main}), container("proxy", requests={"cpu": proxy}), spec=spec)


def test_without_rules_all_go_where_they_should() -> None:
    assert cpus(two("1", "2"), Surroundings()) == ["3", "1"]


def test_what_falls_makes_room_for_what_rises() -> None:
    assert cpus(two("1", "2"), of_pod(max={"cpu": "4"})) == ["3", "1"]


def test_what_rises_stops_where_the_pods_maximum_is() -> None:
    given = two("1", "2")
    assert cpus(given, of_pod(max={"cpu": "3"})) == ["2", "1"]
    assert "main: cpu 1 -> 2 (LimitRange bounds)" in plan(given, of_pod(max={"cpu": "3"})).notes


def test_what_falls_stops_where_the_pods_minimum_is() -> None:
    assert cpus(two("6", "1"), of_pod(min={"cpu": "5"})) == ["4", "1"]


def test_what_falls_stops_at_the_pods_ratio() -> None:
    given = pod(container("main", requests={"cpu": "6"}, limits={"cpu": "10"}))
    assert cpus(given, of_pod(max_limit_request_ratio={"cpu": "2"})) == ["5"]


def test_limits_that_follow_stay_within_the_pods_maximum() -> None:
    given = pod(container("main", requests={"cpu": "1"}, limits={"cpu": "2"}))
    rules = Requests(controlled_resources=("cpu",), limits="Scale")
    assert cpus(given, of_pod(max={"cpu": "5"}), rules) == ["2500m"]


@pytest.mark.parametrize("name", ["cpu", "requests.cpu"])
def test_what_rises_stops_at_what_a_quota_has_left(name: str) -> None:
    assert cpus(two("1", "1"), quota({name: "10"}, {name: "7"})) == ["2", "1"]


def test_a_quota_that_is_used_up_lets_nothing_rise() -> None:
    assert cpus(two("1", "1"), quota({"cpu": "10"}, {"cpu": "10"})) == ["1", "1"]


def test_a_quota_on_limits_holds_limits_that_follow() -> None:
    given = pod(container("main", requests={"cpu": "1"}, limits={"cpu": "2"}))
    rules = Requests(controlled_resources=("cpu",), limits="Scale")
    assert cpus(given, quota({"limits.cpu": "5"}), rules) == ["2500m"]


def test_a_quota_on_limits_says_nothing_where_limits_are_kept() -> None:
    given = pod(container("main", requests={"cpu": "1"}, limits={"cpu": "4"}))
    assert cpus(given, quota({"limits.cpu": "4"}, {"limits.cpu": "4"})) == ["3"]


def test_a_quota_that_nobody_has_counted_yet_holds_by_its_spec() -> None:
    one = ResourceQuota(metadata=ObjectMeta(name="new"), spec=ResourceQuotaSpec(hard={"cpu": "2"}))
    given = pod(container("main", requests={"cpu": "1"}))
    assert cpus(given, Surroundings(quotas=(one,))) == ["2"]


def test_overhead_counts() -> None:
    given = two("1", "1", overhead={"cpu": "500m"})
    assert cpus(given, of_pod(max={"cpu": "3"})) == ["1500m", "1"]


def test_a_sidecar_counts_beside_an_init_container_that_starts_after_it() -> None:
    given = pod(
        container("other", requests={"cpu": "1"}),
        spec={
            "initContainers": [
                container("main", requests={"cpu": "1"}, restartPolicy="Always"),
                container("download", requests={"cpu": "8"}),
            ]
        },
    )
    changed = patched(given, plan(given, of_pod(max={"cpu": "10"})).operations)
    assert changed["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] == "2"


def in_scope(*scopes: str, selector: ScopeSelector | None = None, **spec: Any) -> bool:
    full = quota({"cpu": "1"}, {"cpu": "1"}, scopes=scopes, scope_selector=selector)
    return cpus(two("1", "1", **spec), full) == ["1", "1"]


def of_class(operator: str, *values: str) -> ScopeSelector:
    requirement = ScopeRequirement(scope_name="PriorityClass", operator=operator, values=values)
    return ScopeSelector(match_expressions=(requirement,))


@pytest.mark.parametrize(
    ("scope", "spec", "counts"),
    [
        ("NotBestEffort", {}, True),
        ("BestEffort", {}, False),
        ("Terminating", {}, False),
        ("Terminating", {"activeDeadlineSeconds": 60}, True),
        ("NotTerminating", {}, True),
        ("NotTerminating", {"activeDeadlineSeconds": 60}, False),
        ("PriorityClass", {}, False),
        ("PriorityClass", {"priorityClassName": "high"}, True),
    ],
)
def test_a_quota_counts_pods_of_its_scope(scope: str, spec: dict[str, Any], counts: bool) -> None:
    assert in_scope(scope, **spec) is counts


@pytest.mark.parametrize(
    ("selector", "counts"),
    [
        (of_class("In", "high"), True),
        (of_class("In", "low"), False),
        (of_class("NotIn", "high"), False),
        (of_class("NotIn", "low"), True),
        (of_class("Exists"), True),
        (of_class("DoesNotExist"), False),
    ],
)
def test_a_quota_counts_pods_of_its_priority_classes(selector: ScopeSelector, counts: bool) -> None:
    assert in_scope(selector=selector, priorityClassName="high") is counts


def test_moves_that_rules_forbid_one_after_the_other_are_undone_and_the_last_rule_is_named() -> None:
    def falling(old: int, aim: int) -> Move:
        one = read(pod(container())).spec.containers
        assert one is not None
        return Move(container=one[0], old=old, aim=aim, new=old, limit=None, scales=False, step=1)

    moves = [falling(4_000, 1_000), falling(1_000, 4_000)]
    sum_of_both = Rule(weights=(1.0, 1.0), most=5_000.0, why="at most 5")
    the_first = Rule(weights=(-1.0, 0.0), most=-3_000.0, why="the first at least 3")
    assert fit(moves, lambda: [sum_of_both, the_first]) == "at most 5"
    assert [move.new for move in moves] == [4_000, 1_000]


AMOUNTS = ("200m", "500m", "1", "1500m", "2", "3", "4", "7")
RESOURCES = st.sampled_from(
    [
        {name: {"cpu": value} for name, value in (("requests", request), ("limits", limit)) if value is not None}
        for place, limit in enumerate((*AMOUNTS, None))
        for request in (*AMOUNTS[: place + 1], None)
    ]
)


def items(*, most: tuple[str, ...]) -> st.SearchStrategy[dict[str, dict[str, str]]]:
    """Entries of a LimitRange that some pods pass."""
    bounds = {"min": ("200m", "500m", "2"), "max": most, "maxLimitRequestRatio": ("2", "3500m", "10")}
    each = [st.sampled_from([{}, {}, *({name: {"cpu": one}} for one in values)]) for name, values in bounds.items()]
    return st.tuples(*each).map(lambda chosen: {name: one for part in chosen for name, one in part.items()})


LEFT = st.fixed_dictionaries(
    {}, optional={"requests.cpu": st.sampled_from(["5", "9", "20"]), "limits.cpu": st.sampled_from(["9", "20"])}
)


def item_of(kind: str, item: dict[str, dict[str, str]]) -> LimitRangeItem:
    given = {"max_limit_request_ratio" if name == "maxLimitRequestRatio" else name: one for name, one in item.items()}
    return LimitRangeItem(type=kind, **given)  # pyright: ignore[reportArgumentType]


@settings(max_examples=200)
@examples(
    pieces=st.tuples(*[RESOURCES] * 4),
    cores=st.tuples(*[st.floats(0.05, 9.0)] * 3),
    scale=st.booleans(),
    of_container=items(most=("4", "7")),
    of_pod=items(most=("9", "20")),
    left=LEFT,
)
@example(
    pieces=({}, {}, {}, {"limits": {"cpu": "1500m"}}),
    cores=(1.0, 1.0, 2.0),
    scale=False,
    of_container={},
    of_pod={},
    left={"requests.cpu": "2"},
)
def test_a_pod_that_passes_goes_on_passing_and_is_planned_once(
    pieces: tuple[dict[str, dict[str, str]], ...],
    cores: tuple[float, ...],
    scale: bool,
    of_container: dict[str, dict[str, str]],
    of_pod: dict[str, dict[str, str]],
    left: dict[str, str],
) -> None:
    main, proxy, sidecar, init = pieces
    sidecars = [container("side", restartPolicy="Always", **sidecar), container("init", **init)]
    given = pod(container("main", **main), container("proxy", **proxy), spec={"initContainers": sidecars})
    known = {name: usage(cores=value) for name, value in zip(("main", "proxy", "side"), cores, strict=True)}
    around = Surroundings(
        limit_ranges=(limit_range(item_of("Container", of_container), item_of("Pod", of_pod)),),
        quotas=quota(dict(left)).quotas,
    )
    rules = Requests(controlled_resources=("cpu",), limits="Scale" if scale else "Keep")

    def planned(one: dict[str, Any]) -> RequestPlan:
        return plan_requests(read(one), SERVICE, rules, KnownUsage(known), around)

    once = patched(given, planned(given).operations)
    if admitted(given, "cpu", of_container=of_container, of_pod=of_pod, left=left):
        event("would have passed")
        assert admitted(once, "cpu", of_container=of_container, of_pod=of_pod, left=left)
    assert planned(once).operations == ()
