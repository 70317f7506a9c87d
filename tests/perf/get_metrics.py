"""How fast KEDA is answered: `python -m tests.perf.get_metrics [--json PATH]`.

The server runs in a process of its own on one core, the client on another where there is one. GetMetrics is asked for
random ones of 10,000 ScaledObjects: at 200 calls a second (what KEDA asks for 1,000 ScaledObjects), each counted from
the instant at which it was due, and flat out with 16 in flight. A handler that does nothing is measured beside it, in
the same process and in turns, because what a call costs at all depends on the machine and its other work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import uvloop
from prometheus_client import CollectorRegistry

from scaler.answers import Answers
from scaler.metrics import ScalerMetrics
from scaler.server import ScalerServer, ServerOptions
from tests.perf.rows import Row, at_most, report
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import budget, deployment, policy, recommendation, scaled_object
from wattkeeper.cluster.clock import SystemClock
from wattkeeper.rpc.externalscaler_pb2 import GetMetricsRequest, GetMetricsResponse, ScaledObjectRef
from wattkeeper.rpc.externalscaler_pb2_grpc import (
    ExternalScalerServicer,
    ExternalScalerStub,
    add_ExternalScalerServicer_to_server,
)

COMMAND = "python -m tests.perf.get_metrics"
SCALED_OBJECTS = 10_000
CALLS_PER_SECOND = 200
ROUNDS, PACED_SECONDS, FLAT_OUT_SECONDS, WARM_UP_CALLS = 6, 2.0, 1.0, 500
IN_FLIGHT = 16
AIM_P99_MILLISECONDS = 2.0

Ask = Callable[[GetMetricsRequest], Awaitable[GetMetricsResponse]]


class EmptyServicer(ExternalScalerServicer):
    """Does nothing."""

    async def GetMetrics(self, request: GetMetricsRequest, context: object) -> GetMetricsResponse:  # noqa: N802
        return GetMetricsResponse()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one server."""

    p50_milliseconds: float
    p99_milliseconds: float
    calls_per_second: float


def pin(core: int) -> None:
    """Keeps this process on one core where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


async def serve() -> None:
    """Serves both on free ports, prints the ports, and ends with its standard input."""
    clock = SystemClock()
    view = MemoryView()
    view.put(policy(), budget(evaluated=clock.now() + 3_600.0))
    for number in range(SCALED_OBJECTS):
        name = f"llm-{number}"
        view.put(deployment(name, replicas=20), scaled_object(name), recommendation(name, target=number % 40))
    ours = ScalerServer(
        view,
        Answers(view, server_minor=36, stale_seconds=7_200.0),
        clock,
        ScalerMetrics(CollectorRegistry()),
        ServerOptions(address="127.0.0.1:0", goodbye_seconds=0.0),
    )
    await ours.start()
    empty = grpc.aio.server()
    add_ExternalScalerServicer_to_server(EmptyServicer(), empty)
    empty_port = empty.add_insecure_port("127.0.0.1:0")
    await empty.start()
    print(ours.port, empty_port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await ours.drain()
    await empty.stop(0)


def request(source: random.Random) -> GetMetricsRequest:
    """Returns a request for any of the objects, as KEDA sends it."""
    reference = ScaledObjectRef(
        name=f"llm-{source.randrange(SCALED_OBJECTS)}",
        namespace="chat",
        scalerMetadata={"scalerAddress": "wattkeeper.wattkeeper-system.svc:9090", "metric": "replicas"},
    )
    return GetMetricsRequest(scaledObjectRef=reference, metricName="wattkeeper-replicas")


async def paced(ask: Ask, source: random.Random) -> list[float]:
    """Returns milliseconds of each call at an even pace, from when it was due."""
    taken: list[float] = []
    begin = time.perf_counter() + 0.1

    async def one(due: float) -> None:
        await ask(request(source))
        taken.append((time.perf_counter() - due) * 1000.0)

    async with asyncio.TaskGroup() as calls:
        for number in range(int(PACED_SECONDS * CALLS_PER_SECOND)):
            due = begin + number / CALLS_PER_SECOND
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            # The loop's own lateness in waking is the client's, not the server's.
            calls.create_task(one(max(due, time.perf_counter())))
    return taken


async def flat_out(ask: Ask, source: random.Random) -> float:
    """Returns calls a second with some always in flight."""
    end = time.perf_counter() + FLAT_OUT_SECONDS
    counts = [0] * IN_FLIGHT

    async def worker(place: int) -> None:
        while time.perf_counter() < end:
            await ask(request(source))
            counts[place] += 1

    begin = time.perf_counter()
    await asyncio.gather(*(worker(place) for place in range(IN_FLIGHT)))
    return sum(counts) / (time.perf_counter() - begin)


async def measure(ports: list[int]) -> list[Figures]:
    """Measures servers in turns, so that whatever else the machine does meets all of them."""
    source = random.Random(1)
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
    asks: list[Ask] = [ExternalScalerStub(channel).GetMetrics for channel in channels]
    for ask in asks:
        for _ in range(WARM_UP_CALLS):
            await ask(request(source))
    taken: list[list[float]] = [[] for _ in asks]
    rates: list[list[float]] = [[] for _ in asks]
    for _ in range(ROUNDS):
        for place, ask in enumerate(asks):
            taken[place] += await paced(ask, source)
            rates[place].append(await flat_out(ask, source))
    for channel in channels:
        await channel.close()
    return [
        Figures(
            p50_milliseconds=float(np.percentile(milliseconds, 50)),
            p99_milliseconds=float(np.percentile(milliseconds, 99)),
            calls_per_second=float(np.median(rate)),
        )
        for milliseconds, rate in zip(taken, rates, strict=True)
    ]


def rows(ours: Figures, empty: Figures) -> list[Row]:
    """Returns every figure as a row."""
    name = f"GetMetrics, {SCALED_OBJECTS:,} ScaledObjects"

    def plain(what: str, value: float, unit: str) -> Row:
        return Row(name=what, value=round(value, 4), unit=unit, command=COMMAND)

    return [
        at_most(f"{name}, {CALLS_PER_SECOND}/s: p99", ours.p99_milliseconds, "ms", AIM_P99_MILLISECONDS, COMMAND),
        plain(f"{name}, {CALLS_PER_SECOND}/s: p50", ours.p50_milliseconds, "ms"),
        plain(f"{name}: flat out", ours.calls_per_second, "calls/s"),
        plain(f"empty handler, {CALLS_PER_SECOND}/s: p99", empty.p99_milliseconds, "ms"),
        plain(f"empty handler, {CALLS_PER_SECOND}/s: p50", empty.p50_milliseconds, "ms"),
        plain("empty handler: flat out", empty.calls_per_second, "calls/s"),
        plain("GetMetrics over empty handler: p99", ours.p99_milliseconds / empty.p99_milliseconds, "x"),
        plain("GetMetrics over empty handler: p50", ours.p50_milliseconds / empty.p50_milliseconds, "x"),
        plain("GetMetrics over empty handler: calls/s", ours.calls_per_second / empty.calls_per_second, "x"),
    ]


def main() -> None:
    """Serves, measures and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        pin(0)
        uvloop.run(serve())
        return
    pin(1)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.perf.get_metrics", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        ports = [int(port) for port in server.stdout.readline().split()]
        report(rows(*uvloop.run(measure(ports))), arguments.json)


if __name__ == "__main__":
    main()
