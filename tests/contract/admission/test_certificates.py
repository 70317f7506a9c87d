"""Certificates of our own over real TLS on loopback: issued, rotated under load, lost and issued anew."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
import pytest
import uvloop

from admission.certificate_rules import Lives
from tests.contract.admission.serving import Listener, review
from tests.contract.scaler.serving import eventually
from tests.unit.admission.certificates import DAY, SECRET, SETTLE, SPACE, CertificateCluster, Replica, SetClock

LIVES = Lives(names=("localhost", "127.0.0.1"), authority_seconds=60 * DAY, serving_seconds=30 * DAY)
ROTATIONS = 3
CALLERS = 2
# Two renewals of the serving certificate, with the second a new authority, and the time until it has replaced the old.
CYCLE = (20 * DAY, 20 * DAY, *[SETTLE / 2] * 5)
# X509_V_FLAG_NO_CHECK_TIME: the certificates' days are the injected clock's, which OpenSSL does not know.
_ANY_DAY: Final = 0x200000


def trusting(cluster: CertificateCluster) -> ssl.SSLContext:
    """Returns what a caller needs that goes by a caBundle as it is now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _ANY_DAY)
    context.load_verify_locations(cadata=cluster.bundles()[0].decode())
    return context


def caller(cluster: CertificateCluster, *, kept: bool = False) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(cluster), force_close=not kept))


async def ask(client: aiohttp.ClientSession, listener: Listener, host: str = "localhost") -> int:
    async with client.post(f"https://{host}:{listener.server.port}/mutate-pods", data=review()) as answer:
        await answer.read()
        return answer.status


@asynccontextmanager
async def serving(replica: Replica) -> AsyncGenerator[Listener]:
    listener = Listener(certificates=replica.certificates)
    await listener.server.start()
    try:
        yield listener
    finally:
        await listener.server.drain()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_authorities_are_rotated_under_load_without_one_failed_call(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    run(rotations_under_load())


async def rotations_under_load() -> None:
    """Callers of two replicas: some keep their connection, some connect anew each time, trusting the caBundle then."""
    cluster, clock = CertificateCluster(), SetClock()
    replicas = [Replica(cluster, clock, LIVES) for _ in range(2)]
    for replica in replicas:
        await replica.keeper.round()
    asked: dict[str, int] = {}
    done = asyncio.Event()

    async def keeping(name: str, listener: Listener) -> None:
        async with caller(cluster, kept=True) as client:
            while not done.is_set():
                assert await ask(client, listener) == 200
                asked[name] = asked.get(name, 0) + 1

    async def connecting(name: str, listener: Listener) -> None:
        while not done.is_set():
            async with caller(cluster) as client:
                assert await ask(client, listener) == 200
            asked[name] = asked.get(name, 0) + 1

    async def everyone_asks() -> None:
        before = dict(asked)

        async def twice() -> bool:
            return len(asked) == 4 * CALLERS and all(asked[name] >= before.get(name, 0) + 2 for name in asked)

        await eventually(twice)

    async def rotate() -> None:
        for _ in range(ROTATIONS):
            old = cluster.kept.issuing
            for seconds in CYCLE:
                clock.time += seconds
                for replica in replicas:
                    await replica.keeper.round()
                await everyone_asks()
            new = cluster.kept.issuing
            assert new is not None
            assert new != old
            assert cluster.named() == [{new.certificate}] * 4
        done.set()

    async with AsyncExitStack() as listeners, asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        served = [await listeners.enter_async_context(serving(replica)) for replica in replicas]
        for place, listener in enumerate(served):
            for number in range(CALLERS):
                tasks.create_task(keeping(f"keeping {place} {number}", listener))
                tasks.create_task(connecting(f"connecting {place} {number}", listener))
        tasks.create_task(rotate())
    assert sum(listener.results()["patched"] for listener in served) == sum(asked.values())


async def test_both_names_and_addresses_are_served() -> None:
    cluster, clock = CertificateCluster(), SetClock()
    replica = Replica(cluster, clock, LIVES)
    await replica.keeper.round()
    async with serving(replica) as listener, caller(cluster) as client:
        assert await ask(client, listener) == 200
        assert await ask(client, listener, "127.0.0.1") == 200


async def test_nobody_is_answered_before_the_first_certificate_and_everybody_after() -> None:
    cluster, clock = CertificateCluster(), SetClock()
    replica = Replica(cluster, clock, LIVES)
    async with serving(replica) as listener:
        assert not listener.server.ready()
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask(client, listener)
        await replica.keeper.round()
        assert listener.server.ready()
        async with caller(cluster) as client:
            assert await ask(client, listener) == 200


async def test_a_lost_secret_costs_no_call() -> None:
    cluster, clock = CertificateCluster(), SetClock()
    replica = Replica(cluster, clock, LIVES)
    await replica.keeper.round()
    first = replica.shows
    async with serving(replica) as listener:
        cluster.trust.put_secret(SPACE, SECRET, {})
        for _ in range(5):
            async with caller(cluster) as before:
                clock.time += SETTLE / 2
                await replica.keeper.round()
                assert await ask(before, listener) == 200
            async with caller(cluster) as after:
                assert await ask(after, listener) == 200
    assert replica.shows != first
