"""`wattkeeper scaler` as a whole, in front of a cluster in memory."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

import pytest
from click.testing import CliRunner

from scaler.errors import SettingsError
from scaler.settings import ScalerSettings
from tests.cluster.controlplane.processes import free_ports
from tests.contract.commands import page, put_in_front_of
from tests.contract.scaler.serving import eventually
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.samples import budget, deployment, policy, recommendation, scaled_object
from wattkeeper.cli import scaler as command
from wattkeeper.serving.errors import AddressError


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.view.put(policy(), budget(), deployment(), scaled_object(), recommendation())

    put_in_front_of(command, cluster, monkeypatch)
    return cluster


async def test_it_serves_leads_and_hands_over_when_it_is_told_to_stop(cluster: MemoryCluster) -> None:
    asked, pages = free_ports(2)
    settings = ScalerSettings(
        identity="one",
        listen_address=f"127.0.0.1:{asked}",
        metrics_address=f"127.0.0.1:{pages}",
        goodbye_seconds=0.0,
    )
    running = asyncio.ensure_future(command.run(settings))

    async def ready() -> bool:
        return (await page(pages, "/readyz"))[0] == 200

    async def decided() -> bool:
        _, metrics = await page(pages, "/metrics")
        return re.search(r'wattkeeper_ticks_total\{outcome="decided"\} [1-9]', metrics) is not None

    await eventually(ready)
    await eventually(decided)
    assert (await page(pages, "/healthz"))[0] == 200
    assert cluster.lease_holders == {"wattkeeper-scaler": "one"}
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await running
    assert cluster.lease_holders == {}
    assert (await page(pages, "/healthz"))[0] == 0


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"algorithm": "priority-fair-shar"}, SettingsError, "Did you mean priority-fair-share"),
        ({"prometheus_url": "prometheus:9090"}, SettingsError, "WATTKEEPER_PROMETHEUS_URL"),
        ({"metrics_address": "nowhere"}, AddressError, "no host:port"),
        ({"listen_address": "0.0.0.0:1"}, SettingsError, "--insecure"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named_at_the_start(
    cluster: MemoryCluster, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    (port,) = free_ports(1)
    given: dict[str, Any] = {"metrics_address": f"127.0.0.1:{port}"} | wrong
    with pytest.raises(error, match=words):
        await command.run(ScalerSettings(**given))


def test_wrong_options_are_explained_without_a_traceback() -> None:
    result = CliRunner().invoke(command.scaler, ["--tls-key", "tls.key", "--tick-seconds", "1"])
    assert result.exit_code == 2
    assert "belong together" in result.output
