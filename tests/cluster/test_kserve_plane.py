"""The parts of the control plane that tests ask for: KServe, LeaderWorkerSet, metrics.k8s.io, Alertmanager."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.cluster.controlplane.alertmanager import Alertmanager
from tests.cluster.controlplane.api import Api, Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.kserve import LLM_MANAGER, MANAGER
from tests.cluster.controlplane.metrics import PROCESS, Metrics
from tests.cluster.controlplane.metrics_api import CPU_USAGE, MEMORY_USAGE
from tests.cluster.controlplane.workloads import inference_service, leader_worker_set, llm_inference_service

KSERVE = "serving.kserve.io/v1beta1"
METRICS = "metrics.k8s.io/v1beta1"


async def labelled(bench: Bench, selector: str, count: int) -> list[Object]:
    """Returns a namespace's pods with a label, once there are so many and all are ready."""

    async def ready() -> list[Object] | None:
        found = await bench.api.list("v1", "Pod", namespace=bench.namespace, selector=selector)
        return found if len(found) == count and all(holds(one, "Ready") for one in found) else None

    pods = await bench.wait_for(ready, what=f"{count} ready pods with {selector}")
    assert pods is not None
    return pods


async def owners(bench: Bench, deployment: str) -> list[tuple[str, str]]:
    found = await bench.api.get("apps/v1", "Deployment", deployment, namespace=bench.namespace)
    return [(one["kind"], one["name"]) for one in found["metadata"]["ownerReferences"]]


