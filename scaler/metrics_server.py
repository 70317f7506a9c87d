"""/metrics, /healthz and /readyz over plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from scaler.errors import SettingsError

_MAX_REQUEST_BYTES: Final = 16 * 1024


class MetricsServer:
    """Serves a registry, and says whether this process lives and whether KEDA should come here."""

    def __init__(self, registry: CollectorRegistry, *, address: str, ready: Callable[[], bool]) -> None:
        """Prepares, without listening yet.

        Args:
            registry: what /metrics shows.
            address: host:port; port 0 takes a free one.
            ready: whether /readyz says yes.
        """
        self._registry = registry
        self._address = address
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            SettingsError: the address means nothing or cannot be bound.
        """
        host, _, port = self._address.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"{self._address} is no host:port")
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
        app.add_routes(
            [web.get("/metrics", self._metrics), web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            await runner.cleanup()
            raise SettingsError(f"cannot listen on {self._address}: {error.strerror}") from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Closes."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _: web.Request) -> web.Response:
        # In a thread: thousands of services make a long page, and KEDA must not wait for it.
        page = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="no complete plan yet, or stopping\n")
