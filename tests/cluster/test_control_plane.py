"""The control plane itself works as the scenarios expect."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.draw import CPU_WATTS, IDLE_WATTS, LOADING_WATTS
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.prometheus import query


async def test_a_new_node_becomes_ready_with_its_gpus(bench: Bench) -> None:
    (name,) = await bench.add_nodes(1, gpus=4, labels={"topology.kubernetes.io/rack": "r1"})
    node = await bench.api.get("v1", "Node", name)
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert node["metadata"]["labels"]["topology.kubernetes.io/rack"] == "r1"


async def test_pods_load_before_they_are_ready(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.deploy(bench.deployment("llm", replicas=2, load_delay="1500ms"), wait=False)

    async def loading() -> bool:
        pods = await bench.pods("llm")
        return len(pods) == 2 and all(one["status"]["phase"] == "Running" for one in pods)

    await bench.wait_for(loading, what="both pods run")
    assert await bench.ready_pods("llm") == []
    await bench.wait_ready("llm", 2)
    assert await bench.replicas("llm") == 2


async def test_a_terminating_pod_draws_until_its_containers_have_exited(bench: Bench) -> None:
    await bench.add_nodes(1, gpus=2)
    figures = {IDLE_WATTS: "300", LOADING_WATTS: "250", CPU_WATTS: "10"}
    await bench.deploy(bench.deployment("llm", replicas=1, exit_delay="2s", annotations=figures))

    async def drawing(phase: str) -> list[float]:
        truth = await bench.exporter.truth()
        return [pod.watts for pod in truth.pods if pod.namespace == bench.namespace and pod.phase == phase]

    assert await bench.wait_for(lambda: drawing("ready"), what="the exporter sees the pod ready") == [310.0]
    await bench.scale("llm", 0)
    assert await bench.wait_for(lambda: drawing("terminating"), what="the pod terminates") == [310.0]
    (pod,) = await bench.pods("llm")
    assert "running" in pod["status"]["containerStatuses"][0]["state"]

    async def gone() -> bool:
        return await bench.pods("llm") == [] and not await drawing("terminating")

    await bench.wait_for(gone, what="the pod and its draw are gone", timeout_seconds=5)


async def test_prometheus_has_the_power_series_of_pods_and_nodes(bench: Bench) -> None:
    (node,) = await bench.add_nodes(1, gpus=2)
    await bench.deploy(bench.deployment("llm", replicas=2, annotations={IDLE_WATTS: "300", CPU_WATTS: "40"}))
    await bench.exporter.set_demand(bench.namespace, "llm", 8)
    url = bench.plane.prometheus_url
    assert url is not None

    async def seen() -> tuple[float, ...] | None:
        queries = (
            f'sum(kepler_pod_cpu_watts{{pod_namespace="{bench.namespace}",state="running",zone=~"package|dram"}})',
            f'sum(kepler_pod_gpu_watts{{pod_namespace="{bench.namespace}"}})',
            f'sum(DCGM_FI_DEV_POWER_USAGE{{Hostname="{node}",exported_namespace="{bench.namespace}"}})',
            f'sum(kepler_node_cpu_watts{{node_name="{node}",zone=~"package|dram"}})',
            f'sum(vllm:num_requests_running{{namespace="{bench.namespace}"}})',
        )
        values = [await query(url, one) for one in queries]
        rounded = tuple(round(value[0][1]) if value else 0 for value in values)
        return rounded if rounded == (80, 760, 810, 140, 8) else None

    await bench.wait_for(seen, what="all sources agree with the pods' figures", timeout_seconds=10)


async def test_kepler_can_vanish_while_its_target_stays_up(bench: Bench) -> None:
    (node,) = await bench.add_nodes(1)
    url = bench.plane.prometheus_url
    assert url is not None
    present = f'kepler_node_cpu_watts{{node_name="{node}"}}'
    await bench.wait_for(lambda: query(url, present), what="the node's series come", timeout_seconds=10)
    await bench.exporter.vanish()

    async def vanished() -> bool:
        return not await query(url, present) and (await query(url, 'up{job="kepler"}'))[0][1] == 1

    await bench.wait_for(vanished, what="the series are gone and `up` is 1", timeout_seconds=10)


async def test_prometheus_comes_back_after_a_crash(bench: Bench) -> None:
    url = bench.plane.prometheus_url
    assert url is not None
    bench.plane.processes["prometheus"].kill()
    with pytest.raises(aiohttp.ClientError):
        await query(url, "up")
    await bench.plane.restart("prometheus")
    await bench.wait_for(lambda: query(url, 'up{job="kepler"} == 1'), what="it scrapes again", timeout_seconds=10)


@pytest.fixture
async def wanted() -> AsyncIterator[tuple[str, dict[str, float]]]:
    """A page with a number on it for KEDA's metrics-api trigger, and the number to change."""
    values = {"replicas": 3.0}

    async def serve(request: web.Request) -> web.Response:
        return web.json_response(values)

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/", values
    await runner.cleanup()


