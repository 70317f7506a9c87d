"""Who may connect, what health says, and how the listener closes."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from scaler.errors import SettingsError
from scaler.server import SERVICE, ScalerServer, ServerOptions
from scaler.tls import CertificateFiles
from tests.cluster.controlplane.certificates import Authority
from tests.contract.scaler.serving import StillClock, client, eventually, make_server, reference, serving
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import NOW, budget, deployment, policy, recommendation, scaled_object
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_capping_policy import PowerCappingPolicy, PowerCappingPolicyStatus
from wattkeeper.api.power_recommendation import PowerRecommendation

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def view() -> MemoryView:
    view = MemoryView()
    view.put(policy(), budget(), deployment(), scaled_object(), recommendation())
    return view


def issue(folder: Path, name: str = "server") -> tuple[Authority, CertificateFiles]:
    authority = Authority(folder)
    pair = authority.issue(name)
    return authority, CertificateFiles(certificate=pair.certificate, key=pair.key)


def trusting(authority: Authority, own: CertificateFiles | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=authority.certificate.read_bytes(),
        private_key=own.key.read_bytes() if own else None,
        certificate_chain=own.certificate.read_bytes() if own else None,
    )


async def health(server: ScalerServer, service: str = "") -> Any:
    async with grpc.aio.insecure_channel(f"localhost:{server.port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return (await check(health_pb2.HealthCheckRequest(service=service))).status


async def test_tls_is_served_to_who_trusts_it(view: MemoryView, tmp_path: Path) -> None:
    authority, files = issue(tmp_path / "a")
    stranger = Authority(tmp_path / "b")
    async with serving(view, certificates=files) as server:
        async with client(server, trusting(authority)) as keda:
            assert (await keda.IsActive(reference())).result
        async with client(server, trusting(stranger)) as keda:
            with pytest.raises(grpc.aio.AioRpcError):
                await keda.IsActive(reference(), timeout=5)


async def test_mutual_tls_refuses_who_shows_no_certificate_or_a_foreign_one(view: MemoryView, tmp_path: Path) -> None:
    authority, files = issue(tmp_path / "a")
    _, foreign = issue(tmp_path / "b", "keda")
    keda_pair = authority.issue("keda")
    own = CertificateFiles(certificate=keda_pair.certificate, key=keda_pair.key)
    files = replace(files, client_ca=authority.certificate)
    async with serving(view, certificates=files) as server:
        async with client(server, trusting(authority, own)) as keda:
            assert (await keda.IsActive(reference())).result
        for credentials in (trusting(authority), trusting(authority, foreign)):
            async with client(server, credentials) as keda:
                with pytest.raises(grpc.aio.AioRpcError):
                    await keda.IsActive(reference(), timeout=5)


async def test_renewed_certificates_are_taken_up_while_connections_and_streams_stay(
    view: MemoryView, tmp_path: Path
) -> None:
    old, files = issue(tmp_path / "mounted")
    files = replace(files, client_ca=old.certificate)
    old_keda = old.issue("keda")
    old_own = trusting(old, CertificateFiles(certificate=old_keda.certificate, key=old_keda.key))
    async with serving(view, certificates=files) as server, client(server, old_own) as kept:
        stream = kept.StreamIsActive(reference())
        await stream.read()
        new, renewed = issue(tmp_path / "renewed")
        new_keda = new.issue("keda")
        swap(renewed.certificate, files.certificate)
        swap(renewed.key, files.key)
        swap(new.certificate, old.certificate)
        new_own = trusting(new, CertificateFiles(certificate=new_keda.certificate, key=new_keda.key))
        async with client(server, new_own) as keda:
            assert (await keda.IsActive(reference(), timeout=5)).result
        assert (await kept.IsActive(reference())).result
        view.put(recommendation(target=0))
        async with asyncio.timeout(10):
            assert not (await stream.read()).result
        stream.cancel()


async def test_a_renewal_that_cannot_be_read_leaves_the_last_certificates_in_use(
    view: MemoryView, tmp_path: Path
) -> None:
    authority, files = issue(tmp_path)
    async with serving(view, certificates=files) as server:
        files.key.rename(tmp_path / "gone")
        async with client(server, trusting(authority)) as keda:
            assert (await keda.IsActive(reference(), timeout=5)).result


def swap(new: Path, place: Path) -> None:
    copied = place.with_suffix(".new")
    shutil.copy(new, copied)
    copied.replace(place)


def test_certificates_that_are_not_there_are_named(view: MemoryView, tmp_path: Path) -> None:
    files = CertificateFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    with pytest.raises(SettingsError, match=r"tls\.(crt|key)"):
        make_server(view, StillClock(), certificates=files)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:1"])
def test_plaintext_that_others_can_reach_must_be_asked_for(view: MemoryView, address: str) -> None:
    with pytest.raises(SettingsError, match="--insecure"):
        make_server(view, StillClock(), address=address)


async def test_an_address_in_use_is_a_settings_error(view: MemoryView) -> None:
    async with serving(view) as server:
        with pytest.raises(SettingsError, match="cannot listen"):
            await make_server(view, StillClock(), address=f"127.0.0.1:{server.port}").start()


async def test_health_serves_only_once_caches_and_a_plan_are_there(view: MemoryView) -> None:
    view.complete = False
    view.remove(PowerRecommendation, "chat", "deployment-llm")
    async with serving(view) as server:
        assert await health(server) == NOT_SERVING
        view.complete = True
        await asyncio.sleep(0.05)
        assert await health(server) == NOT_SERVING
        view.put(recommendation())

        async def is_serving() -> bool:
            return await health(server, SERVICE) == SERVING

        await eventually(is_serving)
        assert await health(server) == SERVING


async def test_a_policy_that_is_known_to_select_nothing_keeps_health_from_nothing(view: MemoryView) -> None:
    view.remove(PowerRecommendation, "chat", "deployment-llm")
    idle = policy()
    said = Condition(type="Ready", status="False", reason="NoServices", last_transition_time="2026-01-01T00:00:00Z")
    status = PowerCappingPolicyStatus(services=0, conditions=(said,))
    view.put(PowerCappingPolicy(metadata=idle.metadata, spec=idle.spec, status=status))
    async with serving(view) as server:

        async def is_serving() -> bool:
            return await health(server, SERVICE) == SERVING

        await eventually(is_serving)


async def test_neither_stale_readings_nor_a_broken_watch_change_health(view: MemoryView) -> None:
    clock = StillClock()
    async with serving(view, clock) as server:

        async def is_serving() -> bool:
            return await health(server) == SERVING

        await eventually(is_serving)
        clock.time = NOW + 3600
        view.complete = False
        await asyncio.sleep(0.05)
        assert await is_serving()


async def test_clients_that_have_not_noticed_the_goodbye_are_still_answered(view: MemoryView) -> None:
    clock = GatedGoodbye()
    async with serving(view, clock) as server, client(server) as keda:
        draining = asyncio.ensure_future(server.drain())
        async with asyncio.timeout(10):
            await clock.saying_goodbye.wait()
            assert await health(server) == NOT_SERVING
            assert not server.serving
            assert (await keda.IsActive(reference())).result
            clock.said.set()
            await draining
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await keda.IsActive(reference(), timeout=5)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


class GatedGoodbye(StillClock):
    def __init__(self) -> None:
        super().__init__()
        self.saying_goodbye = asyncio.Event()
        self.said = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds == ServerOptions(address="").goodbye_seconds:
            self.saying_goodbye.set()
            await self.said.wait()
        await super().sleep(seconds)
