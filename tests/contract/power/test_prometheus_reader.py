import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import wait
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.contract.power import fake_prometheus as fake
from wattkeeper.api.readings import ServiceKey
from wattkeeper.power.readers.prometheus_api import Prometheus
from wattkeeper.power.readers.prometheus_reader import PrometheusReader
from wattkeeper.power.readers.reader import ReadRequest
from wattkeeper.power.readers.settings import ReaderSettings

NOW = 1_760_000_000.0
SERVICE = ServiceKey("ml", "Deployment", "a")
PROMPT = ReaderSettings(deadline_seconds=0.5)


@asynccontextmanager
async def reading(
    url: str, settings: ReaderSettings | None = None, token_file: Path | None = None
) -> AsyncGenerator[PrometheusReader]:
    reader = PrometheusReader(Prometheus(url, token_file=token_file), settings)
    try:
        yield reader
    finally:
        await reader.close()


def kepler(promql: str, *, age: float = 2.0) -> fake.Rows:
    """Answers as a Prometheus with one node of Kepler, scraped every 5 s."""
    names = ("kepler_node_cpu_active_joules_total", "kepler_node_cpu_idle_joules_total")
    if promql.startswith("count by (__name__)"):
        return [fake.row({"__name__": name}, "1", NOW) for name in names]
    if promql.startswith("topk"):
        return [fake.row({"node_name": "n1", "zone": "package"}, "60", NOW)]
    if promql.endswith("]"):
        points = [(NOW - age - 5.0 * at, 100_000.0 - 500.0 * at) for at in reversed(range(4))]
        labels = {"node_name": "n1", "zone": "package"}
        return [fake.rows_over_time({"__name__": name, **labels}, points) for name in names]
    return []


async def test_watts_carry_the_time_of_their_sample():
    async with fake.serving(kepler) as url, reading(url) as reader:
        found = await reader.read(ReadRequest(), NOW)
    assert found.node_cpu_watts.keys == ("n1",)
    assert found.node_cpu_watts.values.tolist() == [200.0]
    assert found.node_cpu_watts.timestamps.tolist() == [NOW - 2.0]
    assert found.interval_seconds == 5.0
    assert found.problems == ()


async def test_queries_are_evaluated_at_the_given_time_over_four_intervals():
    seen: list[web.Request] = []
    async with fake.serving(kepler, seen) as url, reading(url) as reader:
        await reader.read(ReadRequest(), NOW)
    assert {request.query["time"] for request in seen} == {f"{NOW:.3f}"}
    assert any(request.query["query"].endswith("[20000ms]") for request in seen)


async def test_a_source_that_vanishes_is_said_and_looked_for_again():
    gone = False
    seen: list[web.Request] = []
    async with (
        fake.serving(lambda promql: [] if gone and promql.endswith("]") else kepler(promql), seen) as url,
        reading(url) as reader,
    ):
        await reader.read(ReadRequest(), NOW)
        gone = True
        found = await reader.read(ReadRequest(), NOW + 5.0)
        assert found.node_cpu_watts.keys == ()
        assert "is gone" in " ".join(found.problems)
        seen.clear()
        await reader.read(ReadRequest(), NOW + 10.0)
    assert any(request.query["query"].startswith("count by (__name__)") for request in seen)


async def test_when_everything_vanishes_the_interval_stays_so_that_nothing_counts_as_fresh_for_longer():
    gone = False
    async with fake.serving(lambda promql: [] if gone else kepler(promql)) as url, reading(url) as reader:
        await reader.read(ReadRequest(), NOW)
        gone = True
        found = [await reader.read(ReadRequest(), NOW + later) for later in (5.0, 10.0, 15.0)]
    assert {one.interval_seconds for one in found} == {5.0}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fake.refusing(503), "503"),
        (fake.refusing(401), "token"),
        (fake.page, "login page"),
        (fake.saying({"status": "success"}), "query failed"),
        (fake.saying({"status": "success", "data": {"resultType": "streams", "result": []}}), "JSON"),
        (fake.saying([1, 2]), "JSON"),
        (fake.garbled(b'{"error": "\xff\xfe"}'), "502"),
        (fake.garbled(b"\xff\xfe"), "502"),
    ],
)
async def test_a_failing_source_is_absent_and_said(answer: fake.Answer, said: str):
    request = ReadRequest(demands=((SERVICE, "sum(up)"),), meters=(("rack", "up"),))
    async with fake.serving(answer) as url, reading(url) as reader:
        found = await reader.read(request, NOW)
    assert found.node_cpu_watts.keys == ()
    assert found.service_demand.keys == ()
    assert said in " ".join(found.problems)
    assert "service ml/a" in " ".join(found.problems)
    assert "budget rack" in " ".join(found.problems)