async def test_keda_and_the_hpa_scale_a_deployment(bench: Bench, wanted: tuple[str, dict[str, float]]) -> None:
    url, values = wanted
    await bench.add_nodes(1)
    await bench.deploy(bench.deployment("llm", replicas=1))
    trigger: Object = {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {"url": url, "valueLocation": "replicas", "targetValue": "1"},
    }
    scaled: Object = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "llm"},
        "spec": {
            "scaleTargetRef": {"name": "llm"},
            "minReplicaCount": 1,
            "maxReplicaCount": 8,
            "advanced": {
                "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
            },
            "triggers": [trigger],
        },
    }
    await bench.apply(scaled)
    await bench.wait_ready("llm", 3)
    values["replicas"] = 2.0
    await bench.wait_replicas("llm", 2)


async def test_a_service_account_may_do_only_what_its_rules_allow(bench: Bench) -> None:
    rules: list[Object] = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    account = await bench.service_account("reader", rules)
    async with Api(account.connection) as reader:
        assert await reader.list("v1", "Pod", namespace=bench.namespace) == []
        with pytest.raises(ApiError, match="cannot list resource") as refused:
            await reader.list("v1", "Secret", namespace=bench.namespace)
    assert refused.value.status == 403


async def test_a_node_in_trouble_stays_unready_until_it_recovers(bench: Bench) -> None:
    (name,) = await bench.add_nodes(1)
    await bench.set_node_ready(name, ready=False)

    async def tainted() -> bool:
        node = await bench.api.get("v1", "Node", name)
        return any(one["key"] == "node.kubernetes.io/not-ready" for one in node["spec"].get("taints", []))

    await bench.wait_for(tainted, what="the node is tainted")
    await bench.set_node_ready(name, ready=True)

    async def usable() -> bool:
        return not await tainted()

    await bench.wait_for(usable, what="the taint is gone")


async def test_the_exporter_tells_unmanaged_draw_from_a_sensors_spike(bench: Bench) -> None:
    (node,) = await bench.add_nodes(1, gpus=0)
    began = (await bench.exporter.truth()).monotonic_seconds
    await bench.exporter.set_unmanaged(node, 500.0)
    await bench.exporter.spike(node, 9000.0, seconds=60)
    url = bench.plane.prometheus_url
    assert url is not None
    above = f'sum(kepler_node_cpu_watts{{node_name="{node}",zone=~"package|dram"}}) > 9500'
    await bench.wait_for(lambda: query(url, above), what="the readings have both", timeout_seconds=10)
    assert (await bench.exporter.truth()).node_watts[node] == 560.0
    assert max(watts for _, watts in await bench.exporter.history([node], since=began)) == 560.0


async def test_frozen_readings_stay_while_the_truth_moves_on(bench: Bench) -> None:
    (node,) = await bench.add_nodes(1, gpus=0)
    url = bench.plane.prometheus_url
    assert url is not None
    watts = f'sum(kepler_node_cpu_watts{{node_name="{node}",zone=~"package|dram"}})'

    async def reads(expected: float) -> bool:
        return [round(value) for _, value in await query(url, watts)] == [expected]

    await bench.wait_for(lambda: reads(60), what="the idle node's watts are read", timeout_seconds=10)
    await bench.exporter.freeze()
    await bench.exporter.set_unmanaged(node, 500.0)

    ((_, moment),) = await query(url, "vector(time())")

    async def scraped_since() -> bool:
        fresh = await query(url, f'timestamp(kepler_node_cpu_watts{{node_name="{node}",zone="dram"}}) > {moment}')
        return bool(fresh) and (await bench.exporter.truth()).node_watts[node] == 560.0

    await bench.wait_for(scraped_since, what="Prometheus has scraped since", timeout_seconds=10)
    assert await reads(60)
    await bench.exporter.recover()
    await bench.wait_for(lambda: reads(560), what="the readings follow again", timeout_seconds=10)


async def test_a_killed_api_server_comes_back_with_everything(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.deploy(bench.deployment("llm", replicas=1))
    bench.plane.processes["kube-apiserver"].kill()
    with pytest.raises(aiohttp.ClientError):
        await bench.replicas("llm")
    await bench.plane.restart("kube-apiserver")
    assert await bench.replicas("llm") == 1
    await bench.scale("llm", 2)
    await bench.wait_ready("llm", 2)
