"""The admission plugin on the real control plane: requests, the gate and steering, on pods that controllers make.

Its processes run under the chart's own account, the API server asks them as the chart's webhooks say, and the leader of
the closed loop opens the gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.kubectl import Said, kubectl
from tests.cluster.controlplane.metrics import PROCESS, Metrics
from tests.cluster.controlplane.metrics_api import CPU_USAGE, MEMORY_USAGE
from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.controlplane.workloads import inference_service, leader_worker_set, llm_inference_service
from tests.cluster.installation import NAMESPACE
from tests.cluster.loop import Loop
from wattkeeper.api.admission import (
    ADMISSION_ANNOTATION,
    ADMISSION_LABEL,
    CAPPED_LABEL,
    POWER_GATE,
    PREDICTED_WATTS_ANNOTATION,
)
from wattkeeper.api.quantity import parse_quantity

PLENTY = 1_000_000.0
CAPPED = {CAPPED_LABEL: "true"}
USED = {CPU_USAGE: "2500m", MEMORY_USAGE: "3Gi"}
NAMED = {"app.kubernetes.io/name": "llm"}
GIB = 2.0**30
# A target is the usage and 15 %, rounded up to a bucket of the histogram, which is 5 % wide.
MARGIN, BUCKET = 1.15, 1.06


def gated(pod: Object) -> bool:
    return {"name": POWER_GATE} in pod["spec"].get("schedulingGates", [])


def note(pod: Object, name: str = ADMISSION_ANNOTATION) -> str:
    return pod["metadata"].get("annotations", {}).get(name, "")


def requested(pod: Object, resource: str) -> float:
    """Returns what a pod's first container requests, in cores or bytes."""
    return parse_quantity(pod["spec"]["containers"][0]["resources"]["requests"][resource])


def follows(request: float, usage: float) -> bool:
    """Says whether a request is what a steady usage makes of it."""
    return usage * MARGIN <= request <= usage * MARGIN * BUCKET


async def wait_pods(bench: Bench, selector: str, *, out: int, waiting: int = 0) -> tuple[list[Object], list[Object]]:
    """Waits until so many pods with a label run and so many wait at the gate, and returns both."""

    async def there() -> tuple[list[Object], list[Object]] | None:
        found = await bench.api.list("v1", "Pod", namespace=bench.namespace, selector=selector)
        ready = [one for one in found if holds(one, "Ready")]
        held = [one for one in found if gated(one)]
        return (ready, held) if (len(ready), len(held), len(found)) == (out, waiting, out + waiting) else None

    found = await bench.wait_for(there, what=f"{out} pods with {selector} run and {waiting} wait", timeout_seconds=60)
    assert found is not None
    return found


async def learn(bench: Bench, admission: AdmissionPlugin, samples: int) -> None:
    """Waits until the asked replica has taken in so many further samples of usage."""
    first, name = admission.replicas[0], "wattkeeper_admission_usage_samples_total"
    wanted = await admission.counted(first, name) + samples

    async def taken() -> bool:
        return await admission.counted(first, name) >= wanted

    await bench.wait_for(taken, what=f"{samples} samples of usage")


async def test_pods_of_a_plain_deployment_wait_for_their_watts(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat")
    await loop.set_demand("chat", 1)
    await bench.deploy(bench.deployment("chat", labels=CAPPED))
    (first,), _ = await wait_pods(bench, "app=chat", out=1)
    assert "waits for watts" in note(first)
    await loop.wait_grant("chat", 1)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 1))
    await loop.set_demand("chat", 2)
    await bench.scale("chat", 2)
    _, (second,) = await wait_pods(bench, "app=chat", out=1, waiting=1)
    watts = await loop.replica_watts("chat")
    assert int(note(second, PREDICTED_WATTS_ANNOTATION)) == pytest.approx(watts, rel=0.1)
    await loop.set_limit(budget, PLENTY)
    await wait_pods(bench, "app=chat", out=2)


