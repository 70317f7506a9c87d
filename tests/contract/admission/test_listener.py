"""TLS, certificates that are renewed under load, readiness, and how the listener closes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from admission.errors import SettingsError
from admission.server import ServerOptions
from admission.tls import CertificateFiles, ReloadingCertificates
from tests.cluster.controlplane.certificates import Authority
from tests.contract.admission.serving import Listener, StillClock, issue, listening, review, swap, trusting
from tests.contract.scaler.serving import eventually
from wattkeeper.serving.errors import AddressError

RENEWALS = 5
CALLERS = 4


def connector(*authorities: Authority, kept: bool = True) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=trusting(*authorities), force_close=not kept)


async def ask(client: aiohttp.ClientSession, port: int) -> int:
    async with client.post(f"https://localhost:{port}/mutate-pods", data=review()) as answer:
        await answer.read()
        return answer.status


async def test_tls_is_served_to_who_trusts_it(tmp_path: Path) -> None:
    authority, files = issue(tmp_path / "a")
    stranger = Authority(tmp_path / "b")
    async with listening(certificates=ReloadingCertificates(files)) as (listener, _):
        async with aiohttp.ClientSession(connector=connector(authority)) as client:
            assert await ask(client, listener.server.port) == 200
        async with aiohttp.ClientSession(connector=connector(stranger)) as client:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(client, listener.server.port)


async def test_versions_before_tls_1_2_are_refused(tmp_path: Path) -> None:
    authority, files = issue(tmp_path)
    async with listening(certificates=ReloadingCertificates(files)) as (listener, _):
        old = trusting(authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=old)) as client:
            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(client, listener.server.port)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_certificates_are_renewed_under_load_without_one_failed_call(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    run(renewals_under_load(tmp_path))


async def renewals_under_load(tmp_path: Path) -> None:
    """Half of the callers keep their connections, half connect anew for each call; each trusts old and new alike."""
    old, files = issue(tmp_path / "mounted")
    renewed = [issue(tmp_path / f"renewed-{number}") for number in range(RENEWALS)]
    everybody = (old, *(authority for authority, _ in renewed))
    certificates = ReloadingCertificates(files)
    asked = [0] * CALLERS * 2
    done = asyncio.Event()
    async with listening(certificates=certificates) as (listener, _):

        async def call(place: int, client: aiohttp.ClientSession) -> None:
            while not done.is_set():
                assert await ask(client, listener.server.port) == 200
                asked[place] += 1

        async def everyone_asks() -> None:
            before = list(asked)

            async def answered_twice() -> bool:
                return all(now >= then + 2 for now, then in zip(asked, before, strict=True))

            await eventually(answered_twice)

        async def renew() -> None:
            for number, (_, files_then) in enumerate(renewed, start=1):
                # One file after the other, calls between them: the pair does not fit for a moment.
                swap(files_then.certificate, files.certificate)
                await everyone_asks()
                assert certificates.reloads == number - 1
                swap(files_then.key, files.key)
                await everyone_asks()
                assert certificates.reloads == number
            done.set()

        async with (
            aiohttp.ClientSession(connector=connector(*everybody)) as keeping,
            aiohttp.ClientSession(connector=connector(*everybody, kept=False)) as connecting,
            asyncio.timeout(60),
            asyncio.TaskGroup() as callers,
        ):
            for place in range(CALLERS):
                callers.create_task(call(place, keeping))
                callers.create_task(call(place + CALLERS, connecting))
            callers.create_task(renew())
        last, _ = renewed[-1]
        async with aiohttp.ClientSession(connector=connector(last)) as client:
            assert await ask(client, listener.server.port) == 200
        assert listener.results() == {"patched": float(sum(asked) + 1)}


async def test_a_kept_connection_outlives_a_renewal(tmp_path: Path) -> None:
    old, files = issue(tmp_path / "mounted")
    new, renewed = issue(tmp_path / "renewed")
    async with (
        listening(certificates=ReloadingCertificates(files)) as (listener, _),
        aiohttp.ClientSession(connector=connector(old)) as kept,
        aiohttp.ClientSession(connector=connector(new)) as fresh,
    ):
        assert await ask(kept, listener.server.port) == 200
        swap(renewed.certificate, files.certificate)
        swap(renewed.key, files.key)
        assert await ask(fresh, listener.server.port) == 200
        assert await ask(kept, listener.server.port) == 200


async def test_files_that_vanish_leave_the_last_certificates_in_use(tmp_path: Path) -> None:
    authority, files = issue(tmp_path)
    async with listening(certificates=ReloadingCertificates(files)) as (listener, _):
        files.key.rename(tmp_path / "gone")
        async with aiohttp.ClientSession(connector=connector(authority)) as client:
            assert await ask(client, listener.server.port) == 200


@pytest.mark.parametrize("text", [None, "", "no PEM"])
def test_certificates_that_cannot_be_used_are_named(tmp_path: Path, text: str | None) -> None:
    _, files = issue(tmp_path)
    if text is None:
        files.certificate.unlink()
    else:
        files.certificate.write_text(text)
    with pytest.raises(SettingsError, match=r"server\.crt"):
        ReloadingCertificates(files)


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    _, files = issue(tmp_path / "a")
    _, other = issue(tmp_path / "b")
    with pytest.raises(SettingsError, match="cannot use"):
        ReloadingCertificates(CertificateFiles(certificate=files.certificate, key=other.key))


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:1"])
def test_plaintext_that_others_can_reach_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="WATTKEEPER_TLS_CERTIFICATE"):
        Listener(address=address)


@pytest.mark.parametrize("address", ["localhost:99999", "localhost:x"])
async def test_an_address_that_means_nothing_is_named(address: str) -> None:
    with pytest.raises(AddressError, match=address):
        await Listener(address=address).server.start()


async def test_an_address_in_use_is_said() -> None:
    async with listening() as (listener, _):
        with pytest.raises(AddressError, match="cannot listen"):
            await Listener(address=f"127.0.0.1:{listener.server.port}").server.start()


async def status(client: aiohttp.ClientSession, path: str) -> int:
    async with client.get(path) as answer:
        return answer.status


async def test_it_is_ready_once_the_caches_are_complete_and_stays_so_when_they_grow_old() -> None:
    async with listening() as (listener, client):
        listener.view.complete = False
        assert (await status(client, "/healthz"), await status(client, "/readyz")) == (200, 503)
        listener.view.complete = True
        assert await status(client, "/readyz") == 200
        listener.view.complete = False
        assert await status(client, "/readyz") == 200


class GatedGoodbye(StillClock):
    def __init__(self) -> None:
        self.saying = asyncio.Event()
        self.said = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds == ServerOptions(address="").goodbye_seconds
        self.saying.set()
        await self.said.wait()


async def test_who_has_not_noticed_the_goodbye_is_still_answered_and_asked_to_go() -> None:
    clock = GatedGoodbye()
    async with listening(clock=clock) as (listener, client):
        draining = asyncio.ensure_future(listener.server.drain())
        async with asyncio.timeout(10):
            await clock.saying.wait()
            assert await status(client, "/readyz") == 503
            async with client.post("/mutate-pods", data=review()) as answer:
                assert answer.status == 200
                assert answer.headers["Connection"] == "close"
            clock.said.set()
            await draining
        with pytest.raises(aiohttp.ClientConnectionError):
            await status(client, "/healthz")


async def test_a_review_that_is_arriving_when_the_listener_closes_is_answered() -> None:
    body = review()
    async with listening() as (listener, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.server.port)
        # With "100 Continue" the server says that it waits for the body.
        head = "POST /mutate-pods HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            assert b" 100 " in await reader.readline()
            assert await reader.readline() == b"\r\n"
            draining = asyncio.ensure_future(listener.server.drain())
            await asyncio.sleep(0)
            writer.write(body)
            assert b" 200 " in await reader.readline()
            writer.close()
            await draining
