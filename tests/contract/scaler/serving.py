"""A real server on loopback, in front of a view in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry

from scaler.answers import Answers
from scaler.metrics import ScalerMetrics
from scaler.server import ScalerServer, ServerOptions
from scaler.tls import CertificateFiles
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import NAMESPACE, NOW
from wattkeeper.rpc.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from wattkeeper.rpc.externalscaler_pb2_grpc import ExternalScalerStub

STALE_SECONDS = 15.0


class StillClock:
    """Time is what the test says; waiting takes a moment, so that watchers run."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


def make_server(
    view: MemoryView,
    clock: StillClock,
    *,
    server_minor: int = 36,
    certificates: CertificateFiles | None = None,
    address: str = "127.0.0.1:0",
    max_streams: int = 100,
) -> ScalerServer:
    return ScalerServer(
        view,
        Answers(view, server_minor=server_minor, stale_seconds=STALE_SECONDS),
        clock,
        ScalerMetrics(CollectorRegistry()),
        ServerOptions(address=address, certificates=certificates, max_streams=max_streams),
    )


@asynccontextmanager
async def serving(view: MemoryView, clock: StillClock | None = None, **options: Any) -> AsyncGenerator[ScalerServer]:
    server = make_server(view, clock or StillClock(), **options)
    await server.start()
    try:
        yield server
    finally:
        await server.drain()


@asynccontextmanager
async def client(server: ScalerServer, credentials: grpc.ChannelCredentials | None = None) -> AsyncGenerator[Any]:
    target = f"localhost:{server.port}"
    channel = grpc.aio.insecure_channel(target) if credentials is None else grpc.aio.secure_channel(target, credentials)
    async with channel:
        yield ExternalScalerStub(channel)


def reference(name: str = "llm", namespace: str = NAMESPACE, **metadata: str) -> ScaledObjectRef:
    return ScaledObjectRef(
        name=name, namespace=namespace, scalerMetadata={"scalerAddress": "wattkeeper:9443", **metadata}
    )


def metrics_request(metric: str = "replicas", **named: str) -> GetMetricsRequest:
    return GetMetricsRequest(scaledObjectRef=reference(**named, metric=metric), metricName=f"wattkeeper-{metric}")


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for another task's or process's doing, at most ten seconds."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the other side cannot set an event of ours.
            await asyncio.sleep(0.01)
