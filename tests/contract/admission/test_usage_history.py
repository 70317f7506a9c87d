"""Usage history over HTTP: what Prometheus answers, through the client that everything else uses."""

from __future__ import annotations

import pytest
from aiohttp import web

from admission.usage_history import HistoryOptions, Past, UsageHistory
from admission.usage_owners import Owners
from tests.contract.power import fake_prometheus as fake
from tests.unit.admission.samples import NAMESPACE
from tests.unit.admission.usage_cluster import GIB, HASH, pod
from tests.unit.scaler.hand_clock import HandClock
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.power.readers.prometheus_api import Prometheus

NOW = 1_800_000_000.0
# What the query makes of cAdvisor's labels.
LABELS = {"namespace": NAMESPACE, "pod": f"llm-predictor-{HASH}-x7k2p", "container_name": "main"}


async def read(url: str) -> Past:
    view = MemoryView()
    view.put(pod())
    history = UsageHistory(Prometheus(url), HandClock(NOW), HistoryOptions(days=1))
    return await history.read(Owners(view))


async def test_matrices_of_both_figures_become_samples() -> None:
    def answer(promql: str) -> fake.Rows:
        value = 2.0 if "container_cpu_usage_seconds_total" in promql else 8 * GIB
        return [fake.rows_over_time(LABELS, [(NOW - 3_600.0, value), (NOW, value)])]

    async with fake.serving(answer) as url:
        past = await read(url)
    samples = [one for batch in past.batches for one in batch]
    assert [(one.time, one.cores, one.memory_bytes) for one in samples] == [
        (NOW - 3_600.0, 2.0, 8 * GIB),
        (NOW, 2.0, 8 * GIB),
    ]
    assert past.problems == ()


async def test_queries_are_a_day_in_steps_of_an_hour_evaluated_at_the_last_full_hour() -> None:
    seen: list[web.Request] = []
    async with fake.serving(lambda _: [], seen) as url:
        await read(url)
    assert [request.query["time"] for request in seen] == [f"{NOW:.3f}"] * 2
    assert seen[0].query["query"] == (
        '(max by (namespace, pod, container_name) (label_replace(rate(container_cpu_usage_seconds_total{container!="",'
        'container!="POD",namespace=~"chat"}[3600s]), "container_name", "$1", "container", "(.+)")))[86400s:3600s]'
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fake.refusing(401), "is the token right"),
        (fake.page, "not Prometheus' JSON"),
        (fake.saying({"status": "success"}), "the query failed"),
    ],
    ids=["refused", "a login page", "no data"],
)
async def test_what_is_no_answer_is_said_and_leaves_nothing(answer: fake.Answer, said: str) -> None:
    async with fake.serving(answer) as url:
        past = await read(url)
    assert [one for batch in past.batches for one in batch] == []
    assert all(said in problem for problem in past.problems)
    assert len(past.problems) == 2


async def test_nobody_at_all_is_said_once() -> None:
    past = await read("http://127.0.0.1:9")
    (problem,) = past.problems
    assert "cannot be reached" in problem
