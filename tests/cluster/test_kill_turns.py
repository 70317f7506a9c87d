"""Whose turn it is where several pods have to go. No scaler runs: the test says what its leader would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import asks
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.installed import installed
from tests.cluster.loop import GROUP
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_capping_policy import Mode
from wattkeeper.cluster.clock import SystemClock

# Longer than any policy waits.
LONG_AGO = "2020-01-01T00:00:00Z"
MODES: tuple[Mode, ...] = ("Off", "Initial", "Scale", "Migrate", "Kill")
FAST = {
    # Rates begin empty with a leader and fill by the minute.
    "WATTKEEPER_DISRUPTIONS_PER_MINUTE": "600",
    # There is no scaler to be asked, and one decision has to do for a test.
    "WATTKEEPER_SCALER_CHECK": "false",
    "WATTKEEPER_STALE_SECONDS": "3600",
}


@pytest.fixture(scope="module")
def actuators(plane: Plane, proxy: FaultProxy) -> Iterator[Actuators]:
    """The actuator as the chart installs it, behind the proxy, which keeps what it asks for."""
    with installed(plane, Actuators(plane, "127.0.0.1:1", reach=proxy.door, settings=FAST)) as made:
        yield made


pytestmark = pytest.mark.usefixtures("actuators")


async def decide(bench: Bench) -> None:
    """Has the leader of the scaler have decided: without a budget that says so no pod goes."""
    head: Object = {"apiVersion": GROUP, "kind": "PowerBudget", "metadata": {"name": f"{bench.namespace}-all"}}
    await bench.apply({**head, "spec": {"limitWatts": 1000}})
    await bench.api.apply({**head, "status": {"lastEvaluated": format_instant(SystemClock().now())}}, sub="status")


async def cap(bench: Bench, app: str, mode: Mode) -> None:
    """Applies a policy for a Deployment."""
    rules = {"disruption": {"maxPerHour": 3600}, "performancePower": {"tokensPerJoule": 1.0}}
    spec = {"selector": {"matchLabels": {"app": app}}, "mode": mode, "maxReplicas": 20, **rules}
    await bench.apply({"apiVersion": GROUP, "kind": "PowerCappingPolicy", "metadata": {"name": app}, "spec": spec})


async def tell(bench: Bench, app: str, mode: Mode, violations: dict[str, Object]) -> None:
    """Says of one pod each that it has violated something for long, as the leader of the scaler would."""
    meta: Object = {"name": f"deployment-{app}", "namespace": bench.namespace}
    head: Object = {"apiVersion": GROUP, "kind": "PowerRecommendation", "metadata": meta}
    reference = {"kind": "Deployment", "name": app}
    await bench.api.apply({**head, "spec": {"scaleTargetRef": reference, "policy": app}})
    said = [
        {"type": type_, "since": LONG_AGO, "watts": 700, "pods": [{"name": pod["name"], "uid": pod["uid"]}]}
        for type_, pod in violations.items()
    ]
    bounds = {"lowerBound": {"replicas": 0}, "target": {"replicas": 2}, "upperBound": {"replicas": 20}}
    status: Object = {"mode": mode, **bounds, "reason": "DemandMet", "slippedPods": 1, "violations": said}
    await bench.api.apply({**head, "status": status}, sub="status")


async def test_a_pod_that_slipped_past_the_gate_goes_before_others_and_in_mode_kill_alone(
    bench: Bench, proxy: FaultProxy
) -> None:
    await bench.add_nodes(2)
    await decide(bench)
    for mode in MODES:
        await bench.deploy(bench.deployment(mode.lower(), replicas=2), wait=False)
        await cap(bench, mode.lower(), mode)
    slipped = ""
    # Mode Kill comes last: when its pod is gone, those of the others have had their time.
    for mode in MODES:
        await bench.wait_ready(mode.lower(), 2)
        wasteful, late = [one["metadata"] for one in await bench.pods(mode.lower())]
        slipped = late["uid"]
        await tell(bench, mode.lower(), mode, {"Performance": wasteful, "Slipped": late})

    async def gone() -> bool:
        return slipped not in {one["metadata"]["uid"] for one in await bench.pods("kill")}

    async def told() -> list[Object]:
        return await bench.events(reason="PodEvicted")

    await bench.wait_for(gone, what="the pod that slipped past is gone")
    (event,) = await bench.wait_for(told, what="an event PodEvicted")
    assert "it slipped past the gate" in event["message"]
    evictions = proxy.exchanges(asks(resource="pods", subresource="eviction", namespace=bench.namespace))
    assert [one.asked.sent["deleteOptions"]["preconditions"]["uid"] for one in evictions] == [slipped]
