"""An actuator that dies at any of a migration's writes is followed by one that finishes it or takes it back."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.kserve_hooks.migrate_scene import Death, Scene
from tests.unit.kserve_hooks.world import OPTIONS, World


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


async def followed(scene: Scene, death: Death) -> None:
    """Lets another replica lead until all migrations have ended, and a little longer."""
    world = scene.world
    other = world.replica(dataclasses.replace(OPTIONS, holder="actuator-1"))
    await world.service.leadership.release()
    await other.leadership.renew()
    death.revive()
    for _ in range(400):
        await scene.turns(service=other)
        if scene.migrations() and all(one.status.phase in ("Succeeded", "Failed") for one in scene.migrations()):
            break
    await scene.turns(8, service=other)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 15))
async def test_a_death_at_any_write_leaves_nothing_behind(scene: Scene, at: int, after: bool) -> None:
    await scene.open("none")
    death = Death(scene, at=at, after=after)
    for _ in range(60):
        await scene.turns()
        if scene.migrations():
            scene.hot = False
        if death.dead or scene.phase() == "Succeeded":
            break
    assert death.dead
    await followed(scene, death)
    assert [one.status.phase for one in scene.migrations()] == ["Succeeded"]
    assert (scene.leaks(), scene.replicas(), scene.world.bounds(), scene.least) == ([], 3, (3, None), 3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 7))
async def test_a_death_at_any_write_of_a_rollback_leaves_nothing_behind(scene: Scene, at: int, after: bool) -> None:
    await scene.open("none")
    await scene.until("Waiting")
    scene.protect(0)
    await scene.turns(5)
    scene.hot = False
    death = Death(scene, at=at, after=after)
    scene.reserves = "Refused"
    for _ in range(40):
        await scene.turns()
        if death.dead:
            break
    assert death.dead
    await followed(scene, death)
    assert [one.status.phase for one in scene.migrations()] == ["Failed"]
    assert (scene.leaks(), scene.replicas(), scene.world.bounds(), scene.least) == ([], 3, (3, None), 3)
