"""The power gate on the real control plane: pods that wait for watts, and pods that slip past."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object
from tests.cluster.gate_room import PLENTY, GateRoom, rolled
from tests.cluster.gate_watch import ROUNDING_WATTS, watching
from tests.cluster.loop import Loop


@pytest.fixture
async def room(loop: Loop, admission: AdmissionPlugin) -> GateRoom:
    await loop.nodes(3)
    made = GateRoom(loop, await loop.budget("all", PLENTY))
    await admission.start_all(loop.bench.api)
    await admission.opt_in(loop.bench.api, loop.bench.namespace)
    return made


async def test_of_fifty_pods_at_once_those_start_that_there_are_watts_for(room: GateRoom) -> None:
    """Twenty at most at any instant; others follow as watts come free, the higher priority first."""
    await asyncio.gather(room.service("chat", priority=100), room.service("batch"))
    await room.limit_to(20, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:

        def twenty_serve() -> bool:
            return watch.settled("chat", ready=20, waiting=10) and watch.settled("batch", ready=0, waiting=20)

        await room.bench.scale("chat", 30)
        await room.bench.scale("batch", 20)
        await watch.until(twenty_serve, what="twenty of fifty pods serve")
        for pod in watch.ready("chat")[:5]:
            await room.bench.api.delete("v1", "Pod", pod["metadata"]["name"], namespace=room.bench.namespace)
        await watch.until(
            lambda: len(watch.departures) == 25 and twenty_serve(), what="five that waited took the place of five"
        )
        await room.bench.scale("chat", 12)
        await watch.until(
            lambda: watch.settled("chat", ready=12) and watch.settled("batch", ready=8, waiting=12),
            what="the lower priority has what the higher one left",
        )
    assert watch.most_out <= 20
    assert watch.stayed_inside
    assert not [one for one in watch.departures if one.app == "batch" and one.waiting["chat"]]


async def test_when_the_leader_dies_with_pods_at_the_gate_the_next_one_grants(room: GateRoom) -> None:
    await room.service("chat")
    await room.limit_to(4, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.bench.scale("chat", 8)
        await watch.until(lambda: watch.settled("chat", ready=4, waiting=4), what="four pods wait")
        more = await room.limit_for(6, of="chat")
        leader = await room.loop.installation.leader(room.bench.api)
        leader.kill()

        async def taken_over() -> bool:
            return (await room.figures()).value("wattkeeper_warm") == 1.0

        await room.bench.wait_for(taken_over, what="the next leader decides", timeout_seconds=60)
        assert watch.settled("chat", ready=4, waiting=4)
        await room.set_limit(more)
        await watch.until(lambda: watch.settled("chat", ready=6, waiting=2), what="the next leader grants two more")
    assert watch.most_out <= 6
    assert watch.stayed_inside


async def test_a_pod_that_waits_says_for_what_and_since_when(room: GateRoom) -> None:
    await room.service("chat")
    await room.limit_to(1, of="chat")
    await room.bench.scale("chat", 2)

    async def said() -> Object | None:
        status = await room.loop.status("chat")
        return status if status.get("waitingPods") and await room.loop.grant("chat") == 1 else None

    status = await room.bench.wait_for(said, what="a pod is said to wait", timeout_seconds=60)
    assert status is not None
    (waiting,) = status["waitingPods"]
    pod = await room.bench.api.get("v1", "Pod", waiting["name"], namespace=room.bench.namespace)
    assert (waiting["budget"], waiting["since"]) == (room.budget, pod["metadata"]["creationTimestamp"])
    # The limit leaves half a replica's watts.
    assert abs(waiting["missingWatts"] - status["replicaWatts"] / 2) <= status["replicaWatts"] / 10

    async def told() -> Object | None:
        events = await room.bench.events(reason="WaitingForWatts")
        return next((one for one in events if one["involvedObject"]["name"] == waiting["name"]), None)

    event = await room.bench.wait_for(told, what="an Event of the pod says so")
    assert event is not None
    assert f"PowerBudget {room.budget} lacks" in event["message"]


async def test_pods_that_slip_past_a_dead_webhook_start_and_take_their_watts(
    room: GateRoom, admission: AdmissionPlugin
) -> None:
    """They are counted, told of and charged, so that nobody else is let out into their watts."""
    await asyncio.gather(room.service("chat"), room.service("batch"))
    await room.limit_to(6, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.bench.scale("chat", 2)
        await room.bench.scale("batch", 2)
        await watch.until(lambda: watch.settled("chat", ready=2) and watch.settled("batch", ready=2), what="four serve")
        before = await room.settled("chat")
        admission.kill_all()
        await room.bench.scale("chat", 4)
        await watch.until(lambda: watch.settled("chat", ready=4), what="two start without having been asked about")

        async def found() -> bool:
            return (await room.loop.status("chat")).get("slippedPods") == 2

        await room.bench.wait_for(found, what="two pods are said to have slipped past")
        after = await room.settled("chat")
        assert abs(after.guarded - before.guarded - 2 * after.replica) <= ROUNDING_WATTS
        assert (await room.figures()).value("wattkeeper_service_slipped_pods", service="chat") == 2.0

        async def told() -> bool:
            return (
                len({one["involvedObject"]["name"] for one in await room.bench.events(reason="AdmittedUngated")}) == 2
            )

        await room.bench.wait_for(told, what="an Event of each says so")

        await admission.start_all(room.bench.api)
        await room.bench.scale("batch", 4)
        await room.loop.wait_condition("batch", "PodsWaiting")
        assert watch.settled("batch", ready=2, waiting=2)
        await room.bench.scale("chat", 2)
        await watch.until(lambda: watch.settled("batch", ready=4), what="the others start when those have gone")
    assert watch.stayed_inside


async def test_a_service_of_three_rolls_at_full_budget_within_its_own_watts(room: GateRoom) -> None:
    await room.rolling("chat", replicas=3)
    await room.limit_to(3, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.roll("chat")
        await watch.until(
            lambda: watch.settled("chat", ready=3) and rolled(watch.ready("chat")),
            what="three new replicas serve",
            timeout_seconds=120,
        )
    assert watch.most_out <= 3
    assert watch.stayed_inside


async def test_a_single_replica_rolls_at_full_budget_at_the_cost_of_a_lower_priority(room: GateRoom) -> None:
    await asyncio.gather(room.rolling("chat", replicas=1, priority=100), room.rolling("batch", replicas=2))
    await room.limit_to(1, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.roll("chat")
        await watch.until(
            lambda: watch.settled("chat", ready=1) and rolled(watch.ready("chat")),
            what="the new replica serves",
            timeout_seconds=120,
        )
        await watch.until(lambda: watch.settled("batch", ready=2), what="the lower priority has its watts back")
    assert watch.most_out <= 3
    assert watch.stayed_inside


async def test_a_single_replica_that_nobody_makes_room_for_says_so_and_rolls_when_it_can(room: GateRoom) -> None:
    await room.rolling("chat", replicas=1)
    await room.limit_to(1, of="chat")
    async with watching(room.bench.api, room.bench.namespace, room.budget) as watch:
        await room.roll("chat")
        await room.loop.wait_condition("chat", "RolloutBlocked")
        assert watch.settled("chat", ready=1, waiting=1)
        assert not rolled(watch.ready("chat"))
        await room.limit_to(2, of="chat")
        await watch.until(
            lambda: watch.settled("chat", ready=1) and rolled(watch.ready("chat")), what="the new replica serves"
        )
    assert watch.most_out <= 2
    assert watch.stayed_inside
