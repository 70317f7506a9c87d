"""A real HTTP server on loopback that takes alerts, or fails as a test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeSink:
    """Attributes: what was asked, as (path, headers, JSON), and how it answers; None is a plain 200."""

    url: str = ""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list[tuple[str, dict[str, str], Any]])
    answer: Answer | None = None

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, dict(request.headers), json.loads(await request.read())))
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(text="ok")


@asynccontextmanager
async def fake_sink(tls: ssl.SSLContext | None = None) -> AsyncGenerator[FakeSink]:
    sink = FakeSink()
    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{tail:.*}", sink.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    sink.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
    try:
        yield sink
    finally:
        await runner.cleanup()


def status(code: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, text=text, headers={name.replace("_", "-"): v for name, v in headers.items()})

    return answer


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    """Answers with as much as anybody reads."""
    response = web.StreamResponse(status=500)
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def cut_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()
