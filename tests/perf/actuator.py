"""What a budget's cut costs with 1,000 InferenceServices: `python -m tests.perf.actuator [--json PATH]`.

A quarter of them each of KServe's autoscaler classes hpa, keda, external and none. The API server is a process of its
own on loopback (tests/perf/kserve_api.py) and answers as fast as Python does; the actuator is one as well, with the
pass and the concurrency that it has by default. It settles, then every recommendation falls at once: quoted is how long
it takes until each service has its new ceiling, the pause until the next pass included, what the API server is asked
for, and memory once nothing is left to write. Medians of three rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.plan import PlanOptions
from kserve_hooks.reverts import RevertOptions
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.service import ActuatorOptions, ActuatorService
from tests.perf.informer import PlainAccess, memory_megabytes
from tests.perf.rows import Row, at_most, report
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.clock import SystemClock
from wattkeeper.cluster.connection import Connection
from wattkeeper.cluster.interface import WATCHED_BY_ACTUATOR

COMMAND = "python -m tests.perf.actuator"
SERVICES, ROUNDS = 1_000, 3
AIM_SECONDS = 15.0
"""One sync of the HPA: what a ceiling waits for anyhow."""
AIM_CALLS_PER_SERVICE = 6.0
"""The finalizer, the note and the field; a look and the note again, as the finalizer made another version; an Event."""
AIM_MEGABYTES = 128 * 1024 * 1024 / 1e6
"""What the chart requests."""
PATIENCE_SECONDS = 120.0


async def client(server: str) -> None:
    """One round: prints its figures as JSON."""
    clock, registry = SystemClock(), CollectorRegistry()
    cluster = KubernetesCluster(PlainAccess(server), clock=clock, registry=registry, kinds=WATCHED_BY_ACTUATOR)
    options = ActuatorOptions(
        namespace="wattkeeper",
        holder="actuator-0",
        plan=PlanOptions(trigger=TriggerOptions(address="wattkeeper.wattkeeper.svc:9090"), reverts=RevertOptions()),
        warm_up_seconds=0.0,
    )
    service = ActuatorService(
        cluster=cluster, clock=clock, metrics=ActuatorMetrics(registry), options=options, scaler_answers=_answers
    )
    await cluster.start()
    asker = Connection(PlainAccess(server))
    acting = asyncio.create_task(service.run())

    async def ask(path: str) -> dict[str, Any]:
        return json.loads(await asker.request("POST", path, seconds=PATIENCE_SECONDS))

    await ask("/quiet")
    settled = memory_megabytes()
    cut = await ask("/cut")
    quiet = await ask("/quiet")
    figures = {
        "seconds": cut["seconds"],
        "calls": sum(quiet["asked"].values()),
        "asked": quiet["asked"],
        "settled": settled,
        "after_cut": memory_megabytes(),
        "highest": memory_megabytes("VmHWM"),
    }
    acting.cancel()
    await asyncio.gather(acting, return_exceptions=True)
    await asker.close()
    await cluster.stop()
    print(json.dumps(figures))


async def _answers() -> bool:
    return True


def one_round() -> dict[str, Any]:
    """Returns a client's figures."""
    arguments = [sys.executable, "-m", "tests.perf.kserve_api", str(SERVICES)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            told = subprocess.run(
                [sys.executable, "-m", "tests.perf.actuator", "--client", f"http://127.0.0.1:{port}"],
                check=True,
                capture_output=True,
                text=True,
                timeout=3 * PATIENCE_SECONDS,
            )
        finally:
            server.terminate()
    return json.loads(told.stdout)


def main() -> None:
    """Runs the rounds and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--client", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        uvloop.run(client(arguments.client))
        return
    rounds = [one_round() for _ in range(ROUNDS)]

    def middle(name: str) -> float:
        return statistics.median(figures[name] for figures in rounds)

    what = f"actuator, {SERVICES:,} InferenceServices"
    calls = middle("calls") / SERVICES
    rows = [
        at_most(f"{what}: a cut reconciled", middle("seconds"), "s", AIM_SECONDS, COMMAND),
        at_most(f"{what}: API calls per service", calls, "calls", AIM_CALLS_PER_SERVICE, COMMAND),
        at_most(f"{what}: highest memory", middle("highest"), "MB", AIM_MEGABYTES, COMMAND),
        Row(name=f"{what}: memory after a cut", value=round(middle("after_cut"), 1), unit="MB", command=COMMAND),
        Row(name=f"{what}: memory before", value=round(middle("settled"), 1), unit="MB", command=COMMAND),
    ]
    for asked, count in sorted(rounds[0]["asked"].items()):
        rows.append(Row(name=f"actuator, a cut: {asked}", value=count, unit="calls", command=COMMAND))
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
