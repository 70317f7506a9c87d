"""The actuator's own question to the scaler that triggers name: gRPC's health service."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

LOG = logging.getLogger(__name__)
_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalerCheck:
    """Asks once each time, over a connection of its own.

    A connection that is kept waits longer and longer after each failure, up to two minutes: it would not see the
    scaler come back.

    Attributes:
        address: host:port.
        tls: over TLS.
        authority: PEM file with who signed the scaler's certificate; None for the system's own.
        deadline_seconds: after which there was no answer.
    """

    address: str
    tls: bool = False
    authority: Path | None = None
    deadline_seconds: float = 2.0

    async def answers(self) -> bool:
        """Says whether a scaler answers that it serves. Never raises."""
        try:
            async with self._channel() as channel:
                stub: Any = cast("Any", health_pb2_grpc).HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=self.deadline_seconds)
        except (grpc.RpcError, OSError) as error:
            LOG.info("the scaler at %s does not answer: %s", self.address, _said(error))
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _channel(self) -> grpc.aio.Channel:
        if not self.tls:
            return grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        roots = None if self.authority is None else self.authority.read_bytes()
        return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(roots), options=_OPTIONS)


def _said(error: Exception) -> str:
    return str(error.details()) if isinstance(error, grpc.aio.AioRpcError) else str(error)