@pytest.mark.usefixtures("kserve")
async def test_an_inference_service_gets_a_deployment_of_labelled_pods_and_becomes_ready(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.api.create(inference_service(bench.namespace, "llm", labels={"team": "a"}))
    (pod,) = await labelled(bench, "serving.kserve.io/inferenceservice=llm", 1)
    assert (
        pod["metadata"]["labels"] | {"component": "predictor", "app": "isvc.llm-predictor", "team": "a"}
        == (pod["metadata"]["labels"])
    )
    assert await owners(bench, "llm-predictor") == [("InferenceService", "llm")]

    async def ready() -> bool:
        return holds(await bench.api.get(KSERVE, "InferenceService", "llm", namespace=bench.namespace), "Ready")

    await bench.wait_for(ready, what="the InferenceService is ready")


@pytest.mark.usefixtures("kserve")
async def test_kserve_leaves_the_replicas_of_the_external_class_alone(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.api.create(inference_service(bench.namespace, "llm"))
    await labelled(bench, "serving.kserve.io/inferenceservice=llm", 1)
    await bench.scale("llm-predictor", 3)
    change: Object = {"metadata": {"annotations": {"example.com/edited": "true"}}}
    await bench.api.patch(KSERVE, "InferenceService", "llm", change, namespace=bench.namespace)

    async def reconciled() -> bool:
        found = await bench.api.get("apps/v1", "Deployment", "llm-predictor", namespace=bench.namespace)
        return "example.com/edited" in found["spec"]["template"]["metadata"]["annotations"]

    await bench.wait_for(reconciled, what="KServe has written the Deployment anew")
    assert await bench.replicas("llm-predictor") == 3
    assert await bench.api.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace=bench.namespace) == []


@pytest.mark.usefixtures("kserve")
async def test_kserve_refuses_an_inference_service_that_its_webhook_finds_invalid(bench: Bench) -> None:
    bounds = {"minReplicas": 3, "maxReplicas": 2}
    with pytest.raises(ApiError, match="cannot be greater than MaxReplicas"):
        await bench.api.create(inference_service(bench.namespace, "llm", predictor=bounds))


@pytest.mark.usefixtures("kserve")
async def test_an_llm_inference_service_gets_a_deployment_of_labelled_pods(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.api.create(llm_inference_service(bench.namespace, "chat", replicas=2))
    selector = "app.kubernetes.io/part-of=llminferenceservice,app.kubernetes.io/name=chat,kserve.io/component=workload"
    await labelled(bench, selector, 2)
    assert await bench.replicas("chat-kserve") == 2
    assert await owners(bench, "chat-kserve") == [("LLMInferenceService", "chat")]


@pytest.mark.usefixtures("kserve")
async def test_an_llm_inference_service_can_be_read_in_its_older_version(bench: Bench) -> None:
    await bench.api.create(llm_inference_service(bench.namespace, "chat", replicas=2))
    older = await bench.api.get("serving.kserve.io/v1alpha1", "LLMInferenceService", "chat", namespace=bench.namespace)
    assert older["spec"]["replicas"] == 2


@pytest.mark.usefixtures("lws")
async def test_the_groups_of_a_leader_worker_set_carry_its_labels(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.api.create(leader_worker_set(bench.namespace, "big", groups=2, size=3))
    pods = await labelled(bench, "leaderworkerset.sigs.k8s.io/name=big", 6)
    places = [
        tuple(
            pod["metadata"]["labels"][f"leaderworkerset.sigs.k8s.io/{key}"] for key in ("group-index", "worker-index")
        )
        for pod in pods
    ]
    assert sorted(places) == [(group, worker) for group in "01" for worker in "012"]


@pytest.mark.usefixtures("kserve")
async def test_kserve_comes_back_when_a_test_has_killed_it(bench: Bench) -> None:
    for name in (MANAGER, LLM_MANAGER):
        bench.plane.processes[name].kill()
    with pytest.raises(ApiError, match="failed calling webhook"):
        await bench.api.create(inference_service(bench.namespace, "llm"))
    await bench.plane.revive()
    await bench.api.create(inference_service(bench.namespace, "llm"))


async def usage(bench: Bench, selector: str, count: int) -> dict[str, Object]:
    """Returns what metrics.k8s.io says of each container's usage, by pod, once it knows so many pods."""

    async def known() -> list[Object] | None:
        found = await bench.api.list(METRICS, "PodMetrics", namespace=bench.namespace, selector=selector)
        return found if len(found) == count else None

    found = await bench.wait_for(known, what=f"the metrics of {count} pods with {selector}")
    assert found is not None
    return {pod["metadata"]["name"]: {one["name"]: one["usage"] for one in pod["containers"]} for pod in found}


async def test_pod_metrics_say_what_annotations_and_tests_set(bench: Bench, metrics: Metrics) -> None:
    await bench.add_nodes(1)
    noted = {CPU_USAGE: "2500m", MEMORY_USAGE: "3Gi"}
    await bench.deploy(bench.deployment("llm", replicas=2, annotations=noted))
    await bench.deploy(bench.deployment("other"))
    said = await usage(bench, "app=llm", 2)
    assert list(said.values()) == [{"server": {"cpu": "2500m", "memory": "3Gi"}}] * 2
    name = next(iter(said))
    await metrics.set_usage(bench.namespace, name, "server", cpu="7")
    assert (await usage(bench, "app=llm", 2))[name] == {"server": {"cpu": "7", "memory": "3Gi"}}


@pytest.mark.usefixtures("metrics")
async def test_pod_metrics_are_those_of_a_whole_window_just_ended(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.deploy(bench.deployment("llm", labels={"team": "a"}))
    (name,) = await usage(bench, "team=a", 1)
    everywhere = await bench.api.list(METRICS, "PodMetrics", selector="team=a")
    assert [one["metadata"]["name"] for one in everywhere if one["metadata"]["namespace"] == bench.namespace] == [name]
    pod = await bench.api.get("v1", "Pod", name, namespace=bench.namespace)
    one = await bench.api.get(METRICS, "PodMetrics", name, namespace=bench.namespace)
    ended = dt.datetime.fromisoformat(one["timestamp"])
    assert one["window"] == "1s"
    assert ended - dt.datetime.fromisoformat(pod["status"]["startTime"]) >= dt.timedelta(seconds=1)
    assert ended <= dt.datetime.fromisoformat(one["metadata"]["creationTimestamp"])
    assert one["metadata"]["labels"] == pod["metadata"]["labels"]
    with pytest.raises(ApiError, match="not found"):
        await bench.api.get(METRICS, "PodMetrics", "nobody", namespace=bench.namespace)


@pytest.mark.usefixtures("metrics")
async def test_pod_metrics_need_the_right_to_read_them(bench: Bench) -> None:
    rules: list[Object] = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    account = await bench.service_account("reader", rules)
    async with Api(account.connection) as reader:
        with pytest.raises(ApiError, match="cannot list resource"):
            await reader.list(METRICS, "PodMetrics", namespace=bench.namespace)


@pytest.mark.usefixtures("metrics")
async def test_metrics_fail_while_their_server_is_dead_and_come_back(bench: Bench) -> None:
    bench.plane.processes[PROCESS].kill()
    with pytest.raises(ApiError) as refused:
        await bench.api.list(METRICS, "PodMetrics", namespace=bench.namespace)
    assert refused.value.status == 503
    await bench.plane.revive()
    assert await bench.api.list(METRICS, "PodMetrics", namespace=bench.namespace) == []


async def test_alertmanager_holds_an_alert_until_it_is_resolved(bench: Bench, alertmanager: Alertmanager) -> None:
    labels = {"alertname": "PowerOverBudget", "namespace": bench.namespace}
    await alertmanager.send([{"labels": labels, "annotations": {"summary": "300 W over"}}])

    async def held() -> bool:
        return [one["labels"] for one in await alertmanager.alerts(**labels)] == [labels]

    async def gone() -> bool:
        return await alertmanager.alerts(**labels) == []

    await bench.wait_for(held, what="the alert is there")
    (alert,) = await alertmanager.alerts(**labels)
    assert alert["status"]["state"] in {"unprocessed", "active"}
    await alertmanager.send([{"labels": labels, "startsAt": alert["startsAt"], "endsAt": alert["updatedAt"]}])
    await bench.wait_for(gone, what="the alert is resolved")
