"""What goes wrong between the actuator and the API server ends no other pod, and none twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.ceiling_scene import SETTLE_SECONDS
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import Which, asks, first_of_each, writes
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Fault, Hang, LoseAnswer, Rule
from tests.cluster.installed import installed
from tests.cluster.loop import GROUP
from wattkeeper.api.instants import format_instant
from wattkeeper.cluster.actuation import ACTUATOR_MANAGER
from wattkeeper.cluster.clock import SystemClock

APPLY = "application/apply-patch+yaml"
# Rates begin empty with a leader and fill by the minute; no test shall wait for that.
FAST = {
    "WATTKEEPER_SCALER_CHECK": "false",
    "WATTKEEPER_DISRUPTIONS_PER_MINUTE": "600",
    "WATTKEEPER_DISRUPTIONS_PER_MINUTE_AND_BUDGET": "600",
    # No scaler runs, and one decision has to do for a test.
    "WATTKEEPER_STALE_SECONDS": "3600",
}


@pytest.fixture(scope="module")
def actuators(plane: Plane, proxy: FaultProxy) -> Iterator[Actuators]:
    """The actuator as the chart installs it, behind the proxy; it asks no scaler, because there is none."""
    with installed(plane, Actuators(plane, "127.0.0.1:1", reach=proxy.door, settings=FAST)) as made:
        yield made


pytestmark = pytest.mark.usefixtures("actuators", "decided")


@pytest.fixture
async def decided(bench: Bench) -> None:
    """Has the leader of the scaler have decided: without a budget that says so, no pod is evicted."""
    head: Object = {"apiVersion": GROUP, "kind": "PowerBudget", "metadata": {"name": "rack"}}
    await bench.apply({**head, "spec": {"limitWatts": 1000}})
    await bench.api.apply({**head, "status": {"lastEvaluated": format_instant(SystemClock().now())}}, sub="status")


async def cap(bench: Bench, *, mode: str, labels: Mapping[str, str]) -> None:
    """Applies a policy for the services with these labels, with little patience."""
    rules = {"violation": {"durationSeconds": 2}, "disruption": {"maxPerHour": 3600}}
    spec = {"selector": {"matchLabels": dict(labels)}, "mode": mode, "maxReplicas": 20, **rules}
    meta = {"name": "chat", "namespace": bench.namespace}
    await bench.apply({"apiVersion": GROUP, "kind": "PowerCappingPolicy", "metadata": meta, "spec": spec})


async def recommend(bench: Bench, app: str, *, mode: str, violations: Sequence[Object] = ()) -> None:
    """Says what the leader of the scaler would."""
    meta: Object = {"name": f"deployment-{app}", "namespace": bench.namespace}
    head: Object = {"apiVersion": GROUP, "kind": "PowerRecommendation", "metadata": meta}
    reference = {"kind": "Deployment", "name": app}
    await bench.api.apply({**head, "spec": {"scaleTargetRef": reference, "policy": "chat"}})
    status: Object = {
        "mode": mode,
        "target": {"replicas": 3},
        "lowerBound": {"replicas": 0},
        "upperBound": {"replicas": 20},
        "reason": "BudgetBinds",
        "violations": list(violations),
    }
    await bench.api.apply({**head, "status": status}, sub="status")


async def name(bench: Bench, pods: list[Object]) -> None:
    """Says which pods have to go, as the leader of the scaler would."""
    named = [{"name": one["metadata"]["name"], "uid": one["metadata"]["uid"], "watts": 700} for one in pods]
    since = format_instant(SystemClock().now())
    violation = {"type": "Budget", "since": since, "budget": "rack", "watts": 700, "pods": named}
    await recommend(bench, "chat", mode="Kill", violations=[violation])


@pytest.mark.parametrize("fault", [Answer(status=409), Answer(status=429, retry_after=1), LoseAnswer()], ids=str)
async def test_the_pod_that_is_named_is_evicted_once_though_the_first_try_of_each_write_fails(
    bench: Bench, proxy: FaultProxy, fault: Fault
) -> None:
    await bench.add_nodes(2)
    await bench.deploy(bench.deployment("chat", replicas=3))
    await cap(bench, mode="Kill", labels={"app": "chat"})
    before = {one["metadata"]["uid"]: one for one in await bench.pods()}
    victim = next(iter(before))

    async def gone() -> bool:
        there = [one for one in await bench.pods() if "deletionTimestamp" not in one["metadata"]]
        return victim not in {one["metadata"]["uid"] for one in there}

    async def told() -> list[Object]:
        return await bench.events(reason="PodEvicted")

    with proxy.inject(fault, first_of_each(writes(namespace=bench.namespace))) as rule:
        await name(bench, [before[victim]])
        await bench.wait_for(gone, what="the named pod goes", timeout_seconds=2 * SETTLE_SECONDS)
        await name(bench, [])
        await bench.wait_for(told, what="an event PodEvicted", timeout_seconds=SETTLE_SECONDS)
        assert "eviction" in {one.subresource for one in rule.hit}
    evictions = proxy.exchanges(asks(resource="pods", subresource="eviction", namespace=bench.namespace))
    assert {one.asked.name for one in evictions} == {before[victim]["metadata"]["name"]}
    assert sum(one.accepted for one in evictions) == 1
    left = {one["metadata"]["uid"] for one in await bench.pods()}
    assert before.keys() - {victim} <= left
    assert len(await told()) == 1


async def shrink(bench: Bench, app: str) -> Object:
    """Makes a migration whose old pod should have gone with its surge long ago, and returns that pod."""
    old, new, _ = await bench.pods(app)
    meta: Object = {"name": app, "namespace": bench.namespace}
    head: Object = {"apiVersion": GROUP, "kind": "PowerMigration", "metadata": meta}
    reference = {"kind": "Deployment", "name": app}
    await bench.api.apply({**head, "spec": {"scaleTargetRef": reference, "pod": _reference(old), "budget": "rack"}})
    since = format_instant(SystemClock().now() - 600.0)
    status: Object = {"phase": "Shrinking", "since": since, "message": "", "replicas": 2, "newPod": _reference(new)}
    path = await bench.api.path(GROUP, "PowerMigration", namespace=bench.namespace, name=app, sub="status")
    query = {"fieldManager": ACTUATOR_MANAGER, "force": "true"}
    await bench.api.request("PATCH", path, {**head, "status": status}, content_type=APPLY, query=query)
    return old


def _reference(pod: Object) -> Object:
    return {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


MOVES: dict[str, Fault] = {
    "conflict": Answer(status=409),
    "expired": Answer(status=410),
    "throttled": Answer(status=429, retry_after=1),
    "failing": Answer(status=500),
    "lost": LoseAnswer(),
    "silent": Hang(reaches=True),
}


async def test_the_old_pod_of_a_migration_that_no_autoscaler_takes_is_evicted_once_though_the_first_try_fails(
    bench: Bench, proxy: FaultProxy, actuators: Actuators
) -> None:
    await bench.add_nodes(3)
    for app in MOVES:
        await bench.deploy(bench.deployment(app, replicas=3, labels={"moves": "yes"}), wait=False)
        await recommend(bench, app, mode="Migrate")
    await cap(bench, mode="Migrate", labels={"moves": "yes"})
    for app in MOVES:
        await bench.wait_ready(app, 3)
    before = {one["metadata"]["uid"] for one in await bench.pods()}

    def evictions(pod: Object) -> Which:
        return asks(resource="pods", subresource="eviction", namespace=bench.namespace, name=pod["metadata"]["name"])

    async def over() -> bool:
        found = await bench.api.list(GROUP, "PowerMigration", namespace=bench.namespace)
        return {one["metadata"]["name"]: one["status"]["phase"] for one in found} == dict.fromkeys(MOVES, "Succeeded")

    old: dict[str, Object] = {}
    rules: dict[str, Rule] = {}
    with ExitStack() as failing:
        # Nobody looks before all are there: one without a phase would be taken for a new one.
        for replica in actuators.replicas:
            replica.process.pause()
            failing.callback(replica.process.resume)
        for app, fault in MOVES.items():
            old[app] = await shrink(bench, app)
            rules[app] = failing.enter_context(proxy.inject(fault, evictions(old[app]), times=1))
        for replica in actuators.replicas:
            replica.process.resume()
        await bench.wait_for(over, what="all migrations are over", timeout_seconds=3 * SETTLE_SECONDS)
    for app, pod in old.items():
        assert len(rules[app].hit) == 1, app
        assert sum(one.accepted for one in proxy.exchanges(evictions(pod))) == 1, app
    everywhere = proxy.exchanges(asks(resource="pods", subresource="eviction", namespace=bench.namespace))
    assert {one.asked.name for one in everywhere} == {one["metadata"]["name"] for one in old.values()}
    left = {one["metadata"]["uid"] for one in await bench.pods()}
    assert before - left == {one["metadata"]["uid"] for one in old.values()}
