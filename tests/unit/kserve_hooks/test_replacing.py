"""`rollout: Replace`: a pod of an old template goes first, and the next one only when as many are ready again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kserve_hooks.replacing import outdated
from tests.unit.kserve_hooks.kill_scene import FAST, KillScene
from tests.unit.kserve_hooks.pods_scene import pdb, pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import Condition
from wattkeeper.cluster.objects import Pod, PodSpec, PodStatus, SchedulingGate

BLOCKED = Condition(
    type="RolloutBlocked", status="True", reason="BudgetBinds", last_transition_time="2026-01-01T00:00:00Z"
)


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
    await rollout.passes(10)
    assert rollout.there() == ["new", "p2", "p3"]


async def test_what_takes_an_old_pods_place_is_no_new_template(rollout: Rollout) -> None:
    await rollout.passes(10)
    for number in (1, 2, 3):
        rollout.world.cluster.create(born(f"again{number}", "t1", 40 + number, gated=True))
        if number == 1:
            rollout.opened("new")
        else:
            rollout.world.cluster.create(born(f"new{number}", "t2", 30 + number))
        await rollout.passes(10)
    rollout.world.cluster.create(born("new4", "t2", 50))
    await rollout.passes(40)
    assert [name for name in rollout.there() if name.startswith("new")] == ["new", "new2", "new3", "new4"]


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


@pytest.mark.parametrize(
    ("births", "known", "old"),
    [
        ({"t1": 0}, (), ()),
        ({"t1": 0, "t2": 9}, (), ("t1",)),
        ({"t1": 0, "t2": 9, "t3": 20}, (), ("t1", "t2")),
        ({"t1": 20, "t2": 9}, ("t1",), ("t1",)),
        ({"t1": 5, "t2": 5}, (), ()),
    ],
)
def test_all_but_the_newest_template_are_old(
    births: dict[str, int], known: tuple[str, ...], old: tuple[str, ...]
) -> None:
    assert outdated([born(template, template, second) for template, second in births.items()], known) == old
