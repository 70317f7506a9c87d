"""Mode Kill beside real controllers: which pods go, how far down, and which stay."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from tests.cluster.installation import Installation
from tests.cluster.kserve_scene import LABEL, TARGET, Scene, running_actuators
from tests.cluster.loop import SETTLE_SECONDS, Loop
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import Pod

KILL: Object = {
    "mode": "Kill",
    "demand": None,
    "violation": {"durationSeconds": 4},
    "disruption": {"maxPerHour": 3600},
    "actuation": {"lowerMinReplicas": True},
}


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Generator[Actuators]:
    """The actuator, for the tests of this module alone."""
    with running_actuators(plane, installation) as made:
        yield made


pytestmark = pytest.mark.usefixtures("kserve", "lws", "actuators")


@pytest.fixture
async def scene(loop: Loop) -> Scene:
    made = Scene(loop)
    await made.open()
    return made


async def cost(scene: Scene, name: str, value: int) -> None:
    """Sets a pod's deletion cost, as a user would."""
    change: Object = {"metadata": {"annotations": {DELETION_COST: str(value)}}}
    await scene.bench.api.patch("v1", "Pod", name, change, namespace=scene.bench.namespace)


async def costs(scene: Scene) -> dict[str, str | None]:
    found = await scene.bench.pods()
    return {one["metadata"]["name"]: one["metadata"].get("annotations", {}).get(DELETION_COST) for one in found}


async def named(scene: Scene, name: str, type_: str = "Budget") -> list[str]:
    """Returns the UIDs of the pods that the leader names."""
    violations = (await scene.loop.status(name)).get("violations", [])
    return [pod["uid"] for one in violations if one["type"] == type_ for pod in one.get("pods", [])]


async def blocked(scene: Scene, name: str) -> tuple[str, str]:
    conditions = (await scene.loop.status(name)).get("conditions", [])
    found = [one for one in conditions if (one["type"], one["status"]) == ("KillBlocked", "True")]
    return (found[0]["reason"], found[0]["message"]) if found else ("", "")


async def wait_blocked(scene: Scene, name: str, reason: str) -> str:
    async def said() -> str:
        found = await blocked(scene, name)
        return found[1] if found[0] == reason else ""

    return await scene.bench.wait_for(said, what=f"KillBlocked says {reason}", timeout_seconds=SETTLE_SECONDS)


async def told(scene: Scene, reason: str, words: str = "") -> None:
    async def there() -> bool:
        return any(words in one["message"] for one in await scene.bench.events(reason=reason))

    await scene.bench.wait_for(there, what=f"an event {reason}", timeout_seconds=SETTLE_SECONDS)


async def test_the_pod_that_is_named_goes_and_no_other(scene: Scene) -> None:
    bench = scene.bench
    await scene.inference_service("hpa", minReplicas=4, maxReplicas=6)
    await scene.wait_pods(4)
    # Without the actuator's cost the first one would go, and the named one last.
    oldest, *others = sorted(one["metadata"]["name"] for one in await bench.pods())
    await cost(scene, oldest, -50)
    for name in others:
        await cost(scene, name, 100)
    # Long enough for the HPA, whose way is from the ceiling over KServe's controller and a sync.
    patient: Object = {**KILL, "violation": {"durationSeconds": 120}}
    await scene.loop.policy("chat", labels={LABEL: "chat"}, **patient)
    before = await scene.wait_pods(4)
    seen: list[str] = []

    async def fewer() -> bool:
        seen.extend(uid for uid in await named(scene, TARGET) if uid not in seen)
        return len(await scene.pods()) == 3

    await scene.cut_to(3)
    await bench.wait_for(fewer, what="one pod fewer", timeout_seconds=SETTLE_SECONDS)
    (gone,) = before - await scene.pods()
    assert gone in seen
    await told(scene, "PodMarked")

    async def as_before() -> bool:
        found = await costs(scene)
        return len(found) == 3 and set(found.values()) <= {"-50", "100"}

    await bench.wait_for(as_before, what="costs are the user's own again", timeout_seconds=SETTLE_SECONDS)
    assert await bench.events(reason="PodEvicted") == []


