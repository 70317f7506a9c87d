"""What tests of whole commands share: a cluster in memory in place of a real one, and the pages that commands serve."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import aiohttp
import pytest

from tests.unit.scaler.memory_cluster import MemoryCluster


def put_in_front_of(command: ModuleType, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a command find this cluster, whatever credentials there are."""

    def made(*_: Any, **__: Any) -> MemoryCluster:
        return cluster

    monkeypatch.setattr(command, "KubernetesCluster", made)
    monkeypatch.setattr(command, "find_credentials", made)


async def page(port: int, path: str) -> tuple[int, str]:
    """Returns status and text of a page on loopback, (0, "") where nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""
