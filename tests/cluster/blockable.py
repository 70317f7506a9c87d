"""A port in front of another one that a test can block, as a firewall or a dead listener would."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class BlockablePort:
    """Passes connections on to a target while it is open; blocked, it refuses new ones and has cut the others."""

    def __init__(self, port: int, target: str) -> None:
        """Takes the loopback port to listen on, and host:port of whom to pass connections on to."""
        self._port = port
        self._host, _, there = target.rpartition(":")
        self._there = int(there)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """Where clients connect, host:port."""
        return f"127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self._port)

    async def block(self) -> None:
        """Cuts every connection, and refuses further ones."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        # Their ends see it, and end.
        await asyncio.gather(*self._passing)
        await self._server.wait_closed()
        self._server = None

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, onward = await asyncio.open_connection(self._host, self._there)
        except OSError:
            await self._end(writer)
            return
        self._writers.add(onward)
        await asyncio.gather(self._copy(reader, onward), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        await self._end(writer)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self._writers.discard(writer)