async def test_a_namespace_that_nobody_opted_in_is_not_even_asked_about(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1)
    await loop.budget("all", PLENTY)
    await loop.policy("chat")
    asked = await admission.reviews()
    await bench.deploy(bench.deployment("chat", labels=CAPPED))
    (pod,) = await bench.pods("chat")
    assert await admission.reviews() == asked
    assert note(pod) == ""
    assert not gated(pod)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service of KServe's: its object, what it makes, and what the fake model servers call it."""

    item: Object
    deployment: str
    pods: str
    demand: str


def service(bench: Bench, kind: str) -> Service:
    if kind == "InferenceService":
        return Service(
            item=inference_service(bench.namespace, "llm", annotations=USED),
            deployment="llm-predictor",
            pods="serving.kserve.io/inferenceservice=llm",
            demand="isvc.llm-predictor",
        )
    return Service(
        item=llm_inference_service(bench.namespace, "llm", annotations=USED),
        deployment="llm-kserve",
        pods="app.kubernetes.io/part-of=llminferenceservice",
        demand="llm",
    )


async def grow(bench: Bench, grown: Service) -> None:
    """Has a service run a second pod, in its kind's own way."""
    if grown.item["kind"] == "InferenceService":
        await bench.scale(grown.deployment, 2)  # KServe leaves replicas to the external autoscaler.
        return
    change: Object = {"spec": {"replicas": 2}}
    version, kind = grown.item["apiVersion"], grown.item["kind"]
    await bench.api.patch(version, kind, "llm", change, namespace=bench.namespace)


@pytest.mark.usefixtures("kserve", "metrics")
@pytest.mark.parametrize("kind", ["InferenceService", "LLMInferenceService"])
async def test_pods_that_kserve_makes_ask_for_what_was_used_and_wait_for_their_watts(
    loop: Loop, admission: AdmissionPlugin, kind: str
) -> None:
    bench, llm = loop.bench, service(loop.bench, kind)
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    key, _, value = llm.pods.partition("=")
    await loop.policy("llm", labels={key: value})
    await loop.set_demand(llm.demand, 1)
    await bench.api.create(llm.item)
    await wait_pods(bench, llm.pods, out=1)
    await learn(bench, admission, 3)
    await loop.wait_grant(llm.deployment, 1)
    await loop.set_limit(budget, await loop.limit_for(budget, llm.deployment, 1))
    await loop.set_demand(llm.demand, 2)
    await grow(bench, llm)
    _, (second,) = await wait_pods(bench, llm.pods, out=1, waiting=1)
    assert follows(requested(second, "cpu"), 2.5)
    assert follows(requested(second, "memory"), 3 * GIB)
    assert "waits for watts" in note(second)
    assert "cpu none -> " in note(second)
    watts = await loop.replica_watts(llm.deployment)
    assert int(note(second, PREDICTED_WATTS_ANNOTATION)) == pytest.approx(watts, rel=0.1)
    await loop.set_limit(budget, PLENTY)
    await wait_pods(bench, llm.pods, out=2)


async def test_pods_start_in_the_rack_that_has_watts_for_them(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1, labels={"rack": "a"})
    (right,) = await loop.nodes(1, labels={"rack": "b"})
    full = await loop.budget("a", PLENTY, labels={"rack": "a"})
    await loop.budget("b", PLENTY, labels={"rack": "b"})
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat", labels={"app": "chat"}, wattsPerReplica=500)
    await loop.set_limit(full, (await loop.settled_sum(full)) + 100)
    await loop.set_demand("chat", 4)
    await bench.deploy(bench.deployment("chat", replicas=4, labels=CAPPED), wait=False)
    pods, _ = await wait_pods(bench, "app=chat", out=4)
    assert {pod["spec"]["nodeName"] for pod in pods} == {right}


def groups(bench: Bench, kind: str) -> tuple[Object, str]:
    """Returns what makes a LeaderWorkerSet with one group of three pods, and the set's name."""
    if kind == "LeaderWorkerSet":
        return leader_worker_set(bench.namespace, "llm", groups=1, size=3, labels={**CAPPED, **NAMED}), "llm"
    return llm_inference_service(bench.namespace, "llm", size=3), "llm-kserve-mn"


