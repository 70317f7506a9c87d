"""How fast KEDA is answered: `python -m tests.perf.get_metrics [--json PATH]`.

GetMetrics is asked for random ones of 10,000 ScaledObjects, at 200 calls a second: what KEDA asks for 1,000
ScaledObjects.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import grpc
import grpc.aio
import uvloop
from prometheus_client import CollectorRegistry

from scaler.answers import Answers
from scaler.metrics import ScalerMetrics
from scaler.server import ScalerServer, ServerOptions
from tests.perf.beside import Ask, compared, in_turns, pin, serving, until_closed
from tests.perf.rows import Row, report
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
AIM_P99_MILLISECONDS = 2.0


class EmptyServicer(ExternalScalerServicer):
    """Does nothing."""

    async def GetMetrics(self, request: GetMetricsRequest, context: object) -> GetMetricsResponse:  # noqa: N802
        return GetMetricsResponse()


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
    await until_closed(ours.port, empty_port)
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


async def measure(ports: list[int]) -> list[Row]:
    """Measures ours, which is at the first port, beside the empty one."""
    source = random.Random(1)
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
    ours, empty = await in_turns([asking(channel, source) for channel in channels], per_second=CALLS_PER_SECOND)
    for channel in channels:
        await channel.close()
    return compared(
        ours,
        empty,
        what="GetMetrics",
        among=f"GetMetrics, {SCALED_OBJECTS:,} ScaledObjects",
        beside="empty handler",
        unit="calls/s",
        per_second=CALLS_PER_SECOND,
        aim_p99_milliseconds=AIM_P99_MILLISECONDS,
        command=COMMAND,
    )


def asking(channel: grpc.aio.Channel, source: random.Random) -> Ask:
    """Returns what asks one server."""
    get_metrics = ExternalScalerStub(channel).GetMetrics

    async def ask() -> None:
        await get_metrics(request(source))

    return ask


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
    with serving("-m", "tests.perf.get_metrics", "--serve") as ports:
        report(uvloop.run(measure(ports)), arguments.json)


if __name__ == "__main__":
    main()
