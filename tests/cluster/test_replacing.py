"""`rollout: Replace` at full budget, beside real controllers: an old pod goes, and a new one takes over its watts.

Every change of pods and of the budget is watched: what never holds here held at no instant.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.plane import Plane
from tests.cluster.gate_room import PLENTY, GateRoom, rolled
from tests.cluster.gate_watch import GateWatch, watching
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import Loop
from wattkeeper.cluster.disruption import DELETION_COST

# Rates begin empty with a leader and fill by the minute.
FAST = {"WATTKEEPER_DISRUPTIONS_PER_MINUTE": "600", "WATTKEEPER_DISRUPTIONS_PER_MINUTE_AND_BUDGET": "600"}
REPLACE: Object = {"rollout": "Replace", "disruption": {"maxPerHour": 3600}}
ROLL_SECONDS = 90.0


@pytest.fixture(scope="module")
def actuators(plane: Plane, installation: Installation) -> Iterator[Actuators]:
    """The actuator, for the tests of this module alone."""
    with installed(plane, Actuators(plane, installation.address, settings=FAST)) as made:
        yield made


@pytest.fixture
async def room(loop: Loop, admission: AdmissionPlugin, actuators: Actuators) -> GateRoom:
    await loop.nodes(1)
    made = GateRoom(loop, await loop.budget("all", PLENTY))
    await admission.start_all(loop.bench.api)
    await admission.opt_in(loop.bench.api, loop.bench.namespace)
    return made


async def rolled_over(room: GateRoom, replicas: int) -> GateWatch:
    """Rolls the service with watts for the replicas that it has, waits until all are new, and returns what was seen."""
    await room.limit_to(replicas, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.roll("chat")
        await watch.until(
            lambda: watch.settled("chat", ready=replicas) and rolled(watch.ready("chat")),
            what=f"{replicas} new replicas serve",
            timeout_seconds=ROLL_SECONDS,
        )
    return watch


async def deployed(room: GateRoom) -> Object:
    found = await room.bench.api.get("apps/v1", "Deployment", "chat", namespace=room.bench.namespace)
    return found["spec"]


async def wait_clean(room: GateRoom) -> None:
    """Waits until nothing is left of what was done for the rollout."""

    async def clean() -> bool:
        found = await room.loop.recommendation("chat")
        noted = found["status"].get("actuation", {}).get("kill")
        costs = [one for one in await room.bench.pods() if DELETION_COST in one["metadata"].get("annotations", {})]
        return not noted and not costs and not holds(found, "RolloutBlocked") and not holds(found, "ReplaceBlocked")

    await room.bench.wait_for(clean, what="nothing is left of the rollout")


async def test_a_single_replica_goes_before_the_new_one_comes(room: GateRoom) -> None:
    await room.rolling("chat", replicas=1)
    await room.loop.policy("chat", **REPLACE)
    before = await deployed(room)
    watch = await rolled_over(room, 1)
    await wait_clean(room)
    assert (watch.most_out, watch.most_missing) == (1, 1)
    assert watch.stayed_inside
    after = await deployed(room)
    assert (after["replicas"], after["strategy"]) == (before["replicas"], before["strategy"])
    assert len(await room.bench.events(reason="PodEvicted")) == 1


async def test_three_replicas_that_nobody_scales_go_one_by_one(room: GateRoom) -> None:
    await room.service("chat")
    await room.loop.policy("chat", demand=None, **REPLACE)
    await room.bench.scale("chat", 3)
    await room.loop.wait_running("chat", 3)
    await room.loop.wait_grant("chat", 3)
    before = await deployed(room)
    watch = await rolled_over(room, 3)
    await wait_clean(room)
    assert (watch.most_out, watch.most_missing) == (3, 1)
    assert watch.stayed_inside
    after = await deployed(room)
    assert (after["replicas"], after["strategy"]) == (before["replicas"], before["strategy"])
    assert await room.bench.events(reason="PodEvicted")
