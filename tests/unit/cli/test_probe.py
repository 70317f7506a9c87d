"""`wattkeeper probe`, run as people run it, against servers on loopback in a thread of their own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.contract.power import fake_prometheus as fake
from tests.contract.power.test_scrape_reader import exporting, kepler
from wattkeeper.cli.main import main

MATRIX = {
    "kepler_node_cpu_active_joules_total": {"node_name": "n1", "zone": "package"},
    "kepler_node_cpu_idle_joules_total": {"node_name": "n1", "zone": "package"},
    "kepler_pod_cpu_joules_total": {
        "node_name": "n1", "zone": "package", "state": "running", "pod_name": "a", "pod_namespace": "ml", "pod_id": "u"
    },
}  # fmt: skip


@contextmanager
def elsewhere(server: AbstractAsyncContextManager[str]) -> Generator[str]:
    """Runs a server on a loop of its own, since the command brings its own loop too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        url = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        yield url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Prometheus:
    """Answers as one that scrapes Kepler each 5 s, up to the time it is asked for."""

    def __init__(self, metrics: dict[str, dict[str, str]]) -> None:
        self.metrics = metrics
        self.now = 0.0

    def __call__(self, promql: str) -> fake.Rows:
        if promql.startswith("count by (__name__)"):
            return [fake.row({"__name__": name}, "1", 0.0) for name in self.metrics]
        if promql.startswith("count by (zone)"):
            return [fake.row({"zone": "package"}, "1", 0.0), fake.row({"zone": "core"}, "1", 0.0)]
        if promql.startswith("count by (version)"):
            return [fake.row({"version": "v0.11.3"}, "1", 0.0)]
        if promql.startswith("topk"):
            return [fake.row({"node_name": "n1"}, "60", 0.0)]
        if promql == "vector(1)":
            return [fake.row({}, "1", 0.0)]
        return [
            fake.rows_over_time({"__name__": name, **labels}, self._points())
            for name, labels in self.metrics.items()
            if name in promql
        ]

    def _points(self) -> list[tuple[float, float]]:
        return [(self.now - 5.0 * at, 1000.0 - 100.0 * at) for at in reversed(range(4))]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> float:
    now = 1_760_000_000.0

    def fixed(_: object) -> float:
        return now

    monkeypatch.setattr("wattkeeper.cluster.clock.SystemClock.now", fixed)
    return now


def probe(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["probe", *arguments])


def report(answer: Prometheus, clock: float, *arguments: str) -> Result:
    answer.now = clock - 1.0
    with elsewhere(fake.serving(answer)) as url:
        return probe("--prometheus", url, *arguments)


def test_what_is_there_fits_one_screen_and_ends_with_0(clock: float):
    result = report(Prometheus(MATRIX), clock)
    assert result.exit_code == 0
    assert "0.10+ (v0.11.3)" in result.output
    assert "core, package (summed: package)" in result.output
    assert "Control is possible." in result.output
    assert "\x1b" not in result.output
    assert len(result.output.splitlines()) < 40


def test_what_is_missing_ends_with_1_and_names_the_fix(clock: float):
    result = report(Prometheus({}), clock)
    assert result.exit_code == 1
    assert "error: There is no Kepler here" in result.output
    assert "fix: Install Kepler" in result.output


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_scripts_get_a_structure(clock: float, output: str, load: Any):
    result = report(Prometheus(MATRIX), clock, "-o", output)
    found = load(result.stdout)
    assert found["controllable"] is True
    assert found["kepler"] == "0.10+"
    assert found["interval_seconds"] == 5.0
    assert found["window_seconds"] == 20.0
    assert found["covered"]["node_cpu_watts"] == {"count": 1, "youngest_seconds": 1.0, "oldest_seconds": 1.0}
    assert {one["level"] for one in found["findings"]} == {"warning", "note"}


def test_nobody_there_ends_with_2():
    result = probe("--prometheus", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "cannot be reached" in result.output


def test_a_login_page_ends_with_2():
    with elsewhere(fake.serving(fake.page)) as url:
        result = probe("--prometheus", url)
    assert result.exit_code == 2
    assert "login page" in result.output


def test_a_trickling_server_ends_with_2():
    with elsewhere(fake.trickling(headers_too=True)) as url:
        result = probe("--prometheus", url, "--timeout", "0.3")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--prometheus", "http://a", "--scrape", "http://b"),
        ("--prometheus", "nonsense"),
        ("--scrape", "nonsense"),
        ("--prometheus", "http://a", "--interval", "-1"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]):
    result = probe(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_help_shows_examples():
    assert "wattkeeper probe --prometheus http://localhost:9090" in probe("--help").output


def test_exporters_are_scraped_directly(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    exporters: list[Any] = []

    @asynccontextmanager
    async def server() -> AsyncGenerator[str]:
        async with exporting() as (exporter, url):
            exporter.text = kepler(now)
            exporters.append(exporter)
            yield url

    async def sleep(_: object, seconds: float) -> None:
        nonlocal now
        now += seconds
        exporters[0].text = kepler(now)

    def read(_: object) -> float:
        return now

    monkeypatch.setattr("wattkeeper.cluster.clock.SystemClock.now", read)
    monkeypatch.setattr("wattkeeper.cluster.clock.SystemClock.sleep", sleep)
    with elsewhere(server()) as url:
        result = probe("--scrape", url, "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["covered"]["node_cpu_watts"]["count"] == 1


def test_exporters_that_do_not_answer_end_with_2():
    assert probe("--scrape", "http://127.0.0.1:1/metrics").exit_code == 2
