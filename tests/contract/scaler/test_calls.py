"""What KEDA's calls bring, by the wire contract."""

from __future__ import annotations

import re
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.contract.scaler.serving import StillClock, client, metrics_request, reference, serving
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import NOW, budget, deployment, policy, recommendation, scaled_object
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.rpc.externalscaler_pb2 import GetMetricsRequest

KEDA_METRIC_NAME = re.compile(r"[-.0-9A-Za-z_]+")


@pytest.fixture
def view() -> MemoryView:
    view = MemoryView()
    view.put(policy(), budget(), deployment(replicas=5), scaled_object(), recommendation(target=3))
    return view


def pod_metric(query: str = "wattkeeper_replicas", **more: str) -> dict[str, str]:
    """Returns what KServe 0.20 makes of a PodMetric of its backend opentelemetry."""
    wrapped = f'sum({query}{{namespace="chat", deployment="llm"}})'
    return {"metricQuery": wrapped, "targetValue": "1", "scalerAddress": "wattkeeper.wattkeeper.svc:9090", **more}


@pytest.mark.parametrize("metric", ["replicas", "cap"])
async def test_the_spec_asks_for_one_replica_per_unit_in_both_fields(view: MemoryView, metric: str) -> None:
    async with serving(view) as server, client(server) as keda:
        response = await keda.GetMetricSpec(reference(metric=metric))
        (spec,) = response.metricSpecs
        assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
        assert KEDA_METRIC_NAME.fullmatch(spec.metricName)


@pytest.mark.parametrize("metric", ["replicas", "cap"])
async def test_the_value_is_the_grant_in_both_fields(view: MemoryView, metric: str) -> None:
    async with serving(view) as server, client(server) as keda:
        (value,) = (await keda.GetMetrics(metrics_request(metric))).metricValues
        assert (value.metricName, value.metricValue, value.metricValueFloat) == (f"wattkeeper-{metric}", 3, 3.0)


@pytest.mark.parametrize("target", ["1", "1000m"])
async def test_a_pod_metric_of_kserve_s_is_told_the_grant(view: MemoryView, target: str) -> None:
    asked = reference(**pod_metric(targetValue=target))
    async with serving(view) as server, client(server) as keda:
        (spec,) = (await keda.GetMetricSpec(asked)).metricSpecs
        assert (spec.metricName, spec.targetSizeFloat) == ("wattkeeper-replicas", 1.0)
        request = GetMetricsRequest(scaledObjectRef=asked, metricName=spec.metricName)
        (value,) = (await keda.GetMetrics(request)).metricValues
        assert value.metricValueFloat == 3.0


async def test_a_grant_is_active_and_no_grant_is_not(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        assert (await keda.IsActive(reference())).result
        view.put(recommendation(target=0))
        assert not (await keda.IsActive(reference())).result
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert (value.metricValue, value.metricValueFloat) == (0, 0.0)


async def test_a_small_cut_inside_the_tolerance_is_told_so_that_the_hpa_acts(view: MemoryView) -> None:
    view.put(deployment(replicas=20), scaled_object(advanced={}), recommendation(target=19))
    async with serving(view) as server, client(server) as keda:
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert (value.metricValue, value.metricValueFloat) == (17, 17.999)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"metrc": "cap"}, "Did you mean metric?"),
        ({"Metric": "cap"}, "Did you mean metric?"),
        ({"scalerAdress": "x"}, "Did you mean scalerAddress?"),
        ({"metric": "caps"}, "Did you mean cap?"),
        ({"metric": ""}, "Use replicas"),
        ({"metric": "x" * 5000}, "xxx..."),
        (pod_metric(query="vllm:num_requests_running"), "answers wattkeeper_replicas alone"),
        (pod_metric(metricQuery="up"), "answers wattkeeper_replicas alone"),
        (pod_metric(targetValue="10"), 'podmetric.target.value to "1"'),
        (pod_metric(targetValue="ten"), 'podmetric.target.value to "1"'),
        (pod_metric(operationOverTime="avg"), "remove podmetric.metric.operationOverTime"),
        (pod_metric(metric="cap"), "unknown key 'metric'"),
    ],
)
async def test_wrong_metadata_is_an_invalid_argument_that_says_what_is_right(
    view: MemoryView, metadata: dict[str, str], words: str
) -> None:
    async with serving(view) as server, client(server) as keda:
        for call in (keda.GetMetricSpec, keda.IsActive):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(reference(**metadata))
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert words in (refused.value.details() or "")


