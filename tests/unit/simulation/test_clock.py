"""Virtual time: it stands still while anybody works, and wakes one at a time, in order."""

from __future__ import annotations

import asyncio

from wattkeeper.simulation.clock import SteppedClock


async def test_time_jumps_to_the_earliest_wake_up_when_all_wait() -> None:
    clock = SteppedClock(100.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    with clock.hold():
        tasks = [clock.start(sleeper(name, seconds), name=name, rank=0) for name, seconds in (("b", 3600), ("a", 2))]
    await asyncio.gather(*tasks)

    assert woken == [("a", 102.0), ("b", 3700.0)]


async def test_time_stands_still_while_a_participant_works_in_real_time() -> None:
    clock = SteppedClock(0.0)
    seen: list[float] = []

    async def slow() -> None:
        await clock.sleep(1)
        await asyncio.sleep(0.005)
        seen.append(clock.now())

    async def quick() -> None:
        for _ in range(5):
            await clock.sleep(1)

    with clock.hold():
        tasks = [clock.start(slow(), name="slow", rank=0), clock.start(quick(), name="quick", rank=1)]
    await asyncio.gather(*tasks)

    assert seen == [1.0]
    assert clock.now() == 5.0


async def test_participants_of_one_moment_wake_by_rank_each_after_the_last_has_finished() -> None:
    clock = SteppedClock(0.0)
    order: list[str] = []

    async def work(name: str) -> None:
        await clock.sleep(10)
        order.append(f"{name} begins")
        await asyncio.sleep(0.002)
        order.append(f"{name} ends")

    with clock.hold():
        tasks = [clock.start(work(name), name=name, rank=rank) for name, rank in (("late", 2), ("early", 1))]
    await asyncio.gather(*tasks)

    assert order == ["early begins", "early ends", "late begins", "late ends"]


async def test_a_task_that_was_never_announced_takes_part_once_it_waits() -> None:
    clock = SteppedClock(0.0)

    async def unannounced() -> float:
        await clock.sleep(7)
        return clock.now()

    assert await asyncio.create_task(unannounced()) == 7.0


async def test_holding_keeps_time_still_though_all_wait() -> None:
    clock = SteppedClock(0.0)
    with clock.hold():
        task = asyncio.create_task(clock.sleep(1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert clock.now() == 0.0
    await task
    assert clock.now() == 1.0


async def test_a_cancelled_participant_does_not_hold_time_up() -> None:
    clock = SteppedClock(0.0)
    gone = clock.start(clock.sleep(5), name="gone", rank=0)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    await asyncio.create_task(clock.sleep(9))

    assert clock.now() == 9.0
