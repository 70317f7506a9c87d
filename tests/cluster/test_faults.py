"""What goes wrong between the actuator and the API server makes no wrong action, and none twice.

A service's history is what a watch of the API server itself shows of it, change by change; what was sent, and by which
replica, is what the proxy has let through.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actuator import Actuators
from tests.cluster.ceiling_scene import ORIGINAL, ceiling_scene
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import Asked, asks, first_of_each, watches, writes
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Break, Delay, Expire, Fault, Hang, LoseAnswer
from tests.cluster.installed import installed

WRITE_FAULTS = [
    Answer(status=409),
    Answer(status=410),
    Answer(status=429, retry_after=1),
    Answer(status=500),
    Break(),
    LoseAnswer(),
]
WATCH_FAULTS = [Answer(status=410), Answer(status=429, retry_after=1), Answer(status=500), Break(), Expire()]


def _said(fault: Fault) -> str:
    if not isinstance(fault, Answer):
        return type(fault).__name__
    return f"{fault.status}{'-retry-after' if fault.retry_after else ''}"


@pytest.fixture(scope="module")
def actuators(plane: Plane, kserve: None, proxy: FaultProxy) -> Iterator[Actuators]:
    """The actuator as the chart installs it, behind the proxy; it asks no scaler, because there is none."""
    with installed(
        plane, Actuators(plane, "127.0.0.1:1", reach=proxy.door, settings={"WATTKEEPER_SCALER_CHECK": "false"})
    ) as made:
        yield made


pytestmark = pytest.mark.usefixtures("actuators")


async def accepted(proxy: FaultProxy, bench: Bench, resource: str) -> list[Asked]:
    """Returns the changes of a resource in the test's namespace that the API server has made."""
    ours = writes(resource, namespace=bench.namespace)

    async def answered() -> bool:
        return all(one.status is not None for one in proxy.exchanges(ours))

    await bench.wait_for(answered, what=f"all writes of {resource} are answered")
    return [one.asked for one in proxy.exchanges(ours) if one.accepted]


@pytest.mark.parametrize("fault", WRITE_FAULTS, ids=_said)
async def test_a_ceiling_comes_and_goes_once_and_is_told_of_once_though_the_first_try_of_each_write_fails(
    bench: Bench, proxy: FaultProxy, fault: Fault
) -> None:
    async with ceiling_scene(bench) as scene:
        with proxy.inject(fault, first_of_each(writes(namespace=bench.namespace))) as rule:
            await scene.recommend(3)
            await scene.wait_maximum(3)
            await scene.wait_actuated("CeilingWritten")
            assert len(await scene.told("CeilingWritten")) == 1
            assert {one.resource for one in rule.hit} == {"powerrecommendations", "inferenceservices", "events"}
        with proxy.inject(fault, first_of_each(writes(namespace=bench.namespace))):
            await scene.release()
            await scene.wait_released()
            assert len(await scene.told("Restored")) == 1
        assert scene.history.maxima == [ORIGINAL, 3, ORIGINAL]
        assert len(await accepted(proxy, bench, "inferenceservices")) == 2
        assert len(await scene.told("CeilingWritten")) == 1


@pytest.mark.parametrize("fault", [Answer(status=429, retry_after=1), LoseAnswer()], ids=_said)
async def test_one_scaled_object_comes_and_goes_though_the_first_try_of_each_write_fails(
    bench: Bench, proxy: FaultProxy, fault: Fault
) -> None:
    async with ceiling_scene(bench, "external") as scene:
        with proxy.inject(fault, first_of_each(writes(namespace=bench.namespace))):
            await scene.recommend(3)
            await scene.wait_actuated("ScaledObjectMade")
            assert len(await scene.told("ScaledObjectWritten")) == 1
            await scene.release()
            await scene.wait_released()
            await scene.wait_no_scaled_object()
            assert len(await scene.told("Restored")) == 1
        assert list(scene.history.scaled_objects.values()) == [[3]]


@pytest.mark.parametrize("reaches", [False, True], ids=["before", "after"])
async def test_a_write_on_a_half_open_connection_is_given_up_and_made_once(
    bench: Bench, proxy: FaultProxy, *, reaches: bool
) -> None:
    async with ceiling_scene(bench) as scene:
        ours = writes("inferenceservices", namespace=bench.namespace)
        with proxy.inject(Hang(reaches=reaches), ours, times=1) as hung:
            await scene.recommend(3)
            await hung.wait_hit()
        assert len(await scene.told("CeilingWritten")) == 1
        assert scene.history.maxima == [ORIGINAL, 3]
        assert len(await accepted(proxy, bench, "inferenceservices")) == 1


