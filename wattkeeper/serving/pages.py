"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from wattkeeper.serving.addresses import listen

_MAX_REQUEST_BYTES: Final = 16 * 1024


def health_routes(ready: Callable[[], bool], *, unready: str) -> list[web.RouteDef]:
    """Returns /healthz, which always says yes, and /readyz, which says `unready` while it says no."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{unready}\n")

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


class MetricsPage:
    """Serves a registry over plain HTTP, beside the health routes."""

    def __init__(self, registry: CollectorRegistry, *, address: str, ready: Callable[[], bool], unready: str) -> None:
        """Prepares, without listening yet.

        Args:
            registry: what /metrics shows.
            address: host:port; port 0 takes a free one.
            ready: whether /readyz says yes.
            unready: why it may say no.
        """
        self._registry = registry
        self._address = address
        self._ready = ready
        self._unready = unready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            AddressError: the address means nothing or cannot be bound.
        """
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
        app.add_routes([web.get("/metrics", self._metrics), *health_routes(self._ready, unready=self._unready)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.port = await listen(self._runner, self._address)

    async def stop(self) -> None:
        """Closes."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _: web.Request) -> web.Response:
        # In a thread: thousands of services make a long page, and others who ask meanwhile must not wait for it.
        page = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