@pytest.mark.usefixtures("lws", "kserve")
@pytest.mark.parametrize("kind", ["LeaderWorkerSet", "LLMInferenceService"])
async def test_the_gates_of_a_group_come_off_as_a_whole(loop: Loop, admission: AdmissionPlugin, kind: str) -> None:
    bench = loop.bench
    made, name = groups(bench, kind)
    selector = f"leaderworkerset.sigs.k8s.io/name={name}"
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("llm", labels=NAMED, demand=None)
    await bench.api.create(made)
    await wait_pods(bench, selector, out=3)
    # Enough for one pod more, and not for a group.
    settled, watts = await loop.settled_sum(budget), await loop.replica_watts(name, kind="leaderworkerset")
    await loop.set_limit(budget, settled + 0.5 * watts)
    change: Object = {"spec": {"replicas": 2}}
    await bench.api.patch(made["apiVersion"], kind, "llm", change, namespace=bench.namespace)
    await wait_pods(bench, selector, out=3, waiting=3)
    await loop.wait_evaluations(budget, 5)
    _, held = await wait_pods(bench, selector, out=3, waiting=3)
    # What is learned meanwhile moves it a little.
    assert [int(note(pod, PREDICTED_WATTS_ANNOTATION)) for pod in held] == pytest.approx([watts / 3] * 3, rel=0.1)
    await loop.set_limit(budget, settled + 1.5 * watts)
    await wait_pods(bench, selector, out=6)


async def test_pods_that_wait_are_let_out_when_their_namespace_is_opted_out(
    loop: Loop, admission: AdmissionPlugin
) -> None:
    bench = loop.bench
    await loop.nodes(1)
    await loop.budget("all", 1.0)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat", demand=None)
    await bench.deploy(bench.deployment("chat", replicas=2, labels=CAPPED), wait=False)
    await wait_pods(bench, "app=chat", out=0, waiting=2)
    change: Object = {"metadata": {"labels": {ADMISSION_LABEL: None}}}
    await bench.api.patch("v1", "Namespace", bench.namespace, change)
    await wait_pods(bench, "app=chat", out=2)


async def replay(bench: Bench, admission: AdmissionPlugin, metrics: Metrics, name: str, rounds: Random) -> None:
    """Has a service's pods use 1.8 to 2.2 cores and 5.5 to 6 GiB for some seconds, one sample of each a second."""
    for _ in range(6):
        pods = await bench.pods(name)
        for pod in pods:
            cores, gibibytes = rounds.uniform(1.8, 2.2), rounds.uniform(5.5, 6.0)
            usage = {"cpu": f"{cores * 1000:.0f}m", "memory": f"{gibibytes * 1024:.0f}Mi"}
            await metrics.set_usage(bench.namespace, pod["metadata"]["name"], "server", **usage)
        await learn(bench, admission, len(pods))


async def successors(bench: Bench, name: str, replicas: int) -> tuple[float, float, str]:
    """Deletes a service's pods, and returns what each of the next ones requests (cores, bytes), and why."""
    await bench.api.delete_all("v1", "Pod", namespace=bench.namespace)
    await bench.wait_ready(name, replicas)
    (found,) = {(requested(pod, "cpu"), requested(pod, "memory"), note(pod)) for pod in await bench.pods(name)}
    return found


async def guessed(loop: Loop, admission: AdmissionPlugin, *, cpu: str = "250m") -> None:
    """Deploys a service whose requests are nowhere near what it uses, under a policy that sets requests alone."""
    bench = loop.bench
    await loop.nodes(1)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat", mode="Initial")
    made = bench.deployment("chat", replicas=3, labels=CAPPED, annotations={CPU_USAGE: "2", MEMORY_USAGE: "5Gi"})
    (server,) = made["spec"]["template"]["spec"]["containers"]
    server["resources"]["requests"] = {"cpu": cpu, "memory": "1Gi"}
    await bench.deploy(made)


