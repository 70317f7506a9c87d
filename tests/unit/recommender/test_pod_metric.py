"""A ScaledObject that KServe makes of a PodMetric asks for our replicas, and is not an autoscaler of its own then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.recommender.test_kserve import CLASS, collected, inference_service
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import ScaledObject, ScaledObjectSpec, ScaledObjectTarget, Trigger
from wattkeeper.recommender.pod_metric import asked_query, asks_for_replicas

TARGET = "chat-predictor"


def pod_metric(query: str = "wattkeeper_replicas", *, type_: str = "external") -> Trigger:
    wrapped = f'sum({query}{{namespace="llm", deployment="{TARGET}"}})'
    metadata = {"metricQuery": wrapped, "targetValue": "1", "scalerAddress": "wattkeeper.power.svc:9090"}
    return Trigger(type=type_, metadata=metadata)


def made(*triggers: Trigger) -> ScaledObject:
    spec = ScaledObjectSpec(scale_target_ref=ScaledObjectTarget(name=TARGET), triggers=triggers)
    return ScaledObject(metadata=ObjectMeta(name=TARGET, namespace="llm", uid="uid-scaled"), spec=spec)


def rows(*triggers: Trigger) -> Any:
    service = inference_service(annotations={CLASS: "keda"}, predictor={"maxReplicas": 6})
    return collected(service, TARGET, made(*triggers))


def test_the_query_is_read_as_its_user_wrote_it() -> None:
    assert asked_query(pod_metric("vllm:num_requests_running").metadata) == "vllm:num_requests_running"


@pytest.mark.parametrize("said", ["up", 'sum(up{namespace="llm"})', "sum(up{})"])
def test_a_query_that_kserve_did_not_write_is_taken_as_it_is(said: str) -> None:
    assert asked_query({"metricQuery": said}) == said


def test_a_trigger_without_a_query_is_none_of_kserve_s() -> None:
    assert asked_query({"scalerAddress": "wattkeeper:9090"}) is None


@pytest.mark.parametrize(
    "triggers",
    [
        (),
        (pod_metric("vllm:num_requests_running"),),
        (pod_metric(), Trigger(type="cpu", metadata={"value": "80"})),
        (pod_metric(type_="prometheus"),),
    ],
)
def test_what_asks_for_anything_else_as_well_is_not_told_its_replicas_by_us(triggers: tuple[Trigger, ...]) -> None:
    assert not asks_for_replicas(made(*triggers))


def test_a_service_of_kserve_s_that_asks_us_has_its_demand_reserved_and_not_its_maximum() -> None:
    told = rows(pod_metric())
    assert told.cap_only.tolist() == [False]
    assert told.ceiling.tolist() == [6]


def test_a_service_of_kserve_s_that_asks_others_as_well_has_its_maximum_reserved() -> None:
    assert rows(pod_metric(), Trigger(type="cpu", metadata={"value": "80"})).cap_only.tolist() == [True]
