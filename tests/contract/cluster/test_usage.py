"""metrics.k8s.io, over real HTTP on loopback."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.readings import PodKey
from wattkeeper.cluster.errors import MetricsMissingError, UnreachableError
from wattkeeper.cluster.usage import ContainerUsage, PodUsage
from wattkeeper.simulation.cluster import TwinCluster

PATH = "/apis/metrics.k8s.io/v1beta1/pods"


def entry(name: str = "llm-1", **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "chat", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "timestamp": "1970-01-01T00:16:40Z",
        "window": "15.5s",
        "containers": [{"name": "main", "usage": {"cpu": "1500m", "memory": "2Gi"}}],
    } | changes


async def test_usage_is_read_in_cores_and_bytes(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.lists[PATH] = [entry()]
    assert await make_cluster().read_usage() == (
        PodUsage(
            key=PodKey("chat", "llm-1"),
            timestamp=1_000.0,
            window_seconds=15.5,
            containers=(ContainerUsage(name="main", cores=1.5, memory_bytes=2.0**31),),
        ),
    )


async def test_all_pages_are_read(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.lists[PATH] = [entry(f"p{number}") for number in range(1_203)]
    assert len(await make_cluster().read_usage()) == 1_203
    assert len(api.requests) == 3


async def test_a_resource_that_is_not_told_is_unknown(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.lists[PATH] = [entry(containers=[{"name": "main", "usage": {"cpu": "1"}}])]
    (pod,) = await make_cluster().read_usage()
    assert math.isnan(pod.containers[0].memory_bytes)


@pytest.mark.parametrize(
    "bad",
    [
        entry(window="soon"),
        entry(window="-5s"),
        entry(timestamp="yesterday"),
        entry(timestamp="2026-01-01T00:00:00"),
        entry(containers=[{"name": "main", "usage": {"cpu": "a lot"}}]),
        entry(containers=[{"name": "main", "usage": {"cpu": "-1"}}]),
        entry(containers=[{"name": "main", "usage": {"cpu": "nan"}}]),
        entry(containers=None),
        {"metadata": {}},
        [],
    ],
    ids=str,
)
async def test_an_entry_that_cannot_be_read_is_left_out_and_counted(
    api: FakeApi, make_cluster: MakeCluster, registry: CollectorRegistry, bad: Any
) -> None:
    api.lists[PATH] = [bad, entry()]
    (pod,) = await make_cluster().read_usage()
    assert pod.key == PodKey("chat", "llm-1")
    assert registry.get_sample_value("wattkeeper_cluster_unreadable_usage_total") == 1


async def test_a_cluster_without_metrics_says_what_to_install(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.missing = {PATH}
    with pytest.raises(MetricsMissingError, match="install metrics-server"):
        await make_cluster().read_usage()


@pytest.mark.parametrize("answer", [Answer(code=503), Answer(code=200, body=b"<html>")], ids=["down", "a proxy's page"])
async def test_metrics_that_do_not_answer_are_unreachable(
    api: FakeApi, make_cluster: MakeCluster, answer: Answer
) -> None:
    api.answers["GET", PATH].append(answer)
    with pytest.raises(UnreachableError):
        await make_cluster().read_usage()


async def test_the_twin_has_metrics_once_somebody_says_what_pods_use() -> None:
    twin = TwinCluster(PausingClock())
    with pytest.raises(MetricsMissingError):
        await twin.read_usage()
    used = PodUsage(key=PodKey("chat", "llm-1"), timestamp=1.0, window_seconds=15.0, containers=())
    twin.use(used)
    assert await twin.read_usage() == (used,)
