from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.contract.power import fake_prometheus as fake
from tests.unit.power.readers.series import by_name
from wattkeeper.api.readings import PodKey, ServiceKey
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.power.readers.scrape_reader import ScrapeReader
from wattkeeper.power.readers.settings import ReaderSettings
from wattkeeper.power.readers.targets import Target

PROMPT = ReaderSettings(deadline_seconds=0.5)


def kepler(seconds: float) -> str:
    lines = [
        f'kepler_node_cpu_{part}_joules_total{{node_name="n1",zone="package",path="p"}} {watts * seconds}'
        for part, watts in (("active", 200), ("idle", 100))
    ]
    pod = 'node_name="n1",pod_name="a",pod_namespace="ml",pod_id="u",state="running",zone="package"'
    return "\n".join([*lines, f"kepler_pod_cpu_joules_total{{{pod}}} {30 * seconds}", ""])


class Exporter:
    """Serves a text that tests set."""

    def __init__(self) -> None:
        self.text = ""
        self.status = 200
        self.content_type = "text/plain"

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.text, status=self.status, content_type=self.content_type)


@asynccontextmanager
async def exporting() -> AsyncGenerator[tuple[Exporter, str]]:
    exporter = Exporter()
    application = web.Application()
    application.router.add_get("/metrics", exporter.metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield exporter, f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scraping(*targets: Target, settings: ReaderSettings | None = None) -> AsyncGenerator[ScrapeReader]:
    reader = ScrapeReader(lambda: targets, settings)
    try:
        yield reader
    finally:
        await reader.close()


async def test_watts_are_differences_of_counters_from_the_second_round_on():
    async with exporting() as (exporter, url), scraping(Target(url=url)) as reader:
        exporter.text = kepler(1000)
        assert by_name((await reader.read(ReadRequest(), 1000.0)).node_cpu_watts) == {}
        exporter.text = kepler(1005)
        found = await reader.read(ReadRequest(), 1005.0)
    assert by_name(found.node_cpu_watts) == {"n1": 300.0}
    assert by_name(found.pod_cpu_watts) == {"a": 30.0}
    assert found.node_cpu_watts.timestamps.tolist() == [1005.0]
    assert found.interval_seconds == 5.0


async def test_an_exporter_that_answers_with_frozen_counters_grows_old():
    async with exporting() as (exporter, url), scraping(Target(url=url)) as reader:
        for now in (1000.0, 1005.0, 1010.0, 1015.0, 1020.0):
            exporter.text = kepler(min(now, 1010.0))
            found = await reader.read(ReadRequest(), now)
    assert found.node_cpu_watts.timestamps.tolist() == [1010.0]
    assert by_name(found.pod_cpu_watts) == {}


async def test_an_exporter_that_restarts_gives_no_spike_and_no_negative_watts():
    async with exporting() as (exporter, url), scraping(Target(url=url)) as reader:
        for now, counted in ((1000.0, 1000), (1005.0, 1005), (1010.0, 2), (1015.0, 7)):
            exporter.text = kepler(counted)
            found = await reader.read(ReadRequest(), now)
    assert by_name(found.pod_cpu_watts) == {"a": 30.0}
    assert by_name(found.node_cpu_watts) == {"n1": 300.0}


async def test_samples_from_a_clock_that_is_ahead_are_no_younger_than_their_scrape():
    async with exporting() as (exporter, url), scraping(Target(url=url, node="n7")) as reader:
        exporter.text = "ipmi_dcmi_power_consumption_watts 700 9000000\n"
        await reader.read(ReadRequest(), 1000.0)
        exporter.text = "ipmi_dcmi_power_consumption_watts 800 1005000\n"
        found = await reader.read(ReadRequest(), 1005.0)
    assert by_name(found.node_platform_watts) == {"n7": 800.0}
    assert found.node_platform_watts.timestamps.tolist() == [1005.0]


async def test_a_model_server_that_names_no_pod_is_its_targets_pod():
    async with exporting() as (exporter, url), scraping(Target(url=url, pod=PodKey("ml", "b"))) as reader:
        exporter.text = "vllm:num_requests_running 5\nvllm:num_requests_waiting 2\n"
        found = await reader.read(ReadRequest(), 1000.0)
    assert by_name(found.pod_requests) == {"b": 7.0}


async def test_an_exporters_node_is_that_of_its_target_where_it_says_none():
    async with exporting() as (exporter, url), scraping(Target(url=url, node="n7")) as reader:
        exporter.text = "ipmi_dcmi_power_consumption_watts 700\n"
        found = await reader.read(ReadRequest(), 1000.0)
    assert by_name(found.node_platform_watts) == {"n7": 700.0}


async def test_one_failing_target_does_not_hold_up_the_others():
    async with exporting() as (exporter, url), fake.trickling(headers_too=True) as slow:
        exporter.text = "vllm:num_requests_running 5\nvllm:num_requests_waiting 2\nvllm:broken{ 1\n"
        targets = [Target(url=url, pod=PodKey("ml", "b")), Target(url=slow), Target(url="http://127.0.0.1:1/metrics")]
        async with scraping(*targets, settings=PROMPT) as reader:
            found = await reader.read(ReadRequest(), 1000.0)
    assert by_name(found.pod_requests) == {"b": 7.0}
    assert any("no whole answer" in one for one in found.problems)
    assert any("cannot be reached" in one for one in found.problems)


@pytest.mark.parametrize(("status", "content_type"), [(503, "text/plain"), (200, "text/html")])
async def test_what_is_no_exporter_is_said(status: int, content_type: str):
    async with exporting() as (exporter, url), scraping(Target(url=url)) as reader:
        exporter.text, exporter.status, exporter.content_type = kepler(1), status, content_type
        found = await reader.read(ReadRequest(), 1000.0)
    assert url in " ".join(found.problems)


async def test_queries_need_a_prometheus_and_that_is_said():
    async with exporting() as (_, url), scraping(Target(url=url)) as reader:
        found = await reader.read(ReadRequest(demands=((ServiceKey("ml", "Deployment", "a"), "up"),)), 1000.0)
    assert found.service_demand.keys == ()
    assert "PromQL" in " ".join(found.problems)
