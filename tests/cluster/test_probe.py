"""`wattkeeper probe` against a real Prometheus that scrapes Kepler's, dcgm-exporter's and vLLM's formats."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.cluster.controlplane.bench import Bench

PROGRAM = Path(sys.executable).with_name("wattkeeper")


async def probe(url: str, *options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        "probe",
        "--prometheus",
        url,
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_prometheus_with_everything_is_ready_for_control(bench: Bench) -> None:
    await bench.add_nodes(2)
    await bench.deploy(bench.deployment("llm", replicas=2))
    await bench.exporter.set_demand(bench.namespace, "llm", 8)
    url = bench.plane.prometheus_url
    assert url is not None

    async def ready() -> dict[str, Any] | None:
        status, said = await probe(url, "-o", "json")
        return json.loads(said) if status == 0 else None

    found = await bench.wait_for(ready, what="the probe finds all that control needs", timeout_seconds=40)
    assert found is not None
    text = json.dumps(found)
    assert "kepler" in text.lower()
    assert "vllm" in text.lower()


async def test_a_vanished_kepler_is_missing_and_the_probe_says_how_to_fix_it(bench: Bench) -> None:
    await bench.add_nodes(1)
    await bench.exporter.vanish()
    url = bench.plane.prometheus_url
    assert url is not None

    async def missing() -> str | None:
        status, said = await probe(url)
        return said if status == 1 else None

    said = await bench.wait_for(missing, what="the probe misses Kepler", timeout_seconds=40)
    assert said is not None
    assert "Kepler" in said


async def test_nothing_that_answers_is_said_at_once() -> None:
    status, said = await probe("http://127.0.0.1:1")
    assert status == 2
    assert "127.0.0.1:1" in said
