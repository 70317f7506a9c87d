"""The actuator beside KServe's own controllers: ways in, ceilings for each way of scaling, and what a user had back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.workloads import inference_service, llm_inference_service
from tests.cluster.installation import Installation
from tests.cluster.loop import GROUP, SETTLE_SECONDS, Loop

KSERVE = "serving.kserve.io/v1beta1"
LLM = "serving.kserve.io/v1alpha2"
KEDA = "keda.sh/v1alpha1"
CLASS = "serving.kserve.io/autoscalerClass"
LABEL = "serving.kserve.io/inferenceservice"
TARGET = "chat-predictor"
PLENTY_WATTS = 60_000.0


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Iterator[Actuators]:
    """The actuator as the chart installs it, for the tests of this module alone."""
    made = Actuators(plane, installation.address)

    async def install() -> None:
        async with Api(plane.connection) as api:
            await made.install(api)

    try:
        # From the main thread: processes die with the thread that starts them.
        asyncio.run(install())
        yield made
    finally:
        made.kill_all()


pytestmark = pytest.mark.usefixtures("kserve", "lws", "actuators")


class Scene:
    """A budget over a test's own nodes, and what is asked about one service."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.bench = loop.bench
        self.budget = ""

    async def open(self) -> None:
        await self.loop.nodes(2)
        self.budget = await self.loop.budget("rack", PLENTY_WATTS)

    async def inference_service(self, autoscaler: str, **predictor: object) -> None:
        await self.bench.api.create(
            inference_service(
                self.bench.namespace, "chat", annotations={CLASS: autoscaler}, predictor=predictor or None
            )
        )

    async def policy(self, labels: Mapping[str, str] | None = None, *, lower: bool = False, floor: int = 0) -> None:
        """Applies a policy that asks for no measured demand."""
        rules: Object = {"lowerMinReplicas": lower}
        await self.loop.policy("chat", labels=labels or {LABEL: "chat"}, floor=floor, demand=None, actuation=rules)

    async def remove_policy(self) -> None:
        await self.bench.api.delete(GROUP, "PowerCappingPolicy", "chat", namespace=self.bench.namespace)

    async def cut_to(self, replicas: int, *, target: str = TARGET, kind: str = "deployment") -> None:
        """Sets the budget so that it carries so many replicas, and waits for the recommendation."""

        async def decided() -> bool:
            return (await self.loop.status(target, kind=kind)).get("reason") not in (None, "WarmingUp")

        await self.bench.wait_for(decided, what=f"{target} has a recommendation", timeout_seconds=SETTLE_SECONDS)
        watts = await self.loop.replica_watts(target, kind=kind)
        guarded = await self.loop.settled_sum(self.budget)
        granted = (await self.loop.status(target, kind=kind))["target"]["replicas"]
        await self.loop.set_limit(self.budget, guarded + (replicas - granted + 0.5) * watts)

        async def granted_now() -> bool:
            return (await self.loop.status(target, kind=kind))["target"]["replicas"] == replicas

        await self.bench.wait_for(granted_now, what=f"{target} is granted {replicas}", timeout_seconds=SETTLE_SECONDS)

    async def predictor(self) -> Object:
        found = await self.bench.api.get(KSERVE, "InferenceService", "chat", namespace=self.bench.namespace)
        return found["spec"]["predictor"]

    async def wait_predictor(self, **bounds: int | None) -> None:
        async def reached() -> bool:
            found = await self.predictor()
            return {name: found.get(name) for name in bounds} == bounds

        await self.bench.wait_for(reached, what=f"the predictor has {bounds}", timeout_seconds=SETTLE_SECONDS)

    async def pods(self) -> set[str]:
        """Returns the UIDs of the namespace's pods that are not ending."""
        found = await self.bench.pods()
        return {one["metadata"]["uid"] for one in found if "deletionTimestamp" not in one["metadata"]}

    async def wait_pods(self, count: int) -> set[str]:
        async def there() -> set[str] | None:
            found = await self.bench.ready_pods()
            whole = len(found) == count and len(await self.pods()) == count
            return {one["metadata"]["uid"] for one in found} if whole else None

        found = await self.bench.wait_for(there, what=f"{count} ready pods", timeout_seconds=SETTLE_SECONDS)
        assert found is not None
        return found

    async def wait_scaled_object(self, name: str, *, there: bool = True) -> None:
        async def as_wanted() -> bool:
            found = await self.bench.api.find(KEDA, "ScaledObject", name, namespace=self.bench.namespace)
            return (found is not None) == there

        what = f"ScaledObject {name} is {'there' if there else 'gone'}"
        await self.bench.wait_for(as_wanted, what=what, timeout_seconds=SETTLE_SECONDS)

    async def wait_actuated(self, reason: str, *, target: str = TARGET, kind: str = "deployment") -> Object:
        """Waits until the condition Actuated gives a reason, and returns the status."""

        async def said() -> Object | None:
            status = await self.loop.status(target, kind=kind)
            reasons = [one["reason"] for one in status.get("conditions", []) if one["type"] == "Actuated"]
            return status if reasons == [reason] else None

        found = await self.bench.wait_for(said, what=f"Actuated says {reason}", timeout_seconds=SETTLE_SECONDS)
        assert found is not None
        return found

    async def wait_no_recommendation(self, target: str = TARGET, *, kind: str = "deployment") -> None:
        async def gone() -> bool:
            return not await self.loop.recommendation(target, kind=kind)

        await self.bench.wait_for(gone, what=f"no recommendation for {target}", timeout_seconds=SETTLE_SECONDS)


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
    await scene.cut_to(2)
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
    await scene.policy(floor=1)
    await scene.cut_to(4)
    await scene.wait_predictor(maxReplicas=4)
    leader = await actuators.leader(scene.bench.api)
    leader.kill()
    try:
        await scene.cut_to(2)
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
    await scene.cut_to(2, target="chat-kserve")
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
    await scene.cut_to(2)
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
    await scene.cut_to(2)
    await scene.wait_predictor(maxReplicas=2)
    assert await scene.wait_pods(2) <= before
    await scene.remove_policy()
    await scene.wait_predictor(maxReplicas=6)
    await scene.wait_pods(4)


