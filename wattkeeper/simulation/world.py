"""A story's world: the twin of its cluster, its exporters, its autoscaler, its score, and what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import numpy as np

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.simulation.autoscaler import Autoscaler
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.exporters import Exporters
from wattkeeper.simulation.hpa import SYNC_SECONDS
from wattkeeper.simulation.keda import MeasuredSource, MetricSource
from wattkeeper.simulation.ledger import Ledger
from wattkeeper.simulation.story import (
    DAY_BEGINS,
    HAPPENINGS,
    NAMESPACE,
    SERVICES,
    Happening,
    Story,
    cluster_objects,
    scaled_objects,
    twin_services,
)
from wattkeeper.simulation.twin import Twin

HAPPENING_RANK = 1


class World:
    """One run of a story. Nothing moves before `begin`.

    Attributes:
        scaler_lost: nothing gets through to Wattkeeper's scaler, neither KEDA nor the actuator. It decides on.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.clock = SteppedClock(DAY_BEGINS)
        self.cluster = TwinCluster(self.clock)
        for one in cluster_objects():
            self.cluster.create(one)
        self.twin = Twin(self.cluster, self.clock, twin_services(story), story.seed)
        self.ledger = Ledger(self.twin)
        self.exporters = Exporters(self.twin)
        self.scaler_lost = False
        self.autoscaler: Autoscaler | None = None
        self.told: list[Callable[[Happening], None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def seconds(self) -> float:
        """Returns seconds since the beginning."""
        return self.clock.now() - DAY_BEGINS

    def begin(self, source: MetricSource, scaler_address: str | None) -> None:
        """Starts the twin, the autoscaler and the story.

        Args:
            source: where KEDA gets its metric.
            scaler_address: of Wattkeeper's external scaler; None for a world without.
        """
        self._tasks.append(self.twin.start())
        for one in scaled_objects(scaler_address):
            self.cluster.create(one)
        self.autoscaler = Autoscaler(self.cluster, self.clock, source, settle=self.twin.settle)
        self.autoscaler.start()
        self._tasks.append(self.clock.start(self._happen(), name="story", rank=HAPPENING_RANK))

    def check(self) -> None:
        """Raises what has ended a part of the world, which would else stand still without a word."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Stops everything that begin has started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.autoscaler is not None:
            await self.autoscaler.stop()

    def measured_source(self) -> MeasuredSource:
        """Returns demand as a trigger without Wattkeeper sees it: requests in flight, against the same target."""
        targets = {service.name: (row, service.target_per_replica) for row, service in enumerate(SERVICES)}

        def measure(namespace: str, name: str) -> tuple[float, float] | None:
            if namespace != NAMESPACE or name not in targets:
                return None
            row, target = targets[name]
            return self.twin.requests(row), target

        return MeasuredSource(measure)

    async def _happen(self) -> None:
        random = np.random.default_rng([self.story.seed, 53])
        for one in HAPPENINGS:
            # Nobody cuts in step with the loops that follow: at the full hour all of them would look at once.
            late = float(random.integers(0, int(SYNC_SECONDS)))
            await self.clock.sleep(self.story.seconds_at(one.hour) + late - self.seconds())
            nodes = {name for name in self.twin.nodes if name.startswith(f"{one.rack}-")}
            match one.what:
                case "limit":
                    self._limit(one.rack, one.watts)
                case "lose-kepler":
                    self.exporters.faults.kepler_lost |= nodes
                case "find-kepler":
                    self.exporters.faults.kepler_lost -= nodes
                case "lose-scaler" | "find-scaler":
                    self.scaler_lost = one.what == "lose-scaler"
            for tell in self.told:
                tell(one)

    def _limit(self, name: str, watts: float) -> None:
        budget = self.cluster.view.get(PowerBudget, "", name)
        if budget is not None:
            spec = msgspec.structs.replace(budget.spec, limit_watts=watts)
            self.cluster.replace(msgspec.structs.replace(budget, spec=spec))
