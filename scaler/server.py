"""The gRPC listener: KEDA's service and the health service, from start to drain."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import grpc
import grpc.aio

from scaler.answers import Answers
from scaler.errors import SettingsError
from scaler.health import Health
from scaler.metrics import ScalerMetrics
from scaler.servicer import Servicer
from scaler.streams import StreamAlarms
from scaler.tls import CertificateFiles, ReloadingCertificates
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import View
from wattkeeper.rpc.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from wattkeeper.serving.addresses import is_loopback

LOG = logging.getLogger(__name__)
SERVICE = "externalscaler.ExternalScaler"
# A trigger's metadata is a few hundred bytes; whatever is longer is no request of KEDA's.
_MAX_REQUEST_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """How to listen.

    Attributes:
        address: host:port; port 0 takes a free one.
        certificates: TLS; None is plaintext.
        insecure: plaintext also where others can reach it.
        watch_seconds: how often health, and streams that only time can change, are looked at.
        max_streams: more open streams are refused.
        max_calls: more calls at the same time are refused.
        goodbye_seconds: how long the listener goes on answering after health has said NOT_SERVING, because clients
            need a moment to notice.
        drain_seconds: how long calls may take to finish when the listener closes.
    """

    address: str
    certificates: CertificateFiles | None = None
    insecure: bool = False
    watch_seconds: float = 1.0
    max_streams: int = 20_000
    max_calls: int = 50_000
    goodbye_seconds: float = 3.0
    drain_seconds: float = 5.0


class ScalerServer:
    """Serves one view. Health follows it: serving from the first complete plan on, until the drain."""

    def __init__(
        self, view: View, answers: Answers, clock: Clock, metrics: ScalerMetrics, options: ServerOptions
    ) -> None:
        """Prepares, without listening yet.

        Raises:
            SettingsError: plaintext would be reachable from elsewhere, or a certificate cannot be read.
        """
        self._view = view
        self._answers = answers
        self._clock = clock
        self._metrics = metrics
        self._options = options
        self._credentials = _credentials(options)
        self._alarms = StreamAlarms(view)
        self._health = Health(("", SERVICE))
        self._servicer = Servicer(answers, self._alarms, clock, metrics, max_streams=options.max_streams)
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._has_served = False
        self.port = 0

    @property
    def serving(self) -> bool:
        """Says whether health is SERVING."""
        return self._has_served and not self._alarms.closing

    async def start(self) -> None:
        """Listens.

        Raises:
            SettingsError: the address cannot be bound.
        """
        options = self._options
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
                # Two processes on one port would share the calls between them unseen.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=options.max_calls,
        )
        add_ExternalScalerServicer_to_server(self._servicer, server)
        self._health.add_to(server)
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(options.address)
            else:
                self.port = server.add_secure_port(options.address, self._credentials)
        except RuntimeError as error:
            raise SettingsError(f"cannot listen on {options.address}: {error}") from error
        await self._health.set_serving(False)
        await server.start()
        self._server = server
        self._watching = asyncio.create_task(self._watch(), name="scaler health")
        security = "plaintext" if self._credentials is None else "TLS"
        LOG.info("listening on %s (port %d), %s", options.address, self.port, security)

    async def drain(self) -> None:
        """Closes: health first, so that clients turn away; streams end with OK; calls in flight finish."""
        if self._server is None:
            return
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._health.shut_down()
        self._alarms.close()
        await self._clock.sleep(self._options.goodbye_seconds)
        await self._server.stop(self._options.drain_seconds)
        self._server = None

    async def _watch(self) -> None:
        while True:
            # Once there was a plan there always is one: old readings make it hold, not vanish.
            if not self._has_served and self._view.synced() and self._answers.has_plan():
                self._has_served = True
                await self._health.set_serving(True)
            self._alarms.wake_all()
            self._metrics.decision_age_seconds.set(self._answers.decision_age_seconds(self._clock.now()))
            await self._clock.sleep(self._options.watch_seconds)


def _credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    if options.certificates is not None:
        return ReloadingCertificates(options.certificates).credentials()
    if not options.insecure and not (is_loopback(options.address) or options.address.startswith("unix:")):
        raise SettingsError(
            f"{options.address} can be reached from elsewhere and has no certificate: set WATTKEEPER_TLS_CERTIFICATE "
            "and WATTKEEPER_TLS_KEY, or say --insecure."
        )
    return None
