"""A Prometheus of a few lines on loopback, which answers from functions and can fail in every way that tests need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Rows = list[dict[str, Any]]
# From a query's text to its rows, or a whole answer.
Answer = Callable[[str], Rows | web.StreamResponse | Awaitable[Rows]]


def row(labels: dict[str, str], value: str, when: float) -> dict[str, Any]:
    """One row of a vector."""
    return {"metric": labels, "value": [when, value]}


def rows_over_time(labels: dict[str, str], points: list[tuple[float, float]]) -> dict[str, Any]:
    """One row of a matrix."""
    return {"metric": labels, "values": [[when, str(value)] for when, value in points]}


def success(rows: Rows, **more: object) -> web.Response:
    """A whole answer."""
    kind = "matrix" if rows and "values" in rows[0] else "vector"
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": rows}, **more})


@asynccontextmanager
async def serving(answer: Answer, seen: list[web.Request] | None = None) -> AsyncGenerator[str]:
    """Serves on a free port of loopback; yields the URL."""

    async def query(request: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(request)
        said = answer(request.query["query"])
        if isinstance(said, Awaitable):
            said = await said
        return success(said) if isinstance(said, list) else said

    application = web.Application()
    application.router.add_get("/api/v1/query", query)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port: int = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def trickling(headers_too: bool) -> AsyncGenerator[str]:
    """A server that sends a byte now and then, for ever."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        begin = b"HTTP/1.1 200 OK\r\n" if headers_too else b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        writer.write(begin)
        try:
            while True:
                writer.write(b"X" if headers_too else b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


def refusing(status: int) -> Answer:
    """Answers every query with a status."""
    return lambda _: web.json_response({"status": "error", "error": "overloaded"}, status=status)


def garbled(body: bytes) -> Answer:
    """Fails every query with bytes that are no text."""
    return lambda _: web.Response(status=502, body=body)


def redirecting(url: str) -> Answer:
    """Sends every query elsewhere."""
    return lambda _: web.Response(status=302, headers={"Location": url})


def page(_: str) -> web.Response:
    """Answers with a login page."""
    return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")


def saying(body: object) -> Answer:
    """Answers every query with the same JSON."""
    return lambda _: encoded(body)


def encoded(body: object) -> web.Response:
    """Answers with any JSON."""
    return web.Response(text=json.dumps(body), content_type="application/json")
