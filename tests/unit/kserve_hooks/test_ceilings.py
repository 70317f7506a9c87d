"""Ceilings come down at once and go up slowly, and never on old decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_hooks.ceilings import Rises
from kserve_hooks.scaled_objects import scaled_object_name
from tests.unit.kserve_hooks.world import World


def settled(rises: Rises, in_force: int, wanted: int, now: float, *, fresh: bool = True) -> int:
    return rises.settled("a", in_force=in_force, wanted=wanted, now=now, fresh=fresh)


def test_a_lower_ceiling_holds_at_once() -> None:
    assert settled(Rises(raise_seconds=30.0), 5, 2, 0.0) == 2


def test_a_higher_one_waits_and_is_then_the_lowest_that_was_wanted_meanwhile() -> None:
    rises = Rises(raise_seconds=30.0)
    assert [settled(rises, 2, wanted, now) for wanted, now in ((6, 0.0), (4, 10.0), (7, 20.0))] == [2, 2, 2]
    assert settled(rises, 2, 7, 30.0) == 4


def test_a_fall_between_begins_the_wait_anew() -> None:
    rises = Rises(raise_seconds=30.0)
    settled(rises, 2, 6, 0.0)
    settled(rises, 2, 2, 10.0)
    assert settled(rises, 2, 6, 35.0) == 2


def test_an_old_decision_lowers_and_raises_nothing() -> None:
    rises = Rises(raise_seconds=0.0)
    assert settled(rises, 2, 6, 100.0, fresh=False) == 2
    assert settled(rises, 5, 2, 100.0, fresh=False) == 2


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.0, 20.0)), max_size=30))
def test_a_ceiling_is_never_above_what_was_wanted_at_any_moment_of_the_wait(steps: list[tuple[int, float]]) -> None:
    rises, now, in_force = Rises(raise_seconds=30.0), 0.0, 9
    wished: list[tuple[float, int]] = []
    for wanted, passed in steps:
        now += passed
        wished.append((now, wanted))
        before, in_force = in_force, settled(rises, in_force, wanted, now)
        assert in_force <= wanted or in_force <= before
        if in_force > before:
            assert in_force <= min(one for at, one in wished if at >= now - 30.0)
        assert in_force <= max(wanted, before)
        assert wanted >= before or in_force == wanted


async def test_a_written_maximum_follows_in_the_same_way(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)
    await world.recommend(6)
    await world.passes(10)
    assert world.bounds() == (None, 3)
    await world.passes(8)
    assert world.bounds() == (None, 6)
    await world.recommend(2)
    await world.passes()
    assert world.bounds() == (None, 2)


async def test_a_maximum_stays_while_nobody_decides(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(2)
    await world.recommend(6)
    for _ in range(40):
        await world.clock.forward(3.0)
        await world.service.leadership.renew()
        await world.service.act()
    assert world.bounds() == (None, 3)


async def test_a_leader_that_is_warming_up_changes_no_ceiling(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3, reason="WarmingUp")
    await world.passes()
    assert world.cluster.written == []


@pytest.mark.parametrize("target", ["chat-predictor", "a" * 60, "a" * 61, "x" * 253])
def test_names_of_our_scaled_objects_fit_into_a_label(target: str) -> None:
    name = scaled_object_name(target)
    assert len(name) <= 63
    assert name.endswith("-wk")
    assert name != scaled_object_name(target[:-1] + "b")


async def test_a_ceiling_that_has_risen_to_the_user_s_own_maximum_stays_there(world: World) -> None:
    world.policy()
    world.inference_service("hpa", maxReplicas=8)
    await world.recommend(3)
    await world.passes(3)
    await world.recommend(9)
    await world.passes(17)
    seen: list[int | None] = []
    for _ in range(20):
        await world.passes()
        seen.append(world.bounds()[1])
    assert set(seen) == {8}
