"""How many pods are evicted in a second under limits, and what that costs: `python -m tests.perf.evictions`.

1,000 services have a pod each that slipped past the gate, and its time is up. The cluster is in memory and its clock is
turned by hand, so the rate is that of limits, notes and passes; an API server's own time comes on top. The Vertical Pod
Autoscaler evicts about 10 pods a second.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from msgspec import structs

from kserve_hooks.rates import RateOptions
from tests.perf.rows import Row, at_most, report
from tests.unit.kserve_hooks.pods_scene import NAMESPACE, pod
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_recommendation import ViolatingPod, Violation
from wattkeeper.cluster.objects import Node, Pod

SERVICES: Final = 1000
PER_SECOND: Final = 10.0
SECONDS: Final = 60.0
PASS_SECONDS: Final = 2.0
COMMAND: Final = "python -m tests.perf.evictions"


async def fill(world: World) -> None:
    """Makes the services, their pods, and what the leader says of them."""
    world.policy(mode="Kill")
    world.cluster.create(Node(metadata=ObjectMeta(name="n1")))
    since = format_instant(world.clock.now() - 3600.0)
    for number in range(SERVICES):
        name = f"chat-{number}"
        world.workload(name)
        world.cluster.create(pod(f"{name}-pod", service=name))
        await world.recommend(1, name=name, mode="Kill")
        found = world.recommendation(name)
        named = ViolatingPod(name=f"{name}-pod", uid=f"uid-{name}-pod", watts=700.0)
        violation = Violation(type="Slipped", since=since, pods=(named,))
        status = structs.replace(found.status, violations=(violation,), slipped_pods=1)
        await world.cluster.write_status(structs.replace(found, status=status))


def pods_left(world: World) -> int:
    """Returns how many pods there are still."""
    return sum(one.metadata.namespace == NAMESPACE for one in world.cluster.objects.all(Pod).values())


async def measure() -> list[Row]:
    """Lets the actuator evict for a minute of the cluster's time."""
    rates = RateOptions(per_minute=PER_SECOND * 60.0, per_minute_and_budget=PER_SECOND * 60.0)
    world = World(replace(OPTIONS, plan=replace(OPTIONS.plan, rates=rates)))
    await world.start()
    await fill(world)
    await world.service.act()
    # Each service may evict 12 pods an hour, and had saved none up.
    await world.wait(300.0)
    spent: list[float] = []
    before = pods_left(world)
    for _ in range(int(SECONDS / PASS_SECONDS)):
        await world.wait(PASS_SECONDS)
        started = time.process_time()
        await world.service.act()
        spent.append(time.process_time() - started)
    rate = (before - pods_left(world)) / SECONDS
    name = "evictions, 1,000 due, limit 10/s"
    return [
        at_most(f"{name}: per second", rate, "1/s", PER_SECOND, COMMAND),
        at_most(f"{name}: seconds behind the limit", behind(rate), "s", 6.0, COMMAND),
        at_most(f"{name}: slowest pass, processor time", max(spent), "s", PASS_SECONDS, COMMAND),
    ]


def behind(rate: float) -> float:
    """Returns for how many of the minute's seconds the limit was not used: a note goes before each eviction."""
    return SECONDS * (1.0 - rate / PER_SECOND)


def main() -> None:
    """Measures, and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="add the rows to this file")
    report(asyncio.run(measure()), parser.parse_args().json)


if __name__ == "__main__":
    main()