async def test_lower_priorities_go_first_and_nobody_below_its_floor(scene: Scene) -> None:
    bench, loop = scene.bench, scene.loop
    for name, priority, replicas, floor in (("low", 0, 3, 1), ("high", 10, 3, 2)):
        await loop.service(name, replicas=replicas, demand=replicas, priority=priority, floor=floor)
        fields = {key: value for key, value in KILL.items() if key not in ("mode", "demand")}
        await loop.policy(name, mode="Kill", priority=priority, floor=floor, **fields)
    for name in ("low", "high"):
        await loop.wait_running(name, 3)
        await loop.wait_grant(name, 3)
    watts = await loop.replica_watts("low")
    guarded = await loop.settled_sum(scene.budget)
    await loop.set_limit(scene.budget, guarded - 1.5 * watts)
    await loop.wait_running("low", 1)
    assert await loop.grant("high") == 3
    await loop.set_limit(scene.budget, guarded - 6.0 * watts)
    await loop.wait_running("high", 2)
    await loop.wait_condition("high", "CapUnachievable")
    await wait_blocked(scene, "low", "FloorReached")
    assert len([one for one in await bench.ready_pods() if one["metadata"]["labels"]["app"] == "low"]) == 1


async def test_a_disruption_budget_that_forbids_keeps_every_pod_and_is_named(scene: Scene) -> None:
    bench = scene.bench
    await bench.deploy(bench.deployment("chat", replicas=3))
    spec = {"minAvailable": 3, "selector": {"matchLabels": {"app": "chat"}}}
    meta = {"name": "keep", "namespace": bench.namespace}
    await bench.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})
    await scene.loop.policy("chat", **KILL)
    before = await scene.wait_pods(3)
    await scene.cut_to(1, target="chat")
    message = await wait_blocked(scene, "chat", "Protected")
    assert "PodDisruptionBudget keep" in message
    await told(scene, "KillRefused", "PodDisruptionBudget keep")
    assert await scene.pods() == before


async def test_what_nobody_lowers_is_evicted_once_its_violation_has_lasted(scene: Scene) -> None:
    bench = scene.bench
    await bench.deploy(bench.deployment("chat", replicas=3))
    await scene.loop.policy("chat", **KILL)
    before = await scene.wait_pods(3)
    await scene.cut_to(1, target="chat")

    async def evicted() -> bool:
        return len(before - await scene.pods()) >= 1

    await bench.wait_for(evicted, what="a pod is evicted", timeout_seconds=SETTLE_SECONDS)
    await told(scene, "PodEvicted")


async def test_an_eviction_never_hits_a_pod_that_has_taken_the_name(bench: Bench) -> None:
    def pod() -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "chat", "namespace": bench.namespace},
            "spec": {"containers": [{"name": "main", "image": "none"}]},
        }

    old = await bench.api.create(pod())
    cluster = KubernetesCluster(
        KubeconfigCredentials(file=bench.plane.kubeconfig), registry=CollectorRegistry(), kinds=(Pod,)
    )
    await cluster.start()
    try:

        async def there() -> Pod | None:
            return cluster.view.all(Pod).get(old["metadata"]["uid"])

        seen = await bench.wait_for(there, what="the view shows the pod")
        assert seen is not None
        await bench.api.request(
            "DELETE",
            await bench.api.path("v1", "Pod", namespace=bench.namespace, name="chat"),
            {"gracePeriodSeconds": 0},
        )
        new = await bench.api.create(pod())
        await cluster.evict(seen)
    finally:
        await cluster.stop()
    found = await bench.api.get("v1", "Pod", "chat", namespace=bench.namespace)
    assert found["metadata"]["uid"] == new["metadata"]["uid"]
    assert "deletionTimestamp" not in found["metadata"]
