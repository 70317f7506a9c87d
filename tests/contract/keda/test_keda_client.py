"""What KEDA makes of our answers: its own NewExternalScaler and NewExternalPushScaler against our server."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.tls import CertificateFiles
from tests.cluster.controlplane.build import find_go
from tests.cluster.controlplane.certificates import Authority
from tests.contract.keda.keda_client import KedaClient, build_driver, keda_client
from tests.contract.scaler.serving import serving
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import budget, deployment, policy, recommendation, scaled_object

pytestmark = pytest.mark.cluster

REPLICAS = {"name": "s0-wattkeeper-replicas", "type": "AverageValue", "target_milli": 1000}


@pytest.fixture(scope="module")
def driver() -> Path:
    go = find_go()
    if go is None:
        missing = "Go is not installed: KEDA's own client cannot be built"
        if os.environ.get("REQUIRE_CLUSTER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return build_driver(go)


@pytest.fixture
async def keda(driver: Path) -> AsyncGenerator[KedaClient]:
    async with keda_client(driver) as client:
        yield client


@pytest.fixture
def view() -> MemoryView:
    view = MemoryView()
    view.put(policy(), budget(), deployment(replicas=5), scaled_object(), recommendation(target=3))
    return view


async def test_keda_asks_the_hpa_for_one_replica_per_unit(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}")
        assert (await keda.ask("specs"))["specs"] == [REPLICAS]
        await keda.open(f"localhost:{server.port}", metric="cap", index=4)
        assert (await keda.ask("specs"))["specs"] == [REPLICAS | {"name": "s4-wattkeeper-cap"}]


async def test_keda_reads_the_grant_and_its_activity(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}")
        for grant in (3, 11, 0, 1):
            view.put(recommendation(target=grant))
            answer = await keda.ask("value", metric="s0-wattkeeper-replicas")
            assert (answer["values_milli"], answer["active"]) == ([grant * 1000], grant > 0)
            assert answer["value_names"] == ["s0-wattkeeper-replicas"]


async def test_keda_passes_a_fraction_on_that_the_hpa_acts_on(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}")
        for current, grant in ((20, 19), (11, 10), (333, 332), (1999, 1998)):
            view.put(deployment(replicas=current), scaled_object(advanced={}), recommendation(target=grant))
            (milli,) = (await keda.ask("value", metric="s0-wattkeeper-replicas"))["values_milli"]
            assert milli / (1000.0 * current) < 1.0 - 0.1 <= (milli + 1) / (1000.0 * current)


async def test_keda_gets_an_error_and_no_number_where_there_is_none(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}", name="unknown")
        answer = await keda.ask("value", metric="s0-wattkeeper-replicas")
        assert "no ScaledObject chat/unknown" in answer["error"]
        assert "values_milli" not in answer
        await keda.open(f"localhost:{server.port}", metric="watts")
        assert "specs" not in await keda.ask("specs")


async def test_keda_is_pushed_the_state_and_its_transitions(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}", push=True)
        assert (await keda.ask("pushed"))["active"]
        view.put(recommendation(target=7))
        view.put(recommendation(target=0))
        assert not (await keda.ask("pushed"))["active"]
        view.put(recommendation(target=2))
        assert (await keda.ask("pushed"))["active"]


async def test_keda_is_pushed_the_same_specs_that_it_can_ask_for(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        await keda.open(f"localhost:{server.port}", push=True)
        pushed = await keda.ask("pushed-specs")
        assert pushed["specs"] == (await keda.ask("specs"))["specs"] == [REPLICAS]


async def test_keda_comes_back_by_itself_after_a_restart(keda: KedaClient, view: MemoryView) -> None:
    async with serving(view) as server:
        port = server.port
        await keda.open(f"localhost:{port}", push=True)
        assert (await keda.ask("pushed"))["active"]
    view.put(recommendation(target=0))
    async with serving(view, address=f"127.0.0.1:{port}"):
        assert not (await keda.ask("pushed"))["active"]
        answer = await keda.ask("value", metric="s0-wattkeeper-replicas")
        assert answer["values_milli"] == [0]


async def test_keda_shows_its_client_certificate_and_trusts_ours(
    keda: KedaClient, view: MemoryView, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    own, clients = authority.issue("server"), authority.issue("keda")
    files = CertificateFiles(certificate=own.certificate, key=own.key)
    auth = {"caCert": authority.certificate.read_text()}
    shown = {"tlsClientCert": clients.certificate.read_text(), "tlsClientKey": clients.key.read_text()}
    async with serving(view, certificates=files) as server:
        await keda.open(f"localhost:{server.port}", auth=auth)
        assert (await keda.ask("value", metric="s0-wattkeeper-replicas"))["values_milli"] == [3000]
    async with serving(view, certificates=replace(files, client_ca=authority.certificate)) as server:
        await keda.open(f"localhost:{server.port}", auth=auth)
        assert "error" in await keda.ask("value", metric="s0-wattkeeper-replicas")
        await keda.open(f"localhost:{server.port}", auth=auth | shown, enableTLS="true")
        assert (await keda.ask("value", metric="s0-wattkeeper-replicas"))["values_milli"] == [3000]
