"""Wattkeeper's services, installed and running for as long as a module's tests need them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tests.cluster.controlplane.api import Api
from tests.cluster.controlplane.plane import Plane


class Installable(Protocol):
    """Objects of the chart, and processes."""

    async def install(self, api: Api) -> None:
        """Applies the objects and starts the processes."""
        ...

    def kill_all(self) -> None:
        """Ends the processes."""
        ...


T = TypeVar("T", bound=Installable)


@contextmanager
def installed(plane: Plane, made: T) -> Generator[T]:
    """Installs it, and ends its processes in the end."""

    async def install() -> None:
        async with Api(plane.connection) as api:
            await made.install(api)

    try:
        # Processes die with the thread that starts them, so this must be the main one: no loop runs here yet.
        asyncio.run(install())
        yield made
    finally:
        made.kill_all()
