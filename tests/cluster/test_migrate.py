"""Pods that move from a rack that is nearly used up to one with headroom, beside real controllers.

Both budgets, every pod and every migration are watched: what never holds here held at no instant.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.installation import Installation
from tests.cluster.kserve_scene import running_actuators
from tests.cluster.loop import Loop
from tests.cluster.racks import MOVE_SECONDS, PHASES, REPLICAS, Racks


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, lws: None, installation: Installation) -> Iterator[Actuators]:
    with running_actuators(plane, installation) as made:
        yield made


@pytest.fixture
async def racks(loop: Loop, actuators: Actuators, admission: AdmissionPlugin) -> Racks:
    return Racks(loop, admission)


async def test_a_pod_moves_to_the_rack_with_headroom_inside_both_budgets(racks: Racks) -> None:
    await racks.open()
    async with racks.watching() as watch:
        pod = await racks.move("mine", "a")
        one = await racks.ended(watch, "mine")
        await racks.wait_clean()
    assert watch.phases["mine"] == [*PHASES, "Succeeded"], one["status"]
    assert (len(await racks.on("a")), len(await racks.on("b")), watch.least) == (2, 1, REPLICAS)
    assert watch.stayed_inside
    assert pod["metadata"]["uid"] not in {each["metadata"]["uid"] for each in await racks.bench.pods()}
    (new,) = await racks.on("b")
    assert one["status"]["newPod"] == {
        "name": new["metadata"]["name"],
        "uid": new["metadata"]["uid"],
        "node": new["spec"]["nodeName"],
    }
    told = {each["reason"] for each in await racks.bench.events()}
    assert {"MigrationPending", "MigrationWaiting", "MigrationSucceeded"} <= told


async def test_a_service_that_nobody_scales_has_one_replica_more_for_the_while(racks: Racks) -> None:
    await racks.open_kserve()
    async with racks.watching() as watch:
        await racks.move("mine", "a")
        one = await racks.ended(watch, "mine")
        await racks.wait_clean()
    assert one["status"]["phase"] == "Succeeded", one["status"]
    assert (len(await racks.on("a")), len(await racks.on("b")), watch.least) == (2, 1, REPLICAS)
    assert watch.stayed_inside


async def test_a_pod_disruption_budget_that_forbids_keeps_the_pod_and_is_named(racks: Racks) -> None:
    await racks.open()
    spec = {"selector": {"matchLabels": {"app": "chat"}}, "maxUnavailable": 0}
    protection = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"}, "spec": spec}
    await racks.bench.apply(protection)

    async def counted() -> bool:
        found = await racks.bench.api.get("policy/v1", "PodDisruptionBudget", "all", namespace=racks.bench.namespace)
        return found.get("status", {}).get("expectedPods") == REPLICAS

    await racks.bench.wait_for(counted, what="the PodDisruptionBudget counts its pods")
    async with racks.watching() as watch:
        await racks.move("mine", "a")
        one = await racks.ended(watch, "mine")
    assert (one["status"]["phase"], watch.least, len(await racks.on("a"))) == ("Failed", REPLICAS, REPLICAS)

    async def told() -> list[Object]:
        return await racks.bench.events(reason="MigrationFailed")

    (event,) = await racks.bench.wait_for(told, what="an event that says why")
    assert "PodDisruptionBudget all allows no disruption" in event["message"]


async def test_a_leader_that_dies_in_any_phase_is_followed_by_one_that_leaves_nothing_behind(
    racks: Racks, actuators: Actuators
) -> None:
    await racks.open()
    rack = "a"
    async with racks.watching() as watch:
        for phase in PHASES:
            name = phase.lower()
            await racks.move(name, rack)

            async def reached(name: str = name, phase: str = phase) -> bool:
                return phase in watch.phases.get(name, [])

            await racks.bench.wait_for(reached, what=f"{phase}, after {watch.phases}", timeout_seconds=MOVE_SECONDS)
            leader = await actuators.leader(racks.bench.api)
            leader.kill()
            one = await racks.ended(watch, name)
            await racks.wait_clean()
            assert one["status"]["phase"] == "Succeeded", (phase, one["status"])
            leader.process.restart()
            await actuators.wait_ready()
            # There and back: the racks have room for one more each.
            rack = "b" if rack == "a" else "a"
    assert watch.least == REPLICAS
    assert watch.stayed_inside
