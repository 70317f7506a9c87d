"""Mode Kill beside real controllers: which pods go, how far down, and which stay."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.draw import CPU_WATTS, IDLE_WATTS
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.workloads import llm_inference_service
from tests.cluster.gate_room import capped
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.kserve_scene import LABEL, LLM_LABEL, TARGET, Scene
from tests.cluster.loop import GROUP, SETTLE_SECONDS, Loop
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import Pod

KILL_LIMIT = 2
KILL: Object = {
    "mode": "Kill",
    "demand": None,
    "violation": {"durationSeconds": 4},
    "disruption": {"maxPerHour": 3600},
    "actuation": {"lowerMinReplicas": True},
}


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Generator[Actuators]:
    """The actuator, for the tests of this module alone, which gives up soon."""
    settings = {"WATTKEEPER_KILL_LIMIT": str(KILL_LIMIT)}
    with installed(plane, Actuators(plane, installation.address, settings=settings)) as made:
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


async def test_what_nobody_lowers_is_evicted_until_that_has_lessened_nothing_too_often(scene: Scene) -> None:
    bench = scene.bench
    # What comes back is charged what went: nothing that is learned of these moves a sum.
    await bench.deploy(bench.deployment("chat", replicas=3, annotations=capped()["annotations"]))
    await scene.loop.policy("chat", **KILL)
    before = await scene.wait_pods(3)
    await scene.cut_to(1, target="chat")

    async def evicted() -> bool:
        return len(before - await scene.pods()) >= 1

    await bench.wait_for(evicted, what="a pod is evicted", timeout_seconds=SETTLE_SECONDS)
    await told(scene, "PodEvicted")
    message = await wait_blocked(scene, "chat", "NoEffect")
    assert message.startswith(f"{KILL_LIMIT} evictions in a row have lessened nothing")
    stays = await scene.wait_pods(3)

    async def said() -> bool:
        conditions = (await scene.loop.status("chat"))["conditions"]
        return any(message in one.get("message", "") for one in conditions if one["type"] == "CapUnachievable")

    await bench.wait_for(said, what="CapUnachievable says so, too", timeout_seconds=SETTLE_SECONDS)
    await scene.loop.wait_evaluations(scene.budget, 3)
    assert await scene.pods() == stays


async def test_a_pod_that_generates_too_little_for_what_it_draws_is_evicted_and_others_stay(scene: Scene) -> None:
    bench = scene.bench
    wasteful, lean = {IDLE_WATTS: "400"}, {IDLE_WATTS: "0", CPU_WATTS: "5"}
    for name, figures, requests in (("wasteful", wasteful, 1), ("lean", lean, 10)):
        await bench.exporter.set_demand(bench.namespace, name, requests)
        labels = {"judged": "yes"}
        await bench.deploy(bench.deployment(name, annotations=figures, labels=labels), wait=False)
    before = await scene.wait_pods(2)
    (named,) = await bench.pods("wasteful")
    ratio = {"tokensPerJoule": 0.1, "durationSeconds": 4}
    await scene.loop.policy("chat", labels={"judged": "yes"}, performancePower=ratio, **KILL)

    async def evicted() -> set[str]:
        return before - await scene.pods()

    gone = await bench.wait_for(evicted, what="a pod is evicted", timeout_seconds=SETTLE_SECONDS)
    assert gone == {named["metadata"]["uid"]}
    await told(scene, "PodEvicted", "it generates too little for what it draws")


async def test_of_a_leader_worker_set_the_highest_group_goes_and_no_pod_is_moved_marked_or_evicted(
    scene: Scene,
) -> None:
    bench = scene.bench
    target: Object = {"target": "chat-kserve-mn", "kind": "leaderworkerset"}
    await bench.api.create(llm_inference_service(bench.namespace, "chat", replicas=3, size=2))
    before = await scene.wait_pods(6)
    await scene.loop.policy("chat", labels={LLM_LABEL: "chat"}, **KILL)
    await scene.wait_actuated("NothingToWrite", **target)
    assert await migration_ended(scene, "LeaderWorkerSet", "chat-kserve-mn") == ("Failed", "GroupsStay")
    await scene.cut_to(2, **target)
    assert await scene.wait_pods(4) <= before
    left = [one["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/group-index"] for one in await bench.ready_pods()]
    assert sorted(left) == ["0", "0", "1", "1"]
    assert {one["reason"] for one in await bench.events()}.isdisjoint({"PodMarked", "PodEvicted"})


async def migration_ended(scene: Scene, kind: str, target: str) -> tuple[str, str]:
    """Makes a migration of one of the pods, as a person would, and returns how it ends."""
    bench = scene.bench
    pod = (await bench.pods())[0]["metadata"]
    reference = {"kind": kind, "name": target}
    spec = {"scaleTargetRef": reference, "pod": {"name": pod["name"], "uid": pod["uid"]}, "budget": scene.budget}
    await bench.apply({"apiVersion": GROUP, "kind": "PowerMigration", "metadata": {"name": "move"}, "spec": spec})

    async def ended() -> tuple[str, str] | None:
        found = await bench.api.get(GROUP, "PowerMigration", "move", namespace=bench.namespace)
        status: Object = found.get("status") or {}
        reasons = [one["reason"] for one in status.get("conditions", []) if one["type"] == "Complete"]
        return (status["phase"], reasons[0]) if reasons else None

    found = await bench.wait_for(ended, what="the migration has ended", timeout_seconds=SETTLE_SECONDS)
    assert found is not None
    return found


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
