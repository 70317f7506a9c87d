"""`wattkeeper admission` as a whole, in front of a cluster in memory."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from admission.errors import SettingsError
from admission.settings import AdmissionSettings
from tests.cluster.controlplane.processes import free_ports
from tests.contract.admission.serving import issue, review, trusting
from tests.contract.commands import page, put_in_front_of
from tests.contract.scaler.serving import eventually
from tests.unit.admission.samples import cluster as filled
from tests.unit.admission.samples import deployment, policy
from tests.unit.scaler.memory_cluster import MemoryCluster
from wattkeeper.cli import admission as command
from wattkeeper.serving.errors import AddressError


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    cluster = MemoryCluster(filled(deployment(), policy()))

    put_in_front_of(command, cluster, monkeypatch)
    return cluster


async def test_it_answers_over_tls_shows_metrics_and_stops_when_it_is_told_to(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    asked, pages = free_ports(2)
    authority, files = issue(tmp_path)
    settings = AdmissionSettings(
        identity="one",
        listen_address=f"127.0.0.1:{asked}",
        metrics_address=f"127.0.0.1:{pages}",
        tls_certificate=files.certificate,
        tls_key=files.key,
        goodbye_seconds=0.0,
    )
    running = asyncio.ensure_future(command.run(settings))

    async def ready() -> bool:
        return (await page(pages, "/readyz"))[0] == 200

    await eventually(ready)
    assert cluster.lease_holders == {"wattkeeper-admission": "one"}
    connector = aiohttp.TCPConnector(ssl=trusting(authority))
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.post(f"https://localhost:{asked}/mutate-pods", data=review()) as answer,
    ):
        assert b'"patch"' in await answer.read()
    _, metrics = await page(pages, "/metrics")
    assert 'wattkeeper_admission_reviews_total{result="patched",webhook="mutate-pods"} 1.0' in metrics
    assert "wattkeeper_view_staleness_seconds 0.0" in metrics
    assert "wattkeeper_alert_sinks_readable 1.0" in metrics
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await running
    assert (await page(pages, "/healthz"))[0] == 0
    assert cluster.lease_holders == {}


async def test_it_issues_certificates_of_its_own_and_is_ready_once_it_has_them(cluster: MemoryCluster) -> None:
    cluster.trust.put_webhooks("MutatingWebhookConfiguration", "wk", {"a.pods": b""})
    asked, pages = free_ports(2)
    settings = AdmissionSettings(
        identity="one",
        namespace="power",
        listen_address=f"127.0.0.1:{asked}",
        metrics_address=f"127.0.0.1:{pages}",
        certificate_secret="certificates",
        certificate_names=("localhost",),
        mutating_configuration="wk",
        goodbye_seconds=0.0,
    )
    running = asyncio.ensure_future(command.run(settings))

    async def state() -> int:
        return (await page(pages, "/readyz"))[0]

    async def waits() -> bool:
        _, metrics = await page(pages, "/metrics")
        return re.search(r'certificate_failures_total\{part="secret"\} [1-9]', metrics) is not None

    async def ready() -> bool:
        return await state() == 200

    await eventually(waits)
    assert await state() == 503
    cluster.trust.put_secret("power", "certificates", {})
    await eventually(ready)
    (bundle,) = cluster.trust.read_webhooks("MutatingWebhookConfiguration", "wk").bundles
    trusting_it = ssl.create_default_context(cadata=bundle.decode())
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting_it)) as client,
        client.post(f"https://localhost:{asked}/mutate-pods", data=review()) as answer,
    ):
        assert b'"patch"' in await answer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await running


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"prometheus_url": "prometheus:9090"}, SettingsError, "WATTKEEPER_PROMETHEUS_URL"),
        ({"alert_sinks_file": Path("/nowhere/sinks.yaml")}, SettingsError, "WATTKEEPER_ALERT_SINKS_FILE"),
        ({"metrics_address": "nowhere"}, AddressError, "no host:port"),
        ({"listen_address": "0.0.0.0:1"}, SettingsError, "WATTKEEPER_TLS_CERTIFICATE"),
        (
            {"tls_certificate": Path("/nowhere/tls.crt"), "tls_key": Path("/nowhere/tls.key")},
            SettingsError,
            r"/nowhere/tls\.crt",
        ),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named_at_the_start(
    cluster: MemoryCluster, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    (port,) = free_ports(1)
    given: dict[str, Any] = {"metrics_address": f"127.0.0.1:{port}"} | wrong
    with pytest.raises(error, match=words):
        await command.run(AdmissionSettings(**given))
    assert cluster.lease_holders == {}


def test_wrong_options_are_explained_without_a_traceback() -> None:
    result = CliRunner().invoke(command.admission, ["--tls-key", "tls.key"])
    assert result.exit_code == 2
    assert "belong together" in result.output
