"""What goes wrong between Wattkeeper and the API server moves no other pod, and none twice.

Every step of a migration fails at its first try, for each service in a way of its own, all at once: so nobody's trouble
is another's either. What was done is what a watch of the API server shows, and what the proxy has let through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import Asked, Which, first_of_each
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Break, Fault, Hang, LoseAnswer, Rule
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import Loop
from tests.cluster.moving import REPLICAS, Moving
from tests.cluster.racks import MOVE_SECONDS, PHASES
from tests.cluster.test_migrate_kserve import FAST

RAISED, LOWERED = f"minReplicas {REPLICAS + 1}", f"minReplicas {REPLICAS}"
DONE = {"held", "Reserved", RAISED, "gate", "cost", LOWERED, *PHASES, "Succeeded", "let go"}
"""All that a migration of a service that nobody scales writes."""
HANGING = {"silent": {"Reserved", RAISED, "gate", "cost"}}
"""Of these those that hang: each costs as long as a client waits for an answer."""
FAULTS: dict[str, Fault] = {
    "conflict": Answer(status=409),
    "expired": Answer(status=410),
    "throttled": Answer(status=429, retry_after=1),
    "failing": Answer(status=500),
    "broken": Break(),
    "lost": LoseAnswer(),
    "silent": Hang(reaches=True),
}
"""What befalls each service."""


@pytest.fixture(scope="module")
def installation(plane: Plane, proxy: FaultProxy) -> Iterator[Installation]:
    """Wattkeeper as the chart installs it, behind the proxy."""
    with installed(plane, Installation(plane, reach=proxy.door)) as made:
        yield made


@pytest.fixture(scope="module")
def actuators(
    plane: Plane, kserve: None, lws: None, proxy: FaultProxy, installation: Installation
) -> Iterator[Actuators]:
    """The actuator as the chart installs it, behind the proxy."""
    with installed(plane, Actuators(plane, installation.address, reach=proxy.door, settings=FAST)) as made:
        yield made


def step(asked: Asked) -> str:
    """Returns what a write does for a migration, its resource where that is nothing in particular."""
    sent = asked.sent
    match asked.resource, asked.subresource:
        case "pods", "":
            return "gate" if any("schedulingGates" in one["path"] for one in sent) else "cost"
        case "pods", "eviction":
            return "eviction"
        case "inferenceservices", "":
            return f"minReplicas {sent['spec']['predictor'].get('minReplicas')}"
        case "powermigrations", "status":
            status = sent["status"]
            return status.get("phase") or status["reservation"]["state"]
        case "powermigrations", "":
            return "held" if sent.get("metadata", {}).get("finalizers") else "let go"
        case _:
            return f"{asked.resource} {asked.query.get('fieldManager', '')}"


def about(service: str, namespace: str, steps: Collection[str] = ()) -> Which:
    """Means writes that are about a service, or some steps of them: all that belongs to it is named after it."""

    def meant(asked: Asked) -> bool:
        if asked.namespace != namespace or not asked.writes:
            return False
        name: str = asked.name or asked.sent["metadata"]["name"]
        return name.removeprefix("deployment-").startswith(service) and (not steps or step(asked) in steps)

    return meant


@pytest.mark.usefixtures("actuators")
async def test_each_pod_moves_once_though_the_first_try_of_each_write_fails(
    loop: Loop, admission: AdmissionPlugin, proxy: FaultProxy
) -> None:
    moving, namespace = Moving(loop, admission), loop.bench.namespace
    await moving.open({name: {"autoscaler": "none"} for name in FAULTS})
    earlier = len(proxy.exchanges())
    rules: dict[str, Rule] = {}
    with ExitStack() as failing:
        for name, fault in FAULTS.items():
            first = first_of_each(about(name, namespace, HANGING.get(name, ())), step)
            rules[name] = failing.enter_context(proxy.inject(fault, first))
        async with moving.watching(FAULTS) as seen:
            old = {name: (await moving.move(name))["metadata"] for name in FAULTS}
            await moving.wait_over(seen, timeout_seconds=2 * MOVE_SECONDS)
    for name, one in seen.items():
        assert {step(asked) for asked in rules[name].hit} >= HANGING.get(name, DONE), name
        assert (one.phases, one.minima) == ([*PHASES, "Succeeded"], [REPLICAS, REPLICAS + 1, REPLICAS]), name
        assert one.least == REPLICAS, name
        (new,) = one.born[REPLICAS:]
        assert one.pods.keys() == {*one.born} - {old[name]["uid"]}, name
        assert await moving.rack_of(one.pods[new]) == "b", name
        which = about(name, namespace)
        made = [each.asked for each in proxy.exchanges()[earlier:] if each.accepted and which(each.asked)]
        once = Counter(what for each in made if (what := step(each)) in (RAISED, LOWERED, "gate", "cost", "eviction"))
        assert once == dict.fromkeys((RAISED, LOWERED, "gate", "cost"), 1), name
        assert [each.name for each in made if step(each) == "cost"] == [old[name]["name"]], name
