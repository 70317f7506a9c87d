"""The brake beside a real KEDA: our port blocked while the recommender lives and goes on cutting."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.blockable import BlockablePort
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.processes import free_ports
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import SETTLE_SECONDS, Loop, scaled_object

KEDA = "keda.sh/v1alpha1"
PAUSED = "autoscaling.keda.sh/paused-replicas"
PLENTY_WATTS = 60_000.0


@pytest.fixture(scope="module")
def port() -> int:
    """The port that triggers name."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation, port: int) -> Iterator[Actuators]:
    """The actuator as the chart installs it, asking at the port that triggers name."""
    with installed(plane, Actuators(plane, f"127.0.0.1:{port}")) as made:
        yield made


class Scene:
    """One service with a ScaledObject of a user's, under a budget, behind a port that can be blocked."""

    def __init__(self, loop: Loop, port: BlockablePort) -> None:
        self.loop = loop
        self.bench = loop.bench
        self.port = port
        self.budget = ""

    async def open(self, *, replicas: int, floor: int, patient: bool = False) -> None:
        """Runs the service: with the HPA's own scale-down stabilisation of 300 s where it is to be patient."""
        await self.loop.nodes(2)
        self.budget = await self.loop.budget("rack", PLENTY_WATTS)
        await self.loop.set_demand("chat", replicas)
        await self.bench.deploy(self.bench.deployment("chat", replicas=1), wait=False)
        await self.loop.policy("chat", floor=floor)
        made = scaled_object("chat", self.port.address, floor=floor)
        if patient:
            del made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        await self.bench.apply(made)
        await self.loop.wait_running("chat", replicas)
        await self.loop.wait_grant("chat", replicas)

    async def cut_to(self, replicas: int, target: str = "chat") -> None:
        await self.loop.set_limit(self.budget, await self.loop.limit_for(self.budget, target, replicas))
        await self.loop.wait_grant(target, replicas)

    async def wait_condition(self, type_: str, status: str | None) -> None:
        async def said() -> bool:
            found = (await self.loop.status("chat")).get("conditions", [])
            return next((one["status"] for one in found if one["type"] == type_), None) == status

        await self.bench.wait_for(said, what=f"{type_} is {status}", timeout_seconds=SETTLE_SECONDS)

    async def wait_bounds(self, minimum: int, maximum: int, *, name: str = "chat") -> None:
        async def reached() -> bool:
            found = await self.bench.api.find(
                "autoscaling/v2", "HorizontalPodAutoscaler", f"keda-hpa-{name}", namespace=self.bench.namespace
            )
            spec: Object = (found or {}).get("spec", {})
            return (spec.get("minReplicas"), spec.get("maxReplicas")) == (minimum, maximum)

        await self.bench.wait_for(reached, what=f"the HPA has {minimum}, {maximum}", timeout_seconds=SETTLE_SECONDS)

    async def wait_released(self, target: str = "chat") -> None:
        async def released() -> bool:
            return "brake" not in (await self.loop.status(target)).get("actuation", {})

        await self.bench.wait_for(released, what="the brake is off", timeout_seconds=SETTLE_SECONDS)

    async def wait_reasons(self, *expected: str) -> None:
        """Waits for events: they follow what they are about."""

        async def told() -> bool:
            return set(expected) <= {one["reason"] for one in await self.bench.events()}

        await self.bench.wait_for(told, what=f"events {', '.join(expected)}")


@pytest.fixture
async def scene(loop: Loop, actuators: Actuators, port: int) -> AsyncIterator[Scene]:
    blockable = BlockablePort(port, loop.installation.address)
    await blockable.open()
    yield Scene(loop, blockable)
    await blockable.block()


async def test_a_cut_is_kept_by_the_hpa_s_bounds_while_keda_cannot_ask(scene: Scene) -> None:
    await scene.open(replicas=8, floor=1)
    await scene.port.block()
    await scene.cut_to(5)
    started = time.monotonic()
    await scene.wait_bounds(1, 5)
    lowered = time.monotonic()
    await scene.bench.wait_replicas("chat", 5, timeout_seconds=SETTLE_SECONDS)
    took = time.monotonic() - lowered
    print(f"\nHPA: {lowered - started:.1f} s to its bounds, {took:.1f} s more to the replicas")
    await scene.wait_condition("Braked", "True")
    assert await scene.loop.held_replicas("chat", seconds=20) == {5}
    await scene.port.open()
    await scene.wait_bounds(1, 40)
    await scene.wait_released()
    await scene.wait_reasons("Braked", "BrakeReleased")
    await scene.loop.set_limit(scene.budget, PLENTY_WATTS)
    await scene.bench.wait_replicas("chat", 8, timeout_seconds=SETTLE_SECONDS)