async def test_nobody_at_all_is_absent_and_said():
    async with reading("http://127.0.0.1:1") as reader:
        found = await reader.read(ReadRequest(), NOW)
    assert "cannot be reached" in " ".join(found.problems)


@pytest.mark.parametrize("headers_too", [True, False])
async def test_a_trickling_socket_is_cut_off_at_the_deadline(headers_too: bool):
    async with fake.trickling(headers_too) as url, reading(url, PROMPT) as reader:
        async with asyncio.timeout(5.0):
            found = await reader.read(ReadRequest(demands=((SERVICE, "up"),)), NOW)
        assert "no whole answer" in " ".join(found.problems)
        _, hanging = await asyncio.to_thread(wait, tuple(reader.running), 5.0)
        assert not hanging


@pytest.mark.parametrize("known", [False, True])
async def test_sources_that_take_too_long_to_look_at_hold_no_reading_up(known: bool):
    looked = asyncio.Event()
    hanging = not known

    async def answer(promql: str) -> fake.Rows:
        if hanging and promql.startswith("topk"):
            await looked.wait()
        return kepler(promql)

    async with fake.serving(answer) as url, reading(url, ReaderSettings(deadline_seconds=2.0)) as reader:
        if known:
            await reader.read(ReadRequest(), NOW)
            hanging = True
        found = await reader.read(ReadRequest(), NOW + 301.0 if known else NOW)
        looked.set()
    assert found.node_cpu_watts.values.tolist() == [200.0]
    assert found.interval_seconds == (5.0 if known else 30.0)


SLOW = {"vllm:num_requests_running": "vLLM", "ipmi_dcmi_power_consumption_watts": "meters"}


@pytest.mark.parametrize("slow", SLOW)
async def test_a_slow_source_of_something_else_lets_no_old_watts_pass_for_fresh(slow: str):
    def answer(promql: str) -> fake.Rows:
        if promql.startswith("count by (__name__)"):
            return [*kepler(promql), fake.row({"__name__": slow}, "1", NOW)]
        if slow in promql:
            points = [(NOW - 60.0 * at, 7.0) for at in reversed(range(4))]
            return [fake.rows_over_time({"__name__": slow, "instance": "n1:1"}, points)]
        return kepler(promql)

    async with fake.serving(answer) as url, reading(url) as reader:
        found = await reader.read(ReadRequest(), NOW)
    assert reader.detected.intervals[SLOW[slow]] == 60.0
    assert found.interval_seconds == 5.0
    assert found.demand_interval_seconds == (60.0 if SLOW[slow] == "vLLM" else 30.0)


async def test_watts_that_vanish_keep_their_interval_while_a_slow_source_goes_on():
    gone = False

    def answer(promql: str) -> fake.Rows:
        vllm = "vllm:num_requests_running"
        if promql.startswith("count by (__name__)"):
            return [*([] if gone else kepler(promql)), fake.row({"__name__": vllm}, "1", NOW)]
        if vllm in promql:
            points = [(NOW - 60.0 * at, 7.0) for at in reversed(range(4))]
            return [fake.rows_over_time({"__name__": vllm, "instance": "n1:1"}, points)]
        return [] if gone else kepler(promql)

    async with fake.serving(answer) as url, reading(url) as reader:
        await reader.read(ReadRequest(), NOW)
        gone = True
        found = [await reader.read(ReadRequest(), NOW + later) for later in (5.0, 10.0, 15.0)]
    assert {one.interval_seconds for one in found} == {5.0}


async def test_sources_that_come_back_are_found_within_seconds():
    gone = False
    async with fake.serving(lambda promql: [] if gone else kepler(promql)) as url, reading(url) as reader:
        await reader.read(ReadRequest(), NOW)
        gone = True
        for later in (5.0, 10.0):
            await reader.read(ReadRequest(), NOW + later)
        gone = False
        found = [await reader.read(ReadRequest(), NOW + later) for later in (15.0, 20.0)]
    assert found[-1].node_cpu_watts.keys == ("n1",)


async def test_gpu_watts_of_pods_are_averaged_over_the_window_of_their_exporter():
    def answer(promql: str) -> fake.Rows:
        if promql.startswith("count by (__name__)"):
            names = ("kepler_pod_cpu_joules_total", "kepler_pod_gpu_joules_total")
            return [fake.row({"__name__": name}, "1", NOW) for name in names]
        return kepler(promql)

    seen: list[web.Request] = []
    async with fake.serving(answer, seen) as url, reading(url) as reader:
        await reader.read(ReadRequest(), NOW)
    asked = [request.query["query"] for request in seen if "kepler_pod_gpu_joules_total" in request.query["query"]]
    assert asked[-1].endswith("[20000ms]")