async def wait_kept(bench: Bench) -> None:
    """Waits until the learned usage was written twice: once wholly after now."""
    seen: set[str] = set()

    async def written() -> bool:
        kept = await bench.api.find("v1", "ConfigMap", "wattkeeper-usage-0", namespace=NAMESPACE)
        seen.add("" if kept is None else kept["data"]["sha256"])
        return len(seen) > 2

    await bench.wait_for(written, what="what was learned is kept")


async def test_requests_converge_on_what_a_replayed_workload_uses(
    loop: Loop, admission: AdmissionPlugin, metrics: Metrics
) -> None:
    bench, rounds = loop.bench, Random(1)
    await guessed(loop, admission)
    sizes: list[tuple[float, float]] = []
    for _ in range(3):
        await replay(bench, admission, metrics, "chat", rounds)
        cores, memory, why = await successors(bench, "chat", 3)
        assert "cpu 250m -> " in why
        sizes.append((cores, memory))
    for cores, memory in sizes:
        assert 2.1 * MARGIN <= cores <= 2.2 * MARGIN * BUCKET
        assert 5.5 * GIB * MARGIN <= memory <= 6.0 * GIB * MARGIN * BUCKET
    assert sizes[2] == pytest.approx(sizes[1], rel=0.1)


async def test_what_may_yet_be_needed_is_not_taken_away_after_some_seconds(
    loop: Loop, admission: AdmissionPlugin, metrics: Metrics
) -> None:
    await guessed(loop, admission, cpu="8")
    await replay(loop.bench, admission, metrics, "chat", Random(1))
    cores, memory, why = await successors(loop.bench, "chat", 3)
    assert cores == 8.0
    assert memory >= 5.5 * GIB * MARGIN
    assert "cpu left alone (usage may reach it yet)" in why


async def test_a_restart_forgets_no_usage(loop: Loop, admission: AdmissionPlugin, metrics: Metrics) -> None:
    bench = loop.bench
    await guessed(loop, admission)
    await replay(bench, admission, metrics, "chat", Random(1))
    cores, memory, _ = await successors(bench, "chat", 3)
    await wait_kept(bench)
    # Nothing but what was kept can tell now what the pods used.
    bench.plane.processes[PROCESS].pause()
    admission.kill_all()
    await admission.start_all(bench.api)
    again = await successors(bench, "chat", 3)
    # Until the plugin was killed it went on learning: that may move a figure by a bucket.
    assert again[:2] == pytest.approx((cores, memory), rel=BUCKET - 0.99)
    assert "cpu 250m -> " in again[2]


async def test_mode_off_changes_nothing_of_a_pod(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1)
    await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat", mode="Off")
    asked = await admission.reviews("off")
    await bench.deploy(bench.deployment("chat", labels=CAPPED))
    (pod,) = await bench.pods("chat")
    assert await admission.reviews("off") == asked + 1
    assert note(pod) == note(pod, PREDICTED_WATTS_ANNOTATION) == ""
    assert not gated(pod)


async def test_who_raises_replicas_in_mode_off_is_told_what_the_budget_carries(
    loop: Loop, admission: AdmissionPlugin
) -> None:
    bench = loop.bench
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat", mode="Off")
    await loop.set_demand("chat", 2)
    await bench.deploy(bench.deployment("chat", replicas=2, labels=CAPPED))
    await loop.wait_grant("chat", 2)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 2))
    await loop.set_demand("chat", 3)
    await loop.wait_binding("chat", budget)
    words = f"PowerBudget {budget} carries 2 of 5 replicas; policy chat is in mode Off, so these replicas start anyway"
    wish = ("scale", "deployment", "chat", f"--namespace={bench.namespace}", "--replicas=5", "--dry-run=server")
    last = Said(status=0, text="")

    async def told() -> bool:
        nonlocal last
        last = await kubectl(bench.plane, *wish)
        return f"Warning: {words}" in last.text

    await wait_for(told, what=f"kubectl prints {words}", describe=lambda: last.text)