async def test_a_cap_of_zero_is_kept_by_a_pause_that_goes_with_the_outage(scene: Scene) -> None:
    await scene.open(replicas=4, floor=0)
    await scene.port.block()
    await scene.cut_to(0)
    started = time.monotonic()

    async def paused() -> bool:
        found = await scene.bench.api.get(KEDA, "ScaledObject", "chat", namespace=scene.bench.namespace)
        return found["metadata"].get("annotations", {}).get(PAUSED) == "0"

    await scene.bench.wait_for(paused, what="a pause at 0", timeout_seconds=SETTLE_SECONDS)
    written = time.monotonic()
    await scene.bench.wait_replicas("chat", 0, timeout_seconds=SETTLE_SECONDS)
    took = time.monotonic() - written
    print(f"\npause: {written - started:.1f} s to the annotation, {took:.1f} s more to the replicas")
    await scene.port.open()
    await scene.wait_released()
    assert not await paused()
    await scene.loop.set_limit(scene.budget, PLENTY_WATTS)
    await scene.bench.wait_replicas("chat", 4, timeout_seconds=SETTLE_SECONDS)


async def test_the_last_cap_holds_while_no_recommender_lives(scene: Scene) -> None:
    await scene.open(replicas=6, floor=1)
    await scene.cut_to(4)
    await scene.bench.wait_replicas("chat", 4, timeout_seconds=SETTLE_SECONDS)
    scene.loop.installation.kill_all()
    await scene.wait_condition("LaterCutsHeld", "True")
    await scene.bench.scale("chat", 6)
    await scene.bench.wait_replicas("chat", 4, timeout_seconds=SETTLE_SECONDS)
    await scene.loop.installation.start_all(scene.bench.api)
    await scene.wait_condition("LaterCutsHeld", None)
    await scene.wait_released()


async def test_a_kserve_service_is_braked_and_keda_s_own_ceiling_stays_when_the_brake_comes_off(scene: Scene) -> None:
    loop, bench, target = scene.loop, scene.bench, "chat-predictor"
    await loop.nodes(2)
    scene.budget = await loop.budget("rack", PLENTY_WATTS)
    external = {"serving.kserve.io/autoscalerClass": "external"}
    await bench.api.create(inference_service(bench.namespace, "chat", annotations=external))

    async def runs() -> bool:
        return len(await bench.ready_pods()) == 1

    await bench.wait_for(runs, what="KServe's one replica runs", timeout_seconds=SETTLE_SECONDS)
    await bench.scale(target, 4)
    await loop.policy("chat", labels={"serving.kserve.io/inferenceservice": "chat"}, floor=1, demand=None)
    await scene.wait_bounds(1, 40, name="chat-predictor-wk")
    await scene.port.block()
    await scene.cut_to(2, target)
    await scene.wait_bounds(1, 2, name="chat-predictor-wk")
    await bench.wait_replicas(target, 2, timeout_seconds=SETTLE_SECONDS)
    await scene.port.open()
    await scene.wait_released(target)
    await scene.wait_bounds(1, 2, name="chat-predictor-wk")
    assert await loop.held_replicas(target, seconds=10) == {2}


async def test_an_overshoot_does_not_wait_for_the_hpa_s_stabilisation_where_the_policy_says_so(scene: Scene) -> None:
    loop, bench = scene.loop, scene.bench

    async def user_s() -> Object:
        found = await bench.api.get(KEDA, "ScaledObject", "chat", namespace=bench.namespace)
        return {"annotations": found["metadata"].get("annotations", {}), "spec": found["spec"]}

    await scene.open(replicas=8, floor=1, patient=True)
    before = await user_s()
    await scene.cut_to(6)
    assert await loop.held_replicas("chat", seconds=12) == {8}
    await loop.policy("chat", floor=1, actuation={"brakeAboveRatio": 0.05})
    await bench.wait_replicas("chat", 6, timeout_seconds=SETTLE_SECONDS)
    await scene.wait_reasons("Braked", "BrakeReleased")
    await scene.wait_released()
    assert await user_s() == before
    started = time.monotonic()
    await scene.cut_to(4)
    cut = time.monotonic()
    await bench.wait_replicas("chat", 4, timeout_seconds=SETTLE_SECONDS)
    took = time.monotonic() - cut
    print(f"\novershoot: at most {cut - started:.1f} s from the budget to the cap, {took:.1f} s more to the replicas")
    await scene.wait_condition("Braked", "True")
    await scene.wait_condition("Braked", None)
    await scene.wait_released()
    assert await user_s() == before
    assert await loop.held_replicas("chat", seconds=10) == {4}
    await loop.set_limit(scene.budget, PLENTY_WATTS)
    await bench.wait_replicas("chat", 8, timeout_seconds=SETTLE_SECONDS)
