"""`wattkeeper actuator` as a whole, in front of a cluster in memory."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from click.testing import CliRunner

from kserve_hooks.settings import ActuatorSettings
from tests.cluster.controlplane.processes import free_ports
from tests.contract.commands import page
from tests.contract.scaler.serving import eventually
from tests.unit.kserve_hooks.world import World
from wattkeeper.cli import actuator as command
from wattkeeper.serving.errors import AddressError


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A service with a ceiling of 3, whose cluster the command finds, whatever credentials there are."""
    made = World()

    def found(*_: Any, **__: Any) -> Any:
        return made.cluster

    monkeypatch.setattr(command, "KubernetesCluster", found)
    monkeypatch.setattr(command, "find_credentials", found)
    made.policy()
    made.inference_service("hpa", maxReplicas=8)
    await made.recommend(3)
    return made


def settings(**given: Any) -> ActuatorSettings:
    (port,) = free_ports(1)
    quick: dict[str, Any] = {"identity": "one", "pass_seconds": 0.02, "warm_up_seconds": 0.0, "lease_seconds": 4}
    everything: dict[str, Any] = {"metrics_address": f"127.0.0.1:{port}", **quick, **given}
    return ActuatorSettings(**everything)


async def stopped(running: asyncio.Future[None]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await running


async def test_it_keeps_ceilings_shows_metrics_and_stops_when_it_is_told_to(world: World) -> None:
    given = settings()
    running = asyncio.ensure_future(command.run(given))

    async def capped() -> bool:
        return world.bounds() == (None, 3)

    await eventually(capped)
    port = int(given.metrics_address.rpartition(":")[2])
    assert (await page(port, "/readyz"))[0] == 200
    _, metrics = await page(port, "/metrics")
    assert "wattkeeper_actuator_leader 1.0" in metrics
    assert 'wattkeeper_actuator_writes_total{outcome="written",what="SetFields"} 1.0' in metrics
    await stopped(running)
    assert (await page(port, "/healthz"))[0] == 0


async def test_a_rehearsal_prints_what_it_would_do_and_writes_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    running = asyncio.ensure_future(command.rehearse(settings()))
    said = ""

    async def printed() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "would set spec.predictor.maxReplicas from 8 to 3" in said

    await eventually(printed)
    await stopped(running)
    assert world.cluster.written == []


def test_an_eviction_s_effect_is_awaited_for_twice_as_long_as_a_decision_counts() -> None:
    assert command.service_options(settings(stale_seconds=40.0)).plan.kill.settle_seconds == 80.0


async def test_an_address_that_means_nothing_is_said(world: World) -> None:
    with pytest.raises(AddressError, match="no host:port"):
        await command.run(settings(metrics_address="nowhere"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dry-run", "--restore"], "exclude each other"),
        (["--pass-seconds", "0"], "WATTKEEPER_PASS_SECONDS"),
        (["--scaler-address", "nowhere"], "host:port"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(command.actuator, arguments)
    assert result.exit_code == 2
    assert words in result.output