async def test_a_redirect_to_a_trickling_socket_is_cut_off_too():
    async with (
        fake.trickling(headers_too=False) as slow,
        fake.serving(fake.redirecting(slow)) as url,
        reading(url, PROMPT) as reader,
    ):
        await reader.read(ReadRequest(), NOW)
        _, hanging = await asyncio.to_thread(wait, tuple(reader.running), 5.0)
        assert not hanging


async def test_a_token_that_is_no_text_is_absent_and_said(tmp_path: Path):
    token = tmp_path / "token"
    token.write_bytes(b"\xff\xfe")
    async with fake.serving(kepler) as url, reading(url, token_file=token) as reader:
        found = await reader.read(ReadRequest(), NOW)
    assert "token" in " ".join(found.problems)


async def test_an_error_that_nobody_foresaw_is_said(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Prometheus, "query", broken)
    async with reading("http://127.0.0.1:1") as reader:
        found = await reader.read(ReadRequest(demands=((SERVICE, "up"),)), NOW)
    assert found.service_demand.keys == ()
    assert "ZeroDivisionError" in " ".join(found.problems)


async def test_a_prometheus_that_comes_back_is_read_again():
    broken = True
    async with (
        fake.serving(lambda promql: fake.refusing(503)(promql) if broken else kepler(promql)) as url,
        reading(url) as reader,
    ):
        assert (await reader.read(ReadRequest(), NOW)).node_cpu_watts.keys == ()
        broken = False
        assert (await reader.read(ReadRequest(), NOW)).node_cpu_watts.keys == ("n1",)


async def test_warnings_of_partial_answers_are_said():
    async with (
        fake.serving(lambda promql: fake.success(kepler(promql), warnings=["store 3 is down"])) as url,
        reading(url) as reader,
    ):
        found = await reader.read(ReadRequest(), NOW)
    assert found.node_cpu_watts.keys == ("n1",)
    assert any("store 3 is down" in one for one in found.problems)


async def test_queries_of_policies_and_budgets_are_read_by_name():
    def answer(promql: str) -> fake.Rows | web.StreamResponse:
        if promql == "sum(up)":
            return [fake.row({}, "7", NOW)]
        if promql == "pdu_watts":
            return [fake.row({"rack": "1"}, "4000", NOW)]
        if promql == "timestamp(pdu_watts)":
            return [fake.row({"rack": "1"}, str(NOW - 42.0), NOW)]
        if promql == "42":
            return fake.encoded({"status": "success", "data": {"resultType": "scalar", "result": [NOW, "42"]}})
        return kepler(promql)

    request = ReadRequest(demands=((SERVICE, "sum(up)"),), meters=(("rack", "pdu_watts"), ("room", "42")))
    async with fake.serving(answer) as url, reading(url) as reader:
        found = await reader.read(request, NOW)
    assert dict(zip(found.service_demand.keys, found.service_demand.values.tolist(), strict=True)) == {SERVICE: 7.0}
    meters = zip(found.meter_watts.values.tolist(), found.meter_watts.timestamps.tolist(), strict=True)
    assert dict(zip(found.meter_watts.keys, meters, strict=True)) == {"rack": (4000.0, NOW - 42.0), "room": (42.0, NOW)}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-5"])
async def test_a_query_that_yields_no_amount_is_absent_and_said(value: str):
    async with fake.serving(lambda _: [fake.row({}, value, NOW)]) as url, reading(url) as reader:
        found = await reader.read(ReadRequest(demands=((SERVICE, "sum(up)"),)), NOW)
    assert found.service_demand.keys == ()
    assert "service ml/a" in " ".join(found.problems)


async def test_many_failing_queries_are_counted():
    demands = tuple((ServiceKey("ml", "Deployment", f"s{at}"), "sum(up)") for at in range(40))
    async with fake.serving(kepler) as url, reading(url) as reader:
        found = await reader.read(ReadRequest(demands=demands), NOW)
    assert len(found.problems) == 6
    assert "35 more queries failed" in found.problems[-1]


async def test_the_token_is_read_again_for_each_round(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("first\n")
    seen: list[web.Request] = []
    async with fake.serving(kepler, seen) as url, reading(url, token_file=token) as reader:
        await reader.read(ReadRequest(), NOW)
        assert {request.headers["Authorization"] for request in seen} == {"Bearer first"}
        seen.clear()
        token.write_text("second\n")
        await reader.read(ReadRequest(), NOW)
        assert {request.headers["Authorization"] for request in seen} == {"Bearer second"}
        token.unlink()
        found = await reader.read(ReadRequest(), NOW)
    assert "token" in " ".join(found.problems)
