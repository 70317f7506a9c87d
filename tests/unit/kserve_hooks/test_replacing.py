"""`rollout: Replace`: a pod of an old template goes first, and the next one only when as many are ready again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.kserve_hooks.kill_scene import FAST, KillScene
from tests.unit.kserve_hooks.pods_scene import pdb, pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import Condition
from wattkeeper.cluster.objects import Pod, PodSpec, PodStatus, SchedulingGate

BLOCKED = Condition(
    type="RolloutBlocked", status="True", reason="BudgetBinds", last_transition_time="2026-01-01T00:00:00Z"
)

STALE = replace(BLOCKED, type="TelemetryStale", reason="ReadingsStale")


def born(name: str, template: str, second: int, *, gated: bool = False) -> Pod:
    made = pod(name, template=template)
    meta = replace(made.metadata, creation_timestamp=f"2027-01-15T07:00:{second:02}Z")
    if not gated:
        return replace(made, metadata=meta)
    spec = PodSpec(scheduling_gates=(SchedulingGate(name=POWER_GATE),))
    return replace(made, metadata=meta, spec=spec, status=PodStatus(phase="Pending"))


class Rollout(KillScene):
    """Four ready pods of the old template, and one of the new one that waits at the gate."""

    async def begin(self, policy: str = "Replace") -> None:
        self.amend(rollout=policy)
        for number in range(4):
            self.lose(f"p{number}")
            self.world.cluster.create(born(f"p{number}", "t1", number))
        self.world.cluster.create(born("new", "t2", 30, gated=True))
        await self.violate(target=4, conditions=(BLOCKED,))

    def opened(self, name: str, second: int = 30) -> None:
        """A pod of the new template leaves the gate and becomes ready."""
        self.lose(name)
        self.world.cluster.create(born(name, "t2", second))

    def waits(self, name: str, template: str, second: int) -> None:
        """A pod comes to the gate."""
        self.world.cluster.create(born(name, template, second, gated=True))


@pytest.fixture
async def rollout() -> Rollout:
    world = World(FAST)
    await world.start()
    made = Rollout(world)
    await made.open(mode="Scale")
    await made.begin()
    return made


async def test_one_old_pod_goes_and_the_next_one_once_as_many_are_ready_again(rollout: Rollout) -> None:
    await rollout.passes(10)
    assert rollout.there() == ["new", "p1", "p2", "p3"]
    assert "a rollout lacks the watts" in rollout.said("PodEvicted")[0]
    await rollout.passes(30)
    assert len(rollout.there()) == 4
    rollout.opened("new")
    rollout.waits("new2", "t2", 50)
    await rollout.passes(10)
    assert rollout.there() == ["new", "new2", "p2", "p3"]


async def test_no_old_pod_goes_before_the_next_new_one_waits_at_the_gate(rollout: Rollout) -> None:
    await rollout.passes(10)
    rollout.waits("again", "t1", 40)
    rollout.opened("new")
    await rollout.passes(20)
    assert rollout.there() == ["again", "new", "p1", "p2", "p3"]
    rollout.waits("new2", "t2", 50)
    await rollout.passes(10)
    assert rollout.there() == ["again", "new", "new2", "p2", "p3"]


async def test_no_pod_goes_for_a_rollout_while_readings_are_too_old(rollout: Rollout) -> None:
    await rollout.violate(target=4, conditions=(BLOCKED, STALE))
    await rollout.passes(20)
    assert len(rollout.there()) == 5


async def test_what_takes_an_old_pods_place_is_no_new_template(rollout: Rollout) -> None:
    await rollout.passes(10)
    for number in range(4):
        rollout.waits(f"again{number}", "t1", 40 + number)
        rollout.opened("new" if number == 0 else f"new{number}", 30 + number)
        if number < 3:
            rollout.waits(f"new{number + 1}", "t2", 31 + number)
        await rollout.passes(10)
    await rollout.passes(40)
    assert [name for name in rollout.there() if name.startswith("new")] == ["new", "new1", "new2", "new3"]


async def test_only_a_policy_that_says_so_lets_pods_go_for_a_rollout(rollout: Rollout) -> None:
    rollout.amend(rollout="Surge")
    await rollout.passes(20)
    assert len(rollout.there()) == 5


async def test_a_rollout_that_goes_on_takes_no_pod(rollout: Rollout) -> None:
    await rollout.violate(target=4)
    await rollout.passes(20)
    assert len(rollout.there()) == 5


async def test_a_disruption_budget_holds_a_rollout_and_is_named(rollout: Rollout) -> None:
    rollout.world.cluster.create(pdb(0))
    await rollout.passes(10)
    assert len(rollout.there()) == 5
    reason, message = rollout.blocked("ReplaceBlocked")
    assert (reason, "PodDisruptionBudget chat" in message) == ("Protected", True)
    assert len(rollout.said("ReplaceRefused")) == 1


async def test_the_end_of_a_rollout_leaves_no_note(rollout: Rollout) -> None:
    await rollout.passes(10)
    for number in range(1, 4):
        rollout.lose(f"p{number}")
    rollout.opened("new")
    await rollout.violate(target=4)
    await rollout.passes(10)
    assert rollout.note() is None
