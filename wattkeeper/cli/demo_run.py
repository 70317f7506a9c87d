"""Composes the demo's two runs: the real service on the twin, and the same day without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from scaler.answers import Answers
from scaler.metrics import ScalerMetrics
from scaler.server import ScalerServer, ServerOptions
from scaler.service import RecommenderService, ServiceOptions
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.cli.demo_actuator import Actions, DemoActuator
from wattkeeper.cli.demo_admission import DemoAdmission
from wattkeeper.power.readers.scrape_reader import ScrapeReader
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.targets import Target
from wattkeeper.recommender.collect import ReadingsCollector
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender
from wattkeeper.simulation.keda import ExternalScalerSource
from wattkeeper.simulation.ledger import Score
from wattkeeper.simulation.story import Story
from wattkeeper.simulation.world import World

TICK_SECONDS = 5.0
# On the twin's clock a tick takes no time, in real time it may: nothing is lost by waiting on a slow machine.
_DEADLINE_SECONDS = 60.0
_NAMESPACE, _HOLDER = "wattkeeper-system", "demo-0"
_SERVICE_RANK = 10
_WATCHER_RANK = 90
_STALE_TICKS = 3

# Called every tick of the twin with the world; awaited, so that it may keep pace with real time.
Watcher = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Both runs of one day.

    Attributes:
        actions: what the actuator has done in the first.
    """

    story: Story
    guarded: Score
    actions: Actions
    unguarded: Score


async def run_guarded(story: Story, watcher: Watcher) -> tuple[Score, Actions]:
    """Runs the day with Wattkeeper: its services and its gRPC server as they run in a cluster."""
    world = World(story)
    clock, cluster = world.clock, world.cluster
    metrics = ScalerMetrics(CollectorRegistry())
    with clock.hold():
        await cluster.start()
        await world.exporters.start()
        answers = Answers(cluster.view, server_minor=cluster.server_minor, stale_seconds=_STALE_TICKS * TICK_SECONDS)
        options = ServerOptions(address="127.0.0.1:0", watch_seconds=TICK_SECONDS, goodbye_seconds=0.0)
        server = ScalerServer(cluster.view, answers, clock, metrics, options)
        await server.start()
        targets = tuple(Target(url=url) for url in world.exporters.urls)
        reader = ScrapeReader(
            lambda: targets, ReaderSettings(interval_seconds=TICK_SECONDS, deadline_seconds=_DEADLINE_SECONDS)
        )
        service = RecommenderService(
            cluster=cluster,
            reader=reader,
            collector=ReadingsCollector(cluster.view),
            new_decider=lambda: Recommender(RecommenderSettings(), PriorityFairShare()),
            clock=clock,
            metrics=metrics,
            options=ServiceOptions(namespace=_NAMESPACE, holder=_HOLDER, tick_seconds=TICK_SECONDS),
        )
        admission = DemoAdmission(world, namespace=_NAMESPACE, holder=_HOLDER)
        address = f"127.0.0.1:{server.port}"
        actuator = DemoActuator(world, namespace=_NAMESPACE, holder=_HOLDER, scaler_address=address)
        world.begin(ExternalScalerSource(lambda: not world.scaler_lost), address)
        serving = [
            clock.start(service.run(), name="recommender", rank=_SERVICE_RANK),
            *admission.start(),
            actuator.start(),
        ]
        scores: list[Score] = []
        watching = clock.start(_watch(world, watcher, scores), name="watcher", rank=_WATCHER_RANK)
    try:
        await watching
    finally:
        await world.end()
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.drain()
        await reader.close()
        await world.exporters.stop()
        await cluster.stop()
    return scores[0], actuator.actions


async def run_unguarded(story: Story, watcher: Watcher) -> Score:
    """Runs the same day with the same demand through the same HPA, and nobody who looks at watts."""
    world = World(story)
    with world.clock.hold():
        await world.cluster.start()
        world.begin(world.measured_source(), None)
        scores: list[Score] = []
        watching = world.clock.start(_watch(world, watcher, scores), name="watcher", rank=_WATCHER_RANK)
    try:
        await watching
    finally:
        await world.end()
    return scores[0]


async def _watch(world: World, watcher: Watcher, scores: list[Score]) -> None:
    while world.seconds() < world.story.seconds:
        world.check()
        await watcher(world)
        await world.clock.sleep(TICK_SECONDS)
    # Here, where time stands still: later seconds would count on a fast machine, and not on a slow one.
    scores.append(world.ledger.score())