async def test_a_metric_of_another_name_is_an_invalid_argument(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        with pytest.raises(grpc.aio.AioRpcError, match="ask for wattkeeper-replicas") as refused:
            await keda.GetMetrics(GetMetricsRequest(scaledObjectRef=reference(), metricName="s0-wattkeeper-cap"))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_scaled_object_is_not_found(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        for name, namespace in (("other", "chat"), ("llm", "other"), ("", "")):
            with pytest.raises(grpc.aio.AioRpcError, match="no ScaledObject") as refused:
                await keda.IsActive(reference(name, namespace))
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_target_that_no_policy_selects_is_a_failed_precondition(view: MemoryView) -> None:
    view.remove(PowerCappingPolicy, "chat", "capped")
    async with serving(view) as server, client(server) as keda:
        with pytest.raises(grpc.aio.AioRpcError, match=r"PowerCappingPolicy chat/capped.*is gone") as refused:
            await keda.GetMetrics(metrics_request())
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        view.remove(PowerRecommendation, "chat", "deployment-llm")
        with pytest.raises(grpc.aio.AioRpcError, match="create one whose selector") as refused:
            await keda.GetMetrics(metrics_request())
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(("target", "kind"), [("elsewhere", "Deployment"), ("llm", "StatefulSet")])
async def test_a_target_that_is_not_there_or_not_scalable_is_a_failed_precondition(
    view: MemoryView, target: str, kind: str
) -> None:
    view.put(scaled_object(target=target, kind=kind))
    async with serving(view) as server, client(server) as keda:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await keda.GetMetrics(metrics_request())
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_before_the_first_recommendation_the_value_is_unavailable_and_the_spec_is_there(view: MemoryView) -> None:
    view.remove(PowerRecommendation, "chat", "deployment-llm")
    async with serving(view) as server, client(server) as keda:
        with pytest.raises(grpc.aio.AioRpcError, match="no recommendation for Deployment chat/llm yet") as refused:
            await keda.GetMetrics(metrics_request())
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len((await keda.GetMetricSpec(reference())).metricSpecs) == 1


async def test_a_broken_message_is_an_error_and_the_server_goes_on(view: MemoryView) -> None:
    async with serving(view) as server, grpc.aio.insecure_channel(f"localhost:{server.port}") as channel:
        raw: Any = channel
        for method in ("IsActive", "GetMetricSpec", "GetMetrics"):
            call = raw.unary_unary(f"/externalscaler.ExternalScaler/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"\x0a\xff\xff\xff\xff\x0f not a message")
            assert refused.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        async with client(server) as keda:
            assert (await keda.IsActive(reference())).result


async def test_followers_answer_what_the_leader_answers(view: MemoryView) -> None:
    # Both know only the caches: what one of them has decided is nowhere else.
    other = MemoryView()
    other.put(policy(), budget(), deployment(replicas=5), scaled_object(), recommendation(target=3))
    async with serving(view) as leader, serving(other) as follower, client(leader) as one, client(follower) as two:
        for metric in ("replicas", "cap"):
            assert await one.GetMetrics(metrics_request(metric)) == await two.GetMetrics(metrics_request(metric))
            assert await one.IsActive(reference(metric=metric)) == await two.IsActive(reference(metric=metric))
            assert await one.GetMetricSpec(reference(metric=metric)) == await two.GetMetricSpec(
                reference(metric=metric)
            )


async def test_once_nobody_has_decided_for_three_ticks_no_answer_is_above_what_the_target_asks_for(
    view: MemoryView,
) -> None:
    clock = StillClock()
    view.put(recommendation(target=9))
    async with serving(view, clock) as server, client(server) as keda:
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert value.metricValueFloat == 9.0
        clock.time = NOW + 15.5
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert value.metricValueFloat == 5.0
        view.put(budget(evaluated=clock.time))
        (value,) = (await keda.GetMetrics(metrics_request())).metricValues
        assert value.metricValueFloat == 9.0
