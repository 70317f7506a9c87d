"""Pods of services that KServe scales move: minReplicas gives them one replica more for the while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.metrics import Metrics
from tests.cluster.controlplane.plane import Plane
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import Loop
from tests.cluster.moving import REPLICAS, Moving
from tests.cluster.racks import PHASES

# Rates begin empty with a leader and fill by the minute; no test shall wait for that.
FAST = {"WATTKEEPER_DISRUPTIONS_PER_MINUTE": "600", "WATTKEEPER_DISRUPTIONS_PER_MINUTE_AND_BUDGET": "600"}


@pytest.fixture(scope="module")
def actuators(
    plane: Plane, kserve: None, lws: None, metrics: Metrics, installation: Installation
) -> Iterator[Actuators]:
    """The actuator, beside KServe and all that its autoscalers ask."""
    with installed(plane, Actuators(plane, installation.address, settings=FAST)) as made:
        yield made


def keda_metric(prometheus_url: str | None) -> Object:
    """Returns a metric that asks for as many replicas as there are."""
    metric = {"backend": "prometheus", "serverAddress": prometheus_url, "query": f"vector({REPLICAS * 10 - 5})"}
    return {
        "type": "External",
        "external": {"metric": metric, "target": {"type": "Value", "value": "10"}},
    }


@pytest.mark.usefixtures("actuators")
async def test_pods_of_services_that_kserve_scales_move_through_min_replicas_where_the_policy_lets_it(
    loop: Loop, admission: AdmissionPlugin
) -> None:
    moving = Moving(loop, admission)
    most = {"maxReplicas": REPLICAS + 1}
    keda = {**most, "autoScaling": {"metrics": [keda_metric(loop.bench.plane.prometheus_url)]}}
    services = {
        "hpa": {"autoscaler": "hpa", **most},
        "unset": most,
        "keda": {"autoscaler": "keda", **keda},
        "bound": {"autoscaler": "hpa", **most},
    }
    await moving.open(services, bound=["bound"])
    async with moving.watching(services) as seen:
        old = {name: (await moving.move(name))["metadata"]["uid"] for name in services}
        await moving.wait_over(seen)
    stays = seen["bound"]
    assert (stays.phases, stays.reason, stays.minima) == (["Failed"], "RaisingForbidden", [REPLICAS])
    assert old["bound"] in stays.pods
    for name in ("hpa", "unset", "keda"):
        one = seen[name]
        assert (one.phases, one.minima) == ([*PHASES, "Succeeded"], [REPLICAS, REPLICAS + 1, REPLICAS]), name
        assert one.least == REPLICAS, name
        (new,) = one.born[REPLICAS:]
        assert one.pods.keys() == {*one.born} - {old[name]}, name
        assert one.status["newPod"]["uid"] == new, name
        assert await moving.rack_of(one.pods[new]) == "b", name
