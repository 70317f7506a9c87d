from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.contract.cluster.fake_api import FakeApi, TokenCredentials
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.credentials import Credentials
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.objects import Pod

MakeCluster = Callable[..., KubernetesCluster]


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as fake:
        yield fake


@pytest.fixture
def clock() -> PausingClock:
    return PausingClock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def make_cluster(api: FakeApi, clock: PausingClock, registry: CollectorRegistry) -> AsyncIterator[MakeCluster]:
    made: list[KubernetesCluster] = []

    def make(
        *, kinds: Sequence[type[Watched]] = (Pod,), credentials: Credentials | None = None, **settings: Any
    ) -> KubernetesCluster:
        cluster = KubernetesCluster(
            credentials or TokenCredentials(api.url),
            clock=clock,
            registry=registry,
            kinds=kinds,
            request_seconds=2.0,
            instance="pod-a",
            **settings,
        )
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        await cluster.stop()


@pytest.fixture
async def eventually() -> Callable[[Callable[[], object]], Any]:
    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event to tell of it.
                await asyncio.sleep(0.005)

    return wait
