"""A service in mode Kill with pods of its own, and what the leader says about them."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from kserve_hooks.rates import RateOptions
from kserve_hooks.service import ActuatorOptions, ActuatorService
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.world import OPTIONS, World
from wattkeeper.api.conditions import message_of
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition, ObjectMeta
from wattkeeper.api.power_capping_policy import (
    Disruption,
    Mode,
    PerformancePower,
    PowerCappingPolicy,
    PowerCappingPolicySpec,
    ViolationRules,
)
from wattkeeper.api.power_recommendation import Kill, PowerRecommendation, ViolatingPod, Violation, ViolationType
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Deployment, Node, Pod

FAST: ActuatorOptions = dataclasses.replace(
    OPTIONS, plan=dataclasses.replace(OPTIONS.plan, rates=RateOptions(per_minute=600.0, per_minute_and_budget=600.0))
)
"""Limits that no test meets by chance."""
LASTS = 60.0


class KillScene:
    """Four pods of a service, of which the leader names some."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def open(
        self, *, mode: Mode = "Kill", autoscaler: str = "hpa", floor: int = 0, per_hour: int = 3600, **predictor: int
    ) -> None:
        """Makes the service; everything is as it shall be."""
        world = self.world
        world.policy(mode=mode, lower=True)
        self.amend(disruption=Disruption(max_per_hour=per_hour), violation=ViolationRules(duration_seconds=int(LASTS)))
        self.amend(performance_power=PerformancePower(tokens_per_joule=1.0, duration_seconds=300))
        world.inference_service(autoscaler, **(predictor or {"minReplicas": 1, "maxReplicas": 4}))
        self.replicas(4)
        world.cluster.create(Node(metadata=ObjectMeta(name="n1")))
        for number in range(4):
            world.cluster.create(pod(f"p{number}"))
        self.mode, self.floor = mode, floor
        await world.recommend(4, mode=mode, floor=floor)
        await world.passes(2)
        world.cluster.written.clear()

    def amend(self, **spec: object) -> None:
        """Changes the policy."""
        found = self.world.get(PowerCappingPolicy, "capped")
        changed: PowerCappingPolicySpec = replace(found.spec, **spec)
        self.world.cluster.replace(replace(found, spec=changed))

    def replicas(self, count: int) -> None:
        """Says how many replicas the Deployment shall have; the Deployment controller is not there."""
        found = self.world.get(Deployment, "chat-predictor")
        self.world.cluster.replace(replace(found, spec=replace(found.spec, replicas=count)))

    async def violate(
        self, *violations: Violation, target: int = 2, slipped: int = 0, conditions: tuple[Condition, ...] = ()
    ) -> None:
        """Writes what the leader says now."""
        world = self.world
        await world.recommend(target, mode=self.mode, floor=self.floor)
        found = world.recommendation()
        status = replace(found.status, violations=violations, slipped_pods=slipped, conditions=conditions)
        await world.cluster.write_status(replace(found, status=status))

    def violation(self, type_: ViolationType, *names: str, watts: float | None = None, ago: float = 0.0) -> Violation:
        """Returns what the leader says of pods; UIDs are those of the pods that have the names now."""
        wasted = 100.0 if type_ == "Performance" else 0.0
        named = tuple(ViolatingPod(name=name, uid=f"uid-{name}", watts=700.0) for name in names)
        return Violation(
            type=type_,
            since=format_instant(self.world.clock.now() - ago),
            budget="rack-a" if type_ == "Budget" else "",
            watts=wasted if watts is None else watts,
            pods=named,
        )

    async def passes(self, seconds: float, service: ActuatorService | None = None) -> None:
        """Makes passes for as long as that."""
        await self.world.passes(int(seconds // 2), service=service)

    def cost(self, name: str) -> str:
        found = self.world.find(Pod, name)
        return "" if found is None else found.metadata.annotations.get(DELETION_COST, "")

    def set_cost(self, name: str, cost: str) -> None:
        """Has a user set a deletion cost, or with "" take it away."""
        found = self.world.get(Pod, name)
        annotations = {**found.metadata.annotations, DELETION_COST: cost}
        if not cost:
            del annotations[DELETION_COST]
        self.world.cluster.replace(replace(found, metadata=replace(found.metadata, annotations=annotations)))

    def there(self) -> list[str]:
        return sorted(one.metadata.name for one in self.world.cluster.objects.all(Pod).values())

    def lose(self, name: str) -> None:
        """Has a pod go by itself."""
        self.world.cluster.objects.remove(self.world.get(Pod, name))

    def hang(self, grace_seconds: float = 30.0) -> None:
        """Has no pod that is evicted from now on come to its end."""
        world = self.world

        def begin_to_end(one: Pod) -> None:
            end = format_instant(world.clock.now() + grace_seconds)
            world.cluster.replace(replace(one, metadata=replace(one.metadata, deletion_timestamp=end)))

        world.cluster.disruption.end = begin_to_end

    def ending(self) -> list[str]:
        pods = self.world.cluster.objects.all(Pod).values()
        return sorted(one.metadata.name for one in pods if one.metadata.deletion_timestamp)

    def note(self) -> Kill | None:
        actuation = self.world.recommendation().status.actuation
        return None if actuation is None else actuation.kill

    def blocked(self, type_: str = "KillBlocked") -> tuple[str, str]:
        found = self.world.condition(type_)
        return ("", "") if found is None else (found.reason, found.message)

    def said(self, reason: str) -> list[str]:
        return [seen.record.note for seen in self.world.cluster.events if seen.record.reason == reason]

    def messages(self, recommendation: PowerRecommendation, type_: str) -> str:
        return message_of(recommendation.status.conditions, type_)
