"""A rack that is nearly used up beside one with headroom: pods move without anybody's asking for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.plane import Plane
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.kserve_scene import running_actuators
from tests.cluster.loop import Loop
from tests.cluster.racks import MOVE_SECONDS, PHASES, REPLICAS, Racks
from wattkeeper.api.power_migration import migration_name


@pytest.fixture(scope="module")
def installation(plane: Plane) -> Iterator[Installation]:
    """Wattkeeper as the chart installs it, with pods that may move as soon as they are there."""
    with installed(plane, Installation(plane, settings={"WATTKEEPER_SETTLED_SECONDS": "0"})) as made:
        yield made


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Iterator[Actuators]:
    with running_actuators(plane, installation) as made:
        yield made


@pytest.mark.usefixtures("actuators")
async def test_a_rack_that_is_nearly_used_up_gives_a_pod_to_the_rack_with_headroom(
    loop: Loop, admission: AdmissionPlugin
) -> None:
    racks = Racks(loop, admission)
    await racks.open(mode="Scale")
    watts, drawn = await loop.replica_watts(racks.app), await loop.settled_sum(racks.budgets["b"])
    before = {one["metadata"]["uid"] for one in await racks.bench.pods()}
    # Rack a is above 90 percent. With one pod more rack b is to stay below 80, with two it would not.
    await loop.set_limit(racks.budgets["a"], await loop.settled_sum(racks.budgets["a"]) / 0.97)
    await loop.set_limit(racks.budgets["b"], (drawn + 1.5 * watts) / 0.8)
    async with racks.watching() as watch:
        await racks.set_mode("Migrate")

        async def begun() -> str:
            return next(iter(watch.migrations), "")

        name = await racks.bench.wait_for(begun, what="a migration begins", timeout_seconds=MOVE_SECONDS)
        one = await racks.ended(watch, name)
        await racks.wait_clean()
    (gone,) = before - {each["metadata"]["uid"] for each in await racks.bench.pods()}
    assert name == migration_name(racks.app, gone)
    assert watch.phases == {name: [*PHASES, "Succeeded"]}, one["status"]
    assert (len(await racks.on("a")), len(await racks.on("b")), watch.least) == (2, 1, REPLICAS)
    assert watch.stayed_inside
