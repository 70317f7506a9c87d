from typing import Any

import pytest
from msgspec.structs import replace

from scaler.scaled_object_checks import CapFindings, check_scaled_objects
from tests.unit.scaler.samples import EXACT, scaled_object
from wattkeeper.api.meta import OwnerReference
from wattkeeper.cluster.objects import ScaledObject, Trigger

DEMAND = Trigger(type="prometheus", name="demand", metadata={"query": "up"})
FORMULA: dict[str, Any] = {**EXACT, "scalingModifiers": {"formula": "min(demand, cap)", "target": "1"}}


def check(*objects: ScaledObject, floor: int = 0, ceiling: int = 40, server_minor: int = 36) -> CapFindings:
    return check_scaled_objects(objects, floor=floor, ceiling=ceiling, server_minor=server_minor)


def of_kserve(query: str, target: str) -> ScaledObject:
    """Returns a ScaledObject as KServe makes it of a PodMetric."""
    metadata = {"metricQuery": f'sum({query}{{namespace="chat", deployment="llm"}})', "targetValue": target}
    scaled = scaled_object()
    return replace(scaled, spec=replace(scaled.spec, triggers=(Trigger(type="external", metadata=metadata),)))


def test_an_exact_scaled_object_has_nothing_to_say() -> None:
    assert check(scaled_object()) == CapFindings(unachievable=(), hindrances=(), has_trigger=True)


@pytest.mark.parametrize(
    ("scaled", "words"),
    [
        (scaled_object(minimum=2), "minReplicaCount 2: set it to 0"),
        (scaled_object(cooldown=300), "cooldownPeriod 300"),
        (scaled_object(metric="cap", triggers=(DEMAND,)), "scalingModifiers.formula"),
        (scaled_object(metric="cap", triggers=(Trigger(type="cpu"),), advanced=FORMULA), "cpu and memory"),
    ],
)
def test_what_keeps_a_cap_from_being_kept_is_said_with_its_remedy(scaled: ScaledObject, words: str) -> None:
    (message,) = check(scaled).unachievable
    assert words in message


def test_a_floor_at_the_minimum_needs_neither_zero_nor_a_short_cooldown() -> None:
    found = check(scaled_object(minimum=2, cooldown=300), floor=2)
    assert (found.unachievable, found.hindrances) == ((), ())


def test_a_minimum_of_zero_below_the_floor_lets_keda_stop_the_target_and_is_said() -> None:
    found = check(scaled_object(minimum=0), floor=2)
    assert found.unachievable == ()
    (message,) = found.hindrances
    assert "set it to 2" in message


def test_where_kserve_makes_the_scaled_object_its_own_object_is_named() -> None:
    scaled = scaled_object(minimum=2, advanced={})
    owner = OwnerReference(
        api_version="serving.kserve.io/v1beta1", kind="InferenceService", name="chat", uid="uid-chat", controller=True
    )
    found = check(replace(scaled, metadata=replace(scaled.metadata, owner_references=(owner,))))
    for messages in (found.unachievable, found.hindrances):
        assert "of InferenceService chat: change minReplicas and autoScaling there" in messages[-1]


def test_a_formula_that_joins_demand_and_cap_is_fine() -> None:
    assert check(scaled_object(metric="cap", triggers=(DEMAND,), advanced=FORMULA)).unachievable == ()


def test_two_scaled_objects_on_one_target_are_named() -> None:
    (message,) = check(scaled_object("one", target="llm"), scaled_object("two", target="llm")).unachievable
    assert "one, two" in message


@pytest.mark.parametrize(
    ("scale_down", "server_minor", "words"),
    [
        ({"tolerance": "0"}, 36, "by 300 s"),
        ({"tolerance": "0", "stabilizationWindowSeconds": 60}, 36, "by 60 s"),
        ({"stabilizationWindowSeconds": 0}, 36, "a ceiling is needed"),
        ({"stabilizationWindowSeconds": 0, "tolerance": "0"}, 34, "1.34 drops behavior.scaleDown.tolerance"),
    ],
)
def test_what_delays_or_blurs_a_cut_is_said(scale_down: dict[str, Any], server_minor: int, words: str) -> None:
    scaled = scaled_object(advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": scale_down}}})
    found = check(scaled, server_minor=server_minor)
    assert found.unachievable == ()
    (message,) = found.hindrances
    assert words in message


def test_up_to_ten_replicas_the_tolerance_hides_no_step() -> None:
    scaled = scaled_object(
        advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}
    )
    assert check(scaled, ceiling=10).hindrances == ()


def test_a_scaled_object_of_somebody_elses_scaler_enforces_nothing() -> None:
    scaled = scaled_object()
    other = Trigger(type="external", metadata={"scalerAddress": "elsewhere:1", "queue": "orders"})
    foreign = ScaledObject(metadata=scaled.metadata, spec=type(scaled.spec)(triggers=(other,)))
    assert not check(foreign).has_trigger
    assert check().has_trigger is False


@pytest.mark.parametrize(
    ("query", "target", "words"),
    [("wattkeeper_cap", "1", "answers wattkeeper_replicas alone"), ("wattkeeper_replicas", "2", "target.value")],
)
def test_a_pod_metric_that_is_meant_for_us_and_gets_no_answer_is_told_why(query: str, target: str, words: str) -> None:
    found = check(of_kserve(query, target))
    assert not found.has_trigger
    (message,) = found.hindrances
    assert words in message


def test_a_pod_metric_for_somebody_else_is_nothing_to_us() -> None:
    assert check(of_kserve("vllm:num_requests_running", "10")).hindrances == ()


@pytest.mark.parametrize("advanced", [{"horizontalPodAutoscalerConfig": None}, {"horizontalPodAutoscalerConfig": []}])
def test_odd_shapes_count_as_not_set(advanced: dict[str, Any]) -> None:
    assert len(check(scaled_object(advanced=advanced)).hindrances) == 2
