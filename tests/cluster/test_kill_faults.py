"""What goes wrong between the actuator and the API server ends no other pod, and none twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.ceiling_scene import SETTLE_SECONDS
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import asks, first_of_each, writes
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Fault, LoseAnswer
from tests.cluster.installed import installed
from tests.cluster.loop import GROUP
from wattkeeper.api.instants import format_instant
from wattkeeper.cluster.clock import SystemClock

RECOMMENDATION = "deployment-chat"
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


async def name(bench: Bench, pods: list[Object]) -> None:
    """Says which pods have to go, as the leader of the scaler would."""
    meta: Object = {"name": RECOMMENDATION, "namespace": bench.namespace}
    head: Object = {"apiVersion": GROUP, "kind": "PowerRecommendation", "metadata": meta}
    reference = {"kind": "Deployment", "name": "chat"}
    await bench.api.apply({**head, "spec": {"scaleTargetRef": reference, "policy": "chat"}})
    named = [{"name": one["metadata"]["name"], "uid": one["metadata"]["uid"], "watts": 700} for one in pods]
    since = format_instant(SystemClock().now())
    status: Object = {
        "mode": "Kill",
        "target": {"replicas": 3},
        "lowerBound": {"replicas": 0},
        "upperBound": {"replicas": 20},
        "reason": "BudgetBinds",
        "violations": [{"type": "Budget", "since": since, "budget": "rack", "watts": 700, "pods": named}],
    }
    await bench.api.apply({**head, "status": status}, sub="status")


@pytest.mark.parametrize("fault", [Answer(status=409), Answer(status=429, retry_after=1), LoseAnswer()], ids=str)
async def test_the_pod_that_is_named_is_evicted_once_though_the_first_try_of_each_write_fails(
    bench: Bench, proxy: FaultProxy, fault: Fault
) -> None:
    await bench.add_nodes(2)
    await bench.deploy(bench.deployment("chat", replicas=3))
    rules = {"violation": {"durationSeconds": 2}, "disruption": {"maxPerHour": 3600}}
    spec = {"selector": {"matchLabels": {"app": "chat"}}, "mode": "Kill", "maxReplicas": 20, **rules}
    meta = {"name": "chat", "namespace": bench.namespace}
    await bench.apply({"apiVersion": GROUP, "kind": "PowerCappingPolicy", "metadata": meta, "spec": spec})
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
