"""The actuator beside KServe's own controllers: services of several parts, groups of pods, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.workloads import inference_service, llm_inference_service
from tests.cluster.installation import Installation
from tests.cluster.kserve_scene import CLASS, KSERVE, LABEL, LLM, LLM_LABEL, TARGET, Scene, running_actuators
from tests.cluster.loop import SETTLE_SECONDS, Loop

VERSIONS = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}
# What KServe passes a maximum on to: kind, version, the end of its name, the field.
VARIANT = ("VariantAutoscaling", "llmd.ai/v1alpha1", "-va", "maxReplicas")
BACKENDS = {
    "hpa": ("HorizontalPodAutoscaler", "autoscaling/v2", "-hpa", "maxReplicas"),
    "keda": ("ScaledObject", "keda.sh/v1alpha1", "-keda", "maxReplicaCount"),
}


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Iterator[Actuators]:
    """The actuator, for the tests of this module alone."""
    with running_actuators(plane, installation) as made:
        yield made


pytestmark = pytest.mark.usefixtures("kserve", "lws", "actuators")


@pytest.fixture
async def scene(loop: Loop) -> Scene:
    made = Scene(loop)
    await made.open()
    return made


@dataclass(frozen=True, kw_only=True)
class Target:
    """A scale target of the service."""

    name: str
    kind: str = "Deployment"

    async def granted(self, scene: Scene) -> int:
        return (await scene.loop.status(self.name, kind=self.kind.lower()))["target"]["replicas"]

    async def replicas(self, scene: Scene) -> int:
        version, namespace = VERSIONS[self.kind], scene.bench.namespace
        return (await scene.bench.api.get(version, self.kind, self.name, namespace=namespace))["spec"]["replicas"]

    async def scale(self, scene: Scene, replicas: int) -> None:
        change: Object = {"spec": {"replicas": replicas}}
        version, namespace = VERSIONS[self.kind], scene.bench.namespace
        await scene.bench.api.patch(version, self.kind, self.name, change, namespace=namespace, sub="scale")

    async def wait_actuated(self, scene: Scene, reason: str) -> None:
        await scene.wait_actuated(reason, target=self.name, kind=self.kind.lower())


DECODE, PREFILL = Target(name="chat-kserve"), Target(name="chat-kserve-prefill")
PREDICTOR, TRANSFORMER = Target(name=TARGET), Target(name="chat-transformer")
GROUPS = Target(name="chat-kserve-mn", kind="LeaderWorkerSet")
PREFILL_GROUPS = Target(name="chat-kserve-mn-prefill", kind="LeaderWorkerSet")


async def grants(scene: Scene, *targets: Target) -> tuple[int, ...]:
    return tuple([await target.granted(scene) for target in targets])


async def cut_both(scene: Scene, *targets: Target, below: int) -> None:
    """Cuts the budget by about a replica of each part, and waits until all are granted fewer than before."""
    watts = [await scene.loop.replica_watts(one.name, kind=one.kind.lower()) for one in targets]
    await scene.loop.set_limit(scene.budget, await scene.loop.settled_sum(scene.budget) - 0.9 * sum(watts))

    async def cut() -> bool:
        return max(await grants(scene, *targets)) < below

    names = " and ".join(one.name for one in targets)
    await scene.bench.wait_for(cut, what=f"{names} are cut", timeout_seconds=SETTLE_SECONDS)


def two_parts(namespace: str, *, size: int = 1, **part: object) -> Object:
    """Returns an LLMInferenceService that decodes and prefills, each with these fields and no number of replicas."""
    item = llm_inference_service(namespace, "chat", size=size)
    spec = item["spec"]
    del spec["replicas"]
    spec |= part
    shared = ("annotations", "template", "worker", "parallelism")
    spec["prefill"] = {**{field: spec[field] for field in shared if field in spec}, **part}
    return item


async def llm_spec(scene: Scene) -> Object:
    found = await scene.bench.api.get(LLM, "LLMInferenceService", "chat", namespace=scene.bench.namespace)
    return found["spec"]


@pytest.mark.parametrize(
    ("size", "targets"), [(1, (DECODE, PREFILL)), (2, (GROUPS, PREFILL_GROUPS))], ids=["pods", "groups"]
)
async def test_prefill_and_decode_that_nobody_scales_get_a_scaled_object_each(
    scene: Scene, size: int, targets: tuple[Target, ...]
) -> None:
    bench = scene.bench
    await bench.api.create(two_parts(bench.namespace, size=size))
    await scene.wait_pods(2 * size)
    for one in targets:
        await one.scale(scene, 3)
    before = await scene.wait_pods(6 * size)
    await scene.policy({LLM_LABEL: "chat"}, floor=1)
    for one in targets:
        await scene.wait_scaled_object(f"{one.name}-wk")
        await one.wait_actuated(scene, "ScaledObjectMade")
    await cut_both(scene, *targets, below=3)

    async def followed() -> bool:
        return tuple([await one.replicas(scene) for one in targets]) == await grants(scene, *targets)

    await bench.wait_for(followed, what="each part runs what it is granted", timeout_seconds=SETTLE_SECONDS)
    assert await scene.pods() <= before


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_variant_autoscaler_of_each_part_gets_its_own_maximum(scene: Scene, backend: str) -> None:
    bench = scene.bench
    item = two_parts(bench.namespace, scaling={"minReplicas": 1, "maxReplicas": 6, "wva": {backend: {}}})
    await bench.api.create(item)
    await scene.wait_pods(2)
    await scene.policy({LLM_LABEL: "chat"}, floor=1)
    for one in (DECODE, PREFILL):
        await one.wait_actuated(scene, "NothingToWrite")
    await cut_both(scene, DECODE, PREFILL, below=6)

    async def maxima() -> set[tuple[int, ...]]:
        """Returns the two parts' maxima: as the service has them, and as KServe passes them on."""
        spec = await llm_spec(scene)
        found = {(spec["scaling"]["maxReplicas"], spec["prefill"]["scaling"]["maxReplicas"])}
        for kind, version, suffix, field in (VARIANT, BACKENDS[backend]):
            made = [
                await bench.api.get(version, kind, f"{part.name}{suffix}", namespace=bench.namespace)
                for part in (DECODE, PREFILL)
            ]
            found.add(tuple(one["spec"][field] for one in made))
        return found

    async def followed() -> bool:
        return await maxima() == {await grants(scene, DECODE, PREFILL)}

    async def back() -> bool:
        return await maxima() == {(6, 6)}

    await bench.wait_for(followed, what="the maxima are what is granted", timeout_seconds=SETTLE_SECONDS)
    await scene.remove_policy()
    await bench.wait_for(back, what="the maxima are what they were", timeout_seconds=SETTLE_SECONDS)