@pytest.mark.parametrize("fault", WATCH_FAULTS, ids=_said)
async def test_what_was_missed_while_watches_failed_is_made_up_for_and_nothing_is_done_again(
    bench: Bench, proxy: FaultProxy, fault: Fault
) -> None:
    async with ceiling_scene(bench) as scene:
        await scene.recommend(5)
        await scene.wait_maximum(5)
        with proxy.inject(fault, watches()) as failing:
            proxy.break_watches(watches())
            await failing.wait_hit(20)
            await scene.recommend(3)
        await scene.wait_maximum(3)
        await scene.told("CeilingWritten")
        assert scene.history.maxima == [ORIGINAL, 5, 3]
        assert len(await accepted(proxy, bench, "inferenceservices")) == 2


async def test_a_ceiling_that_is_over_is_not_acted_on_while_its_watch_is_half_open(
    bench: Bench, proxy: FaultProxy, actuators: Actuators
) -> None:
    async with ceiling_scene(bench) as scene:
        await scene.recommend(5)
        await scene.told("CeilingWritten")
        leader = await actuators.leader(bench.api)
        with proxy.inject(Hang(), watches("powerrecommendations")):
            await scene.recommend(2)
            await scene.set_maximum(9)  # Which is seen, and would be answered with 5.
            await renewals(bench, proxy, leader.name, 5)
            assert scene.history.maxima == [ORIGINAL, 5, 9]
        proxy.cut()
        await scene.wait_maximum(2)
        assert scene.history.maxima == [ORIGINAL, 5, 9, 2]


async def test_a_leader_that_is_cut_off_writes_nothing_more_and_the_other_goes_on(
    bench: Bench, proxy: FaultProxy, actuators: Actuators
) -> None:
    async with ceiling_scene(bench) as scene:
        await scene.recommend(5)
        await scene.told("CeilingWritten")
        leader = await actuators.leader(bench.api)
        with proxy.inject(Hang(), asks(door=leader.name)):
            await scene.recommend(3)
            await scene.wait_maximum(3)
        proxy.cut(leader.name)
        await actuators.wait_ready()
        await scene.recommend(2)
        await scene.wait_maximum(2)
        assert scene.history.maxima == [ORIGINAL, 5, 3, 2]
        first, *others = [one.door for one in await accepted(proxy, bench, "inferenceservices")]
        assert first == leader.name
        assert leader.name not in others


async def test_answers_that_are_late_change_nothing_but_when(bench: Bench, proxy: FaultProxy) -> None:
    async with ceiling_scene(bench) as scene:
        with proxy.inject(Delay(seconds=0.4), lambda asked: asked.verb != "watch"):
            await scene.recommend(3)
            await scene.wait_maximum(3)
            await scene.release()
            await scene.wait_released()
        assert scene.history.maxima == [ORIGINAL, 3, ORIGINAL]
        assert len(await accepted(proxy, bench, "inferenceservices")) == 2


@pytest.mark.parametrize("fault", [Answer(status=409), LoseAnswer()], ids=_said)
async def test_a_restoration_puts_everything_back_though_the_first_try_of_each_write_fails(
    bench: Bench, proxy: FaultProxy, actuators: Actuators, fault: Fault
) -> None:
    async with ceiling_scene(bench) as scene:
        await scene.recommend(3)
        await scene.wait_maximum(3)
        with proxy.inject(fault, first_of_each(writes(door="restore"))):
            assert "everything is as it was" in await actuators.restore()
        assert scene.history.maxima == [ORIGINAL, 3, ORIGINAL]
        assert not (await scene.status()).get("actuation")
        await scene.remove_policy()
        await actuators.act_again(bench.api)


async def renewals(bench: Bench, proxy: FaultProxy, replica: str, count: int) -> None:
    """Waits until a replica has renewed its Lease so many times more: it has looked at everything more often."""
    before = len(proxy.exchanges(writes("leases", door=replica)))

    async def renewed() -> bool:
        return len(proxy.exchanges(writes("leases", door=replica))) >= before + count

    await bench.wait_for(renewed, what=f"{replica} renews its Lease {count} times")
