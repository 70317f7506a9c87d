"""gRPC's health service, for probes. The library has no types for its asyncio side: it is wrapped here."""

from __future__ import annotations

from typing import Any, cast

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Health:
    """One status for a set of services; NOT_SERVING at first."""

    def __init__(self, services: tuple[str, ...]) -> None:
        """Takes the names of the services; "" stands for the whole server."""
        self._services = services
        self._servicer: Any = cast("Any", health).aio.HealthServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service."""
        add: Any = cast("Any", health_pb2_grpc).add_HealthServicer_to_server
        add(self._servicer, server)

    async def set_serving(self, serving: bool) -> None:
        """Says whether calls should come here."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._servicer.set(service, status)

    async def shut_down(self) -> None:
        """Says NOT_SERVING for good."""
        await self._servicer.enter_graceful_shutdown()