async def test_what_nobody_scales_is_lowered_only_where_the_policy_lets_it(scene: Scene) -> None:
    await scene.inference_service("none", minReplicas=3)
    before = await scene.wait_pods(3)
    await scene.policy()
    await scene.cut_to(1)
    await scene.wait_actuated("MinReplicasAboveCeiling")
    await scene.loop.wait_condition(TARGET, "CapUnachievable")
    assert await scene.pods() == before
    await scene.policy(lower=True)
    await scene.wait_predictor(minReplicas=1)
    assert await scene.wait_pods(1) <= before
    await scene.loop.set_limit(scene.budget, PLENTY_WATTS)
    await scene.wait_predictor(minReplicas=3)
    await scene.wait_pods(3)


async def test_groups_of_an_llm_inference_service_are_lowered_as_replicas(scene: Scene) -> None:
    bench = scene.bench
    await bench.api.create(llm_inference_service(bench.namespace, "chat", replicas=3, size=2))
    await scene.wait_pods(6)
    await scene.policy({"app.kubernetes.io/name": "chat"}, lower=True)
    await scene.cut_to(1, target="chat-kserve-mn", kind="leaderworkerset")
    await scene.wait_pods(2)
    await scene.remove_policy()
    await scene.wait_pods(6)


async def test_a_restoration_puts_everything_back_while_policies_stay(scene: Scene, actuators: Actuators) -> None:
    await scene.inference_service("hpa", minReplicas=1, maxReplicas=6)
    await scene.wait_pods(1)
    await scene.policy(floor=1)
    await scene.cut_to(2)
    await scene.wait_predictor(maxReplicas=2)
    assert "everything is as it was" in await actuators.restore()
    assert (await scene.predictor())["maxReplicas"] == 6
    meta = (await scene.loop.recommendation(TARGET))["metadata"]
    assert "finalizers" not in meta