async def test_a_transformer_has_a_ceiling_beside_its_predictor_s(scene: Scene) -> None:
    bench = scene.bench
    item = inference_service(
        bench.namespace, "chat", annotations={CLASS: "hpa"}, predictor={"minReplicas": 1, "maxReplicas": 6}
    )
    predictor = item["spec"]["predictor"]
    container = {"name": "kserve-container", "image": "vllm", "resources": predictor["model"]["resources"]}
    bounds = {"minReplicas": 1, "maxReplicas": 6}
    item["spec"]["transformer"] = {"nodeSelector": predictor["nodeSelector"], "containers": [container], **bounds}
    await bench.api.create(item)
    await scene.wait_pods(2)
    await scene.policy(floor=1)
    for one in (PREDICTOR, TRANSFORMER):
        await one.wait_actuated(scene, "NothingToWrite")
    await cut_both(scene, PREDICTOR, TRANSFORMER, below=6)

    async def followed() -> bool:
        found = await bench.api.get(KSERVE, "InferenceService", "chat", namespace=bench.namespace)
        written = tuple(found["spec"][part]["maxReplicas"] for part in ("predictor", "transformer"))
        return written == await grants(scene, PREDICTOR, TRANSFORMER)

    await bench.wait_for(followed, what="the maxima are what is granted", timeout_seconds=SETTLE_SECONDS)


async def test_a_pod_metric_of_kserve_s_is_told_the_replicas_that_a_budget_grants(scene: Scene) -> None:
    # Without metricNames KServe makes no collector, and needs none of OpenTelemetry's definitions.
    metric = {"backend": "opentelemetry", "serverAddress": scene.loop.installation.address}
    asked = {"metric": {**metric, "query": "wattkeeper_replicas"}, "target": {"type": "Value", "value": "1"}}
    scaling = {
        "metrics": [{"type": "PodMetric", "podmetric": asked}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    }
    await scene.inference_service("keda", minReplicas=1, maxReplicas=6, autoScaling=scaling)
    await scene.wait_pods(1)
    await scene.loop.set_demand(f"isvc.{TARGET}", 4)
    await scene.loop.policy("chat", labels={LABEL: "chat"}, floor=1)
    before = await scene.wait_pods(4)
    await scene.wait_actuated("NothingToWrite")
    await scene.cut_to(2)
    assert await scene.wait_pods(2) <= before
    await scene.wait_predictor(maxReplicas=2)


async def test_a_revision_of_knative_s_is_left_alone_and_its_condition_says_what_to_do(scene: Scene) -> None:
    # KServe makes nothing of such a service where Knative is not installed: its Revision's Deployment is played.
    bench = scene.bench
    mode = {"serving.kserve.io/deploymentMode": "Knative"}
    await bench.api.create(
        inference_service(bench.namespace, "chat", annotations=mode, predictor={"minReplicas": 1, "maxReplicas": 6})
    )
    name = f"{TARGET}-00001-deployment"
    deployment = bench.deployment(name, replicas=2, labels={LABEL: "chat"})
    revision = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": f"{TARGET}-00001", "uid": "played"}
    deployment["metadata"]["ownerReferences"] = [{**revision, "controller": True}]
    await bench.deploy(deployment)
    before = await scene.predictor()
    await scene.policy(floor=1)
    status = await scene.wait_actuated("KnativeMode", target=name)
    (said,) = [one["message"] for one in status["conditions"] if one["type"] == "Actuated"]
    assert "set serving.kserve.io/deploymentMode: Standard" in said
    await scene.loop.wait_condition(name, "CapUnachievable")
    assert await scene.predictor() == before
