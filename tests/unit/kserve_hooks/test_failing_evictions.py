"""Evictions that the API server fails at hold back their own service, what it has too much to do for holds back all."""

from __future__ import annotations

import pytest

from tests.unit.kserve_hooks.kill_scene import FAST, LASTS, KillScene
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.cluster.errors import ClusterError, FailedError, UnreachableError
from wattkeeper.cluster.objects import Pod

WORDS = "POST eviction: failed calling webhook: context deadline exceeded (HTTP 500)"


@pytest.fixture
async def scene() -> KillScene:
    """Two services of which a pod has to go at once: p2 of the first one, o0 of the other."""
    world = World(FAST)
    await world.start()
    made = KillScene(world)
    await made.open()
    world.workload("other")
    world.cluster.create(pod("o0", service="other"))
    return made


def fail(scene: KillScene, monkeypatch: pytest.MonkeyPatch, error: ClusterError) -> list[str]:
    """Has evictions of p2 fail; returns the names of the pods of which one is asked for from now on."""
    asked: list[str] = []
    evict = scene.world.cluster.evict

    async def answered(one: Pod) -> None:
        asked.append(one.metadata.name)
        if one.metadata.name == "p2":
            raise error
        await evict(one)

    monkeypatch.setattr(scene.world.cluster, "evict", answered)
    return asked


async def violate(scene: KillScene) -> None:
    slipped = scene.violation("Slipped", "p2", ago=LASTS), scene.violation("Slipped", "o0", ago=LASTS)
    await scene.violate(slipped[0], slipped=1)
    await scene.world.recommend(1, name="other", mode="Kill", violations=slipped[1:])


async def test_an_eviction_that_the_api_server_fails_at_holds_back_no_other_service(
    scene: KillScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fail(scene, monkeypatch, FailedError(WORDS))
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(4)
    assert asked == ["p2"]
    await violate(scene)
    await scene.passes(4)
    assert scene.there() == ["p0", "p1", "p2", "p3"]
    assert asked == ["p2", "o0"]


async def test_what_the_api_server_fails_at_is_told_and_tried_again(
    scene: KillScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        asked = fail(scene, failing, FailedError(WORDS))
        await violate(scene)
        await scene.passes(20)
        assert asked.count("p2") == 1
        reason, message = scene.blocked()
        assert (reason, message.endswith(WORDS)) == ("EvictionFailed", True)
        assert any(WORDS in said for said in scene.said("KillRefused"))
    await scene.passes(40)
    assert "p2" not in scene.there()
    assert scene.blocked() == ("", "")


async def test_no_answer_holds_back_the_other_service_too(scene: KillScene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fail(scene, monkeypatch, UnreachableError("no answer in time"))
    await scene.violate(scene.violation("Slipped", "p2", ago=LASTS), slipped=1)
    await scene.passes(4)
    await violate(scene)
    await scene.passes(6)
    assert asked == ["p2"]
