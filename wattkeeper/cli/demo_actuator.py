"""The actuator beside the demo's service, as it runs in a cluster, and what it has done by the end of the day."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.plan import PlanOptions
from kserve_hooks.reverts import RevertOptions
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.service import ActuatorOptions, ActuatorService
from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.simulation.story import POLLING_SECONDS
from wattkeeper.simulation.world import World

_RANK = 14


@dataclass(kw_only=True, slots=True)
class Actions:
    """What the actuator has done.

    Attributes:
        moved: migrations that have succeeded.
        not_moved: those that were rolled back.
        brakes: how often a service was held down while KEDA could not ask the scaler.
    """

    moved: int = 0
    not_moved: int = 0
    brakes: int = 0


class DemoActuator:
    """One replica of the actuator, which counts what it does."""

    def __init__(self, world: World, *, namespace: str, holder: str, scaler_address: str) -> None:
        """Prepares; nothing runs before `start`.

        Args:
            world: not begun yet.
            namespace: of Wattkeeper itself.
            holder: who holds the Lease.
            scaler_address: where KEDA finds the scaler.
        """
        self.actions = Actions()
        self._clock = world.clock

        async def answers() -> bool:
            return not world.scaler_lost

        trigger = TriggerOptions(address=scaler_address, tls=False, authentication="", polling_seconds=POLLING_SECONDS)
        self._service = ActuatorService(
            cluster=world.cluster,
            clock=world.clock,
            metrics=ActuatorMetrics(CollectorRegistry()),
            options=ActuatorOptions(
                namespace=namespace,
                holder=holder,
                plan=PlanOptions(trigger=trigger, reverts=RevertOptions(limit=3, pause_seconds=600.0)),
            ),
            scaler_answers=answers,
        )
        world.cluster.view.subscribe(PowerMigration, self._migration_changed)
        world.cluster.view.subscribe(PowerRecommendation, self._recommendation_changed)

    def start(self) -> asyncio.Task[None]:
        """Starts it; whoever starts it ends it."""
        return self._clock.start(self._service.run(), name="actuator", rank=_RANK)

    def _migration_changed(self, old: PowerMigration | None, new: PowerMigration | None) -> None:
        before, now = ("" if one is None else one.status.phase for one in (old, new))
        if now != before:
            self.actions.moved += now == "Succeeded"
            self.actions.not_moved += now == "Failed"

    def _recommendation_changed(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        self.actions.brakes += _braked(new) and not _braked(old)


def _braked(one: PowerRecommendation | None) -> bool:
    return one is not None and one.status.actuation is not None and one.status.actuation.brake is not None
