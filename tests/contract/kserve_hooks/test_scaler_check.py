"""The actuator's own question, to a real scaler's listener on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_hooks.scaler_check import ScalerCheck
from scaler.tls import CertificateFiles
from tests.cluster.controlplane.certificates import Authority
from tests.cluster.controlplane.processes import free_ports
from tests.contract.scaler.serving import eventually, serving
from tests.unit.scaler.memory_cluster import MemoryView


@pytest.fixture
def view() -> MemoryView:
    return MemoryView()


async def test_a_scaler_that_serves_answers(view: MemoryView) -> None:
    async with serving(view) as server:
        await eventually(ScalerCheck(address=f"127.0.0.1:{server.port}").answers)


async def test_nobody_at_the_port_is_no_answer_and_one_that_comes_later_is(view: MemoryView) -> None:
    (port,) = free_ports(1)
    check = ScalerCheck(address=f"127.0.0.1:{port}", deadline_seconds=0.5)
    assert not await check.answers()
    async with serving(view, address=f"127.0.0.1:{port}"):
        await eventually(check.answers)
    assert not await check.answers()


async def test_a_name_that_nobody_knows_is_no_answer() -> None:
    assert not await ScalerCheck(address="scaler.invalid:9090", deadline_seconds=0.5).answers()


async def test_over_tls_its_authority_has_to_be_the_one_that_is_known(view: MemoryView, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "stranger")
    pair = authority.issue("scaler")
    files = CertificateFiles(certificate=pair.certificate, key=pair.key)
    async with serving(view, certificates=files) as server:
        address = f"localhost:{server.port}"
        await eventually(ScalerCheck(address=address, tls=True, authority=authority.certificate).answers)
        assert not await ScalerCheck(address=address, tls=True, authority=stranger.certificate).answers()
        assert not await ScalerCheck(address=address).answers()


async def test_an_authority_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    assert not await ScalerCheck(address="localhost:1", tls=True, authority=tmp_path / "none").answers()
