"""One seed: a world, its processes, a storm, and what the checks saw."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from tests.faults.checks import CHECKS
from tests.faults.keda import InProcessSource
from tests.faults.objects import cluster_objects, scaled_objects
from tests.faults.processes import Surroundings
from tests.faults.scene import BEGINS, NAMESPACE, PROTECTIONS, SERVICES, twin_services
from tests.faults.schedule import RUN_SECONDS, Fault, draw
from tests.faults.storm import Storm, traffic_of
from tests.faults.weather import Weather
from tests.faults.witness import Breach, Witness
from wattkeeper.cluster.objects import Pod
from wattkeeper.simulation.autoscaler import Autoscaler
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.exporters import Exporters
from wattkeeper.simulation.kserve import KServe
from wattkeeper.simulation.measured_hpa import Measure, MeasuredHpas
from wattkeeper.simulation.store import kubernetes_time
from wattkeeper.simulation.twin import Twin
from wattkeeper.simulation.usage import Usage

_STORM_RANK = 1
_END_RANK = 90
_ROOMS = ("scaler", "kserve_hooks", "admission", "wattkeeper")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of a seed.

    Attributes:
        counts: what happened, by name.
    """

    seed: int
    schedule: tuple[Fault, ...]
    breaches: tuple[Breach, ...]
    counts: dict[str, int]


def run_seed(seed: int) -> Report:
    """Runs a seed from beginning to end."""
    return run_schedule(seed, draw(seed))


def run_schedule(seed: int, schedule: tuple[Fault, ...], seconds: int = RUN_SECONDS) -> Report:
    """Runs other faults on a seed's dice, or only the beginning: to find out what it takes."""
    return asyncio.run(_run(seed, schedule, seconds))


async def _run(seed: int, schedule: tuple[Fault, ...], seconds: int) -> Report:
    clock = SteppedClock(BEGINS)
    cluster = TwinCluster(clock)
    for one in cluster_objects():
        cluster.create(one)
    twin = Twin(cluster, clock, twin_services(traffic_of(schedule)), seed)
    for name, least in PROTECTIONS.items():
        twin.protection.min_available[NAMESPACE, name] = least
    exporters = Exporters(twin)
    weather = Weather(random=np.random.default_rng([seed, 71]))
    witness = Witness(clock=clock, cluster=cluster, twin=twin)
    witness.checks = [check(witness) for check in CHECKS]
    defects = _Defects()
    with clock.hold(), defects:
        await cluster.start()
        await exporters.start()
        cluster.measure_usage(Usage(twin).read)
        around = Surroundings(cluster, clock, weather, witness, exporters.urls)
        storm = Storm(around, twin, exporters, twin.settle)
        storm.start("admission-0")
        tasks = [twin.start()]
        _age(cluster)
        for one in scaled_objects():
            cluster.create(one)
        for name in ("scaler-0", "scaler-1", "actuator-0", "actuator-1"):
            storm.start(name)
        witness.follow()
        witness.broken = storm.broken
        measure = _measure(twin)
        source = InProcessSource(storm.scalers, weather, measure)
        autoscaler = Autoscaler(cluster, clock, source, settle=twin.settle)
        autoscaler.start()
        tasks += [KServe(cluster, clock).start(), MeasuredHpas(cluster, clock, measure, settle=twin.settle).start()]
        tasks.append(clock.start(storm.rage(schedule), name="storm", rank=_STORM_RANK))
        ending = clock.start(_end(clock, witness, tasks, seconds), name="end", rank=_END_RANK)
    with defects:
        try:
            await ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await autoscaler.stop()
            for process in storm.processes.values():
                await process.kill()
            await exporters.stop()
            await cluster.stop()
    witness.counts["API calls that failed"] = weather.befell
    breaches = [
        *witness.breaches,
        *(Breach(at=float(seconds), invariant=_Defects.text, why=one) for one in defects.seen),
    ]
    return Report(seed=seed, schedule=schedule, breaches=tuple(breaches), counts=dict(witness.counts))


def _measure(twin: Twin) -> Measure:
    """Returns what autoscalers that do not ask Wattkeeper go by: requests, wherever they are."""
    rows = {service.name: (row, service.target_per_replica) for row, service in enumerate(SERVICES)}

    def measure(_: str, name: str) -> tuple[float, float]:
        row, target = rows[name]
        return twin.requests(row), target

    return measure


def _age(cluster: TwinCluster) -> None:
    """Lets all that serves already have done so for an hour: pods that have only just started are not moved."""
    since = kubernetes_time(BEGINS - 3600.0)
    for pod in list(cluster.view.all(Pod).values()):
        meta = replace(pod.metadata, creation_timestamp=since)
        conditions = tuple(replace(one, last_transition_time=since) for one in pod.status.conditions)
        status = replace(pod.status, start_time=since, conditions=conditions)
        cluster.replace(replace(pod, metadata=meta, status=status))


async def _end(clock: SteppedClock, witness: Witness, tasks: list[asyncio.Task[None]], seconds: int) -> None:
    for _ in range(seconds):
        await clock.sleep(1.0)
        witness.second(clock.now())
        for task in tasks:
            if task.done():
                task.result()
    if seconds == RUN_SECONDS:
        witness.ended()  # Only then all is calm.


class _Defects(logging.Handler):
    """Catches what services log when something fails inside of them that should not."""

    text = "No pass, tick, subscriber or handler fails inside"

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Notes an error with its exception."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            said = f"{record.name}: {record.getMessage()}: {type(error).__name__}: {error}"
            if said not in self.seen:
                self.seen.append(said)

    def __enter__(self) -> None:
        for room in _ROOMS:
            logger = logging.getLogger(room)
            logger.addHandler(self)
            logger.propagate = False

    def __exit__(self, *_: object) -> None:
        for room in _ROOMS:
            logger = logging.getLogger(room)
            logger.removeHandler(self)
            logger.propagate = True
