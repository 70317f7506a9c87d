"""The actuator beside KServe's own controllers: ways in, ceilings for each way of scaling, and what a user had back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.workloads import llm_inference_service
from tests.cluster.installation import Installation
from tests.cluster.kserve_scene import KSERVE, LLM, LLM_LABEL, PLENTY_WATTS, TARGET, Scene, running_actuators
from tests.cluster.loop import SETTLE_SECONDS, Loop


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


async def test_selecting_a_running_service_caps_it_without_one_pod_restarting(scene: Scene) -> None:
    await scene.inference_service("external")
    await scene.wait_pods(1)
    await scene.bench.scale(TARGET, 4)
    before = await scene.wait_pods(4)
    await scene.policy(floor=1)
    await scene.wait_scaled_object("chat-predictor-wk")
    await scene.wait_actuated("ScaledObjectMade")
    await scene.hold_at(2)
    after = await scene.wait_pods(2)
    assert after <= before
    await scene.remove_policy()
    await scene.wait_scaled_object("chat-predictor-wk", there=False)
    await scene.wait_no_recommendation()
    assert await scene.wait_pods(4) >= after


async def test_a_service_with_nothing_new_is_written_no_more(scene: Scene, actuators: Actuators) -> None:
    await scene.inference_service("external")
    await scene.wait_pods(1)
    await scene.policy(floor=1)
    await scene.wait_actuated("ScaledObjectMade")
    leader = await actuators.leader(scene.bench.api)
    await scene.loop.wait_evaluations(scene.budget, 2)
    written = await actuators.written(leader)
    await scene.loop.wait_evaluations(scene.budget, 5)
    assert await actuators.written(leader) == written


async def test_when_the_leader_dies_the_other_goes_on(scene: Scene, actuators: Actuators) -> None:
    await scene.inference_service("hpa", minReplicas=1, maxReplicas=6)
    await scene.wait_pods(1)
    await scene.bench.scale(TARGET, 4)
    await scene.wait_pods(4)
    await scene.policy(floor=1)
    await scene.hold_at(4)
    await scene.wait_predictor(maxReplicas=4)
    leader = await actuators.leader(scene.bench.api)
    leader.kill()
    try:
        await scene.hold_at(2)
        await scene.wait_predictor(maxReplicas=2)
        assert await actuators.leader(scene.bench.api) is not leader
        await scene.remove_policy()
        await scene.wait_predictor(maxReplicas=6)
    finally:
        leader.process.restart()
        await actuators.wait_ready()


async def test_annotating_an_llm_inference_service_caps_it_and_rolls_nothing(scene: Scene) -> None:
    bench = scene.bench
    item = llm_inference_service(bench.namespace, "chat")
    del item["spec"]["replicas"]
    await bench.api.create(item)
    await scene.wait_pods(1)
    await bench.scale("chat-kserve", 3)
    before = await scene.wait_pods(3)
    await scene.policy({"nothing": "has-this"}, floor=1)

    async def annotate(policy: str | None) -> None:
        change: Object = {"metadata": {"annotations": {"wattkeeper.dev/policy": policy}}}
        await bench.api.patch(LLM, "LLMInferenceService", "chat", change, namespace=bench.namespace)

    await annotate("chat")
    await scene.wait_scaled_object("chat-kserve-wk")
    await scene.hold_at(2, target="chat-kserve")
    after = await scene.wait_pods(2)
    assert after <= before
    await annotate(None)
    await scene.wait_scaled_object("chat-kserve-wk", there=False)
    assert await scene.wait_pods(3) >= after


async def test_kserve_s_hpa_gets_the_ceiling_and_a_revert_is_seen(scene: Scene) -> None:
    bench = scene.bench
    await scene.inference_service("hpa", minReplicas=1, maxReplicas=6)
    await scene.wait_pods(1)
    await bench.scale(TARGET, 4)
    before = await scene.wait_pods(4)
    await scene.policy(floor=1)
    await scene.hold_at(2)
    await scene.wait_predictor(maxReplicas=2)
    assert await scene.wait_pods(2) <= before
    for _ in range(3):
        change: Object = {"spec": {"predictor": {"maxReplicas": 6}}}
        await bench.api.patch(KSERVE, "InferenceService", "chat", change, namespace=bench.namespace)

        async def answered() -> bool:
            reverted = (await scene.loop.status(TARGET)).get("actuation", {}).get("reverts", 0)
            return reverted == 3 or (await scene.predictor())["maxReplicas"] == 2

        await bench.wait_for(answered, what="the actuator has seen it", timeout_seconds=SETTLE_SECONDS)
    status = await scene.wait_actuated("Reverted")
    (said,) = [one["message"] for one in status["conditions"] if one["type"] == "Reverted"]
    assert "put back spec.predictor.maxReplicas of InferenceService chat 3 times" in said
    assert not said.startswith("somebody")
    assert (await scene.predictor())["maxReplicas"] == 6
    await scene.remove_policy()
    await scene.wait_no_recommendation()
    assert (await scene.predictor())["maxReplicas"] == 6


async def test_kserve_s_keda_is_capped_through_its_maximum_and_has_it_back(scene: Scene) -> None:
    metric = {
        "type": "External",
        "external": {
            "metric": {
                "backend": "prometheus",
                "serverAddress": scene.bench.plane.prometheus_url,
                "query": "vector(40)",
            },
            "target": {"type": "Value", "value": "10"},
        },
    }
    await scene.inference_service("keda", minReplicas=1, maxReplicas=6, autoScaling={"metrics": [metric]})
    before = await scene.wait_pods(4)
    await scene.policy(floor=1)
    await scene.wait_actuated("NothingToWrite")
    await scene.hold_at(2)
    await scene.wait_predictor(maxReplicas=2)
    assert await scene.wait_pods(2) <= before
    await scene.remove_policy()
    await scene.wait_predictor(maxReplicas=6)
    await scene.wait_pods(4)


async def test_what_nobody_scales_is_lowered_only_where_the_policy_lets_it(scene: Scene) -> None:
    await scene.inference_service("none", minReplicas=3)
    before = await scene.wait_pods(3)
    await scene.policy()
    await scene.hold_at(1)
    await scene.wait_actuated("MinReplicasAboveCeiling")
    await scene.loop.wait_condition(TARGET, "CapUnachievable")
    assert await scene.pods() == before
    await scene.policy(lower=True, floor=1)
    await scene.wait_predictor(minReplicas=1)
    assert await scene.wait_pods(1) <= before
    await scene.loop.set_limit(scene.budget, PLENTY_WATTS)
    await scene.wait_predictor(minReplicas=3)
    await scene.wait_pods(3)


async def test_groups_of_an_llm_inference_service_are_lowered_as_replicas(scene: Scene) -> None:
    bench = scene.bench
    await bench.api.create(llm_inference_service(bench.namespace, "chat", replicas=3, size=2))
    await scene.wait_pods(6)
    await scene.policy({LLM_LABEL: "chat"}, lower=True)
    await scene.hold_at(1, target="chat-kserve-mn", kind="leaderworkerset")
    await scene.wait_pods(2)
    await scene.remove_policy()
    await scene.wait_pods(6)


async def test_a_restoration_puts_everything_back_while_policies_stay(scene: Scene, actuators: Actuators) -> None:
    await scene.inference_service("hpa", minReplicas=1, maxReplicas=6)
    await scene.wait_pods(1)
    await scene.policy(floor=1)
    await scene.hold_at(1)
    await scene.wait_predictor(maxReplicas=1)
    assert "everything is as it was" in await actuators.restore()
    assert (await scene.predictor())["maxReplicas"] == 6
    meta = (await scene.loop.recommendation(TARGET))["metadata"]
    assert "finalizers" not in meta
