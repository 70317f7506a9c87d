"""Whatever goes wrong on the way: in the end a service has the bounds that its user wrote last."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import Deployment

VERBS = ("hold", "status", "fields", "let go")
LATE: tuple[type[Watched], ...] = (InferenceService, PowerRecommendation)


class Trouble:
    """An actuator that keeps a service below its cap while everything else goes wrong, as dice say."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.leader: ActuatorService = world.service
        self.replicas = 0
        self.workload: Deployment | None = None
        self.wanted: dict[str, int | None] = {}
        self.lost: set[str] = set()
        for verb in ("hold_recommendation", "write_actuation", "set_replica_fields"):
            self._lose_answers(verb)

    async def open(self) -> None:
        self.wanted = {"min_replicas": self.dice.choice((None, 30)), "max_replicas": self.dice.choice((None, 60))}
        names = {"min_replicas": "minReplicas", "max_replicas": "maxReplicas"}
        asked = {names[name]: value for name, value in self.wanted.items() if value is not None}
        self.world.policy(lower=self.dice.random() < 0.7)
        self.world.inference_service("hpa", **asked)
        await self.cap()

    async def cap(self) -> None:
        await self.world.recommend(self.dice.randint(0, 20))

    async def edit(self) -> None:
        """The user writes something, that the actuator never would."""
        name = self.dice.choice(("min_replicas", "max_replicas"))
        self.wanted[name] = self.dice.randint(40, 50) if name == "min_replicas" else self.dice.randint(51, 99)
        self.world.edit(manager="kubectl", **{name: self.wanted[name]})

    async def late(self) -> None:
        self.world.cluster.late.catch_up()
        self.world.cluster.late.stand_still(*self.dice.sample(LATE, self.dice.randint(0, 2)))

    async def fail(self) -> None:
        self.world.cluster.failing.clear()
        self.lost.clear()
        for verb in self.dice.sample(VERBS, self.dice.randint(0, 2)):
            self.world.cluster.failing[verb] = UnreachableError("no answer")
        self.lost.update(self.dice.sample(VERBS, self.dice.randint(0, 1)))

    async def depose(self) -> None:
        await self.leader.leadership.release()
        self.replicas += 1
        self.leader = self.world.replica(dataclasses.replace(OPTIONS, holder=f"actuator-{self.replicas}"))
        self.world.service = self.leader
        await self.leader.leadership.renew()
        self.world.cluster.late.catch_up()  # A new leader has listed everything.

    async def stop(self) -> None:
        """KServe deletes a stopped service's workload, and makes it again."""
        if self.workload is None:
            self.workload = self.world.get(Deployment, "chat-predictor")
            self.world.cluster.objects.remove(self.workload)
        else:
            self.world.cluster.create(self.workload)
            self.workload = None

    async def go(self, steps: int) -> None:
        moves = (self.cap, self.cap, self.edit, self.late, self.fail, self.fail, self.depose, self.stop)
        for _ in range(steps):
            await self.dice.choice(moves)()
            await self.world.passes(self.dice.randint(1, 3), service=self.leader)

    async def end(self) -> None:
        self.world.cluster.failing.clear()
        self.lost.clear()
        self.world.cluster.late.catch_up()
        await self.world.recommend(5, mode="Off")
        await self.world.passes(30, service=self.leader)

    def _lose_answers(self, name: str) -> None:
        """Lets a verb do what it shall, and says that nobody answered."""
        verb = getattr(self.world.cluster, name)

        async def lossy(*given: Any, **named: Any) -> None:
            await verb(*given, **named)
            if self.world.cluster.written[-1] in self.lost:
                raise UnreachableError("no answer in time")

        setattr(self.world.cluster, name, lossy)


@pytest.mark.parametrize("seed", range(25))
async def test_a_user_s_bounds_come_back(world: World, seed: int) -> None:
    trouble = Trouble(world, seed)
    await trouble.open()
    await trouble.go(20)
    await trouble.end()
    assert world.bounds() == (trouble.wanted["min_replicas"], trouble.wanted["max_replicas"])
    found = world.recommendation()
    assert (found.status.actuation, found.metadata.finalizers) == (None, ())
