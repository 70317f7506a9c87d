"""A service above its cap under a budget that is over its limit, while KEDA can ask the scaler."""

from __future__ import annotations

from msgspec.structs import replace

from tests.unit.kserve_hooks.brake_scene import Scene
from tests.unit.kserve_hooks.world import NOW
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import ActuationRules, PowerCappingPolicy, ViolationRules
from wattkeeper.api.power_recommendation import Brake, Violation

LIMIT_WATTS = 1000.0
RATIO = 0.05


def violation(budget: str = "hall") -> Violation:
    """A violation that was noted when the budget was over by a watt."""
    return Violation(type="Budget", since=format_instant(NOW), budget=budget, watts=1.0)


class Overshooting(Scene):
    """The brake's scene, in which the policy has the fast path from 5% of 1,000 W on."""

    async def rule(self, ratio: float | None = RATIO, *, tolerance: float = 0.0) -> None:
        """Sets the policy's threshold and tolerance, and the budget's limit."""
        world = self.world
        hall = world.get(PowerBudget, "hall", namespace="")
        await world.cluster.write_status(replace(hall, status=replace(hall.status, limit_watts=LIMIT_WATTS)))
        found = world.get(PowerCappingPolicy, "capped")
        rules, tolerated = ActuationRules(brake_above_ratio=ratio), ViolationRules(tolerance=tolerance)
        world.cluster.replace(replace(found, spec=replace(found.spec, actuation=rules, violation=tolerated)))

    async def cut(self, cap: int, *, watts: float = 100.0, floor: int = 0) -> None:
        """Lets the leader say that the cap is lower, and by how much the budget is over; 0 for not at all."""
        await self.over(watts)
        await self.world.recommend(cap, floor=floor, violations=(violation(),) if watts else ())

    async def over(self, watts: float) -> None:
        """Lets the leader say by how much the budget is over, and nothing else."""
        hall = self.world.get(PowerBudget, "hall", namespace="")
        await self.world.cluster.write_status(replace(hall, status=replace(hall.status, over_watts=watts)))

    def note(self) -> Brake | None:
        actuation = self.world.recommendation().status.actuation
        return None if actuation is None else actuation.brake

    def brakes(self) -> int:
        """Returns how often the brake was written."""
        return self.world.cluster.written.count("brake")

    async def decided_by_nobody(self, count: int) -> None:
        """Makes so many passes while no leader decides: the scaler answers all the same."""
        world = self.world
        for _ in range(count):
            await world.clock.forward(2.0)
            await world.service.leadership.renew()
            await world.service.ask_scaler()
            await world.service.act()
