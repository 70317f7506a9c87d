"""How long one decision takes: `python -m tests.perf.decision [--json PATH]`.

A decision is Recommender.step: the model learns, sums, algorithm, guard, result. Readings differ from tick to tick in
their watts and demand, as they do in life. Five ticks warm up, the median of the next is quoted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.perf.fleet import fleet
from tests.perf.rows import Row, at_most, report
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.readings import Readings
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender

COMMAND = "python -m tests.perf.decision"
AIM_MILLISECONDS = 250.0
WARM_UP, COUNTED = 5, 7
TICK_SECONDS = 5.0


def jittered(readings: Readings, random: np.random.Generator) -> Readings:
    """Returns the same fleet with other watts and another demand."""
    pods = replace(readings.pods, gpu_watts=readings.pods.gpu_watts * random.normal(1.0, 0.02, len(readings.pods.keys)))
    wanted = readings.services.demand * random.normal(1.0, 0.05, len(readings.services.keys))
    return replace(readings, pods=pods, services=replace(readings.services, demand=wanted))


def measure(nodes: int, services: int) -> list[float]:
    """Returns milliseconds of each counted decision."""
    random = np.random.default_rng(1)
    readings = fleet(nodes, services, seed=1, now=0.0)
    recommender = Recommender(RecommenderSettings(), PriorityFairShare())
    taken: list[float] = []
    for tick in range(WARM_UP + COUNTED):
        seen = jittered(readings, random)
        started = time.perf_counter()
        recommender.step(seen, now=tick * TICK_SECONDS)
        taken.append((time.perf_counter() - started) * 1000.0)
    return taken[WARM_UP:]


def main() -> None:
    """Measures both sizes and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for nodes, services in ((1_000, 200), (10_000, 2_000)):
        taken = measure(nodes, services)
        name = f"decision, {nodes:,} nodes, {nodes * 10:,} pods, {services:,} services"
        rows.append(at_most(f"{name}: median", statistics.median(taken), "ms", AIM_MILLISECONDS, COMMAND))
        rows.append(Row(name=f"{name}: slowest", value=round(max(taken), 3), unit="ms", command=COMMAND))
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
