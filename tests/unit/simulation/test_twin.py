"""The twin's seconds: requests, watts, counters and exporters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import numpy as np
import pytest

from tests.unit.simulation.fixtures import deployment, node, pods
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.errors import ProtectedError
from wattkeeper.cluster.objects import (
    Deployment,
    Node,
    Pod,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    SchedulingGate,
)
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.exporters import Exporters
from wattkeeper.simulation.kubelet import Stage
from wattkeeper.simulation.models import LLAMA_8B, LLAMA_70B, QWEN_32B, ModelProfile
from wattkeeper.simulation.physics import wall_watts
from wattkeeper.simulation.serving import ServiceLevel
from wattkeeper.simulation.traffic import Traffic
from wattkeeper.simulation.twin import Twin, TwinService

START = 1_000.0


def steady(requests: float, tokens: float, seconds: int = 4_000, *, until: int | None = None) -> Traffic:
    arriving = np.where(np.arange(seconds) < (until or seconds), requests, 0.0)
    return Traffic(requests=arriving, generated_tokens=arriving * tokens, prompt_tokens=np.zeros(seconds))


def make_twin(
    traffic: Traffic, *, replicas: int = 2, model: ModelProfile = LLAMA_8B, grace_seconds: float = 30.0, seed: int = 1
) -> Twin:
    clock = HandClock(START)
    cluster = TwinCluster(clock)
    cluster.create(node("n1"))
    cluster.create(deployment(replicas=replicas, gpus=model.gpus))
    service = TwinService(
        namespace="llm",
        name="chat",
        model=model,
        traffic=traffic,
        level=ServiceLevel(wait_seconds=5.0, patience_seconds=20.0),
        grace_seconds=grace_seconds,
    )
    return Twin(cluster, clock, (service,), seed)


class HandClock(SteppedClock):
    """Without tasks there is nobody to wait: tests move it."""

    def forward(self) -> None:
        self._now += 1.0


def run(twin: Twin, seconds: int) -> None:
    assert isinstance(twin.clock, HandClock)
    for _ in range(seconds):
        twin.step()
        twin.clock.forward()


def begin(twin: Twin) -> None:
    twin.settle()
    twin.kubelet.finish_loading(twin.clock.now())


def balance(twin: Twin) -> float:
    """Returns offered tokens that are neither done nor failed."""
    serving = twin.serving
    return float((serving.offered_tokens - serving.good_tokens - serving.late_tokens - serving.failed_tokens).sum())


def test_an_empty_server_draws_at_the_wall_what_mlperf_saw() -> None:
    assert wall_watts(np.array([150.0 + 8 * 75.0]))[0] == pytest.approx(2_400, rel=0.01)


@pytest.mark.parametrize("model", [LLAMA_8B, QWEN_32B, LLAMA_70B], ids=lambda model: model.name)
def test_no_gpu_draws_more_than_its_limit(model: ModelProfile) -> None:
    assert model.saturated_watts() / model.gpus < 700


def test_under_its_capacity_all_requests_finish_in_time() -> None:
    twin = make_twin(steady(10, 200, until=100))
    begin(twin)
    run(twin, 200)

    assert twin.serving.good_tokens[0] == pytest.approx(10 * 200 * 100, rel=1e-6)


def test_beyond_capacity_requests_are_late_and_then_given_up_and_none_is_lost_count_of() -> None:
    twin = make_twin(steady(300, 200, until=200))
    begin(twin)
    run(twin, 400)

    assert twin.serving.late_tokens[0] > 0
    assert twin.serving.failed_tokens[0] > 0
    assert balance(twin) == pytest.approx(0.0, abs=1.0)


def test_more_replicas_yield_more_tokens() -> None:
    tokens: list[float] = []
    for replicas in (1, 2, 4):
        twin = make_twin(steady(300, 200), replicas=replicas)
        begin(twin)
        run(twin, 100)
        tokens.append(float(twin.serving.produced.sum()))

    assert tokens == sorted(tokens)
    assert tokens[2] > 1.8 * tokens[1]


def test_a_pod_draws_while_it_drains_and_not_after_it_has_exited() -> None:
    twin = make_twin(steady(60, 400), replicas=2)
    begin(twin)
    run(twin, 60)
    both = twin.power.node_gpu[0]
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 1)
    assert [one.stage for one in twin.kubelet.running.values()].count(Stage.DRAINING) == 1
    assert len(twin.power.pod_gpu) == 2
    draining = ~twin.rows.serving
    assert twin.power.pod_gpu[draining][0] > 300

    run(twin, 60)

    assert len(twin.power.pod_gpu) == 1
    assert twin.power.node_gpu[0] < both


def test_requests_that_outlast_the_grace_period_fail() -> None:
    twin = make_twin(steady(60, 4_000, until=60), replicas=2, grace_seconds=3.0)
    begin(twin)
    run(twin, 60)
    failed = twin.serving.failed_tokens[0]
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 6)

    assert len(twin.kubelet.running) == 1
    assert twin.serving.failed_tokens[0] > failed + 1_000


def test_a_loading_pod_draws_and_serves_nothing() -> None:
    twin = make_twin(steady(5, 100), replicas=1)
    run(twin, 10)

    assert twin.power.pod_gpu[0] > 0
    assert twin.serving.batches.sum() == 0.0


def test_the_same_seed_draws_the_same_watts() -> None:
    seen: list[list[float]] = []
    for seed in (1, 1, 2):
        twin = make_twin(steady(20, 200), seed=seed)
        begin(twin)
        run(twin, 30)
        seen.append(twin.power.node_wall.tolist())

    assert seen[0] == seen[1] != seen[2]


def test_a_service_whose_deployment_asks_for_other_gpus_than_its_model_is_refused() -> None:
    twin = make_twin(steady(1, 1))
    wrong = TwinService(
        namespace="llm", name="chat", model=QWEN_32B, traffic=steady(1, 1), level=twin.services[0].level
    )
    with pytest.raises(ImpossibleFixtureError, match="was measured on 2"):
        Twin(twin.cluster, twin.clock, (wrong,), 1)


@pytest.fixture
async def exporters() -> AsyncIterator[tuple[Twin, Exporters]]:
    twin = make_twin(steady(20, 200))
    begin(twin)
    run(twin, 10)
    exporters = Exporters(twin)
    await exporters.start()
    yield twin, exporters
    await exporters.stop()


async def fetch(exporters: Exporters, name: str) -> str:
    url = next(url for url in exporters.urls if f"/{name}/" in url)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text() if response.status == 200 else str(response.status)


def value(text: str, series: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(series)).rsplit(" ", 2)[1])


async def test_exporters_say_what_is_true_with_the_twins_time(exporters: tuple[Twin, Exporters]) -> None:
    twin, served = exporters
    kepler, dcgm, vllm = [await fetch(served, name) for name in ("kepler", "dcgm", "vllm")]

    assert value(kepler, "kepler_platform_watts") == pytest.approx(float(twin.power.node_wall[0]), abs=5.1)
    gpus = sum(float(line.split()[-2]) for line in dcgm.splitlines() if line.startswith("DCGM_FI_DEV_POWER_USAGE"))
    assert gpus == pytest.approx(float(twin.power.node_gpu[0]), rel=1e-4)
    assert 'namespace="llm",pod="chat-' in vllm
    assert {line.rsplit(" ", 1)[1] for line in kepler.splitlines()} == {str(int(twin.clock.now() * 1000))}


async def test_a_lost_kepler_answers_without_watts(exporters: tuple[Twin, Exporters]) -> None:
    exporters[1].faults.kepler_lost.add("n1")
    text = await fetch(exporters[1], "kepler")

    assert "kepler_build_info" in text
    assert "joules" not in text
    assert "watts" not in text


async def test_a_frozen_exporter_repeats_itself_with_new_times(exporters: tuple[Twin, Exporters]) -> None:
    twin, served = exporters
    served.faults.frozen.add("n1")
    before = await fetch(served, "kepler")
    run(twin, 10)
    after = await fetch(served, "kepler")

    assert [line.rsplit(" ", 1)[0] for line in before.splitlines()] == [
        line.rsplit(" ", 1)[0] for line in after.splitlines()
    ]
    assert before != after


async def test_an_exporter_that_is_down_and_one_that_spikes(exporters: tuple[Twin, Exporters]) -> None:
    exporters[1].faults.down.add("dcgm")
    assert await fetch(exporters[1], "dcgm") == "503"

    before = value(await fetch(exporters[1], "kepler"), "kepler_node_cpu_active_joules_total")
    exporters[1].faults.spikes.add("n1")
    after = value(await fetch(exporters[1], "kepler"), "kepler_node_cpu_active_joules_total")
    assert after > before + 1e6


async def test_what_serves_when_the_twin_starts_waits_at_no_gate() -> None:
    def gated(pod: Pod) -> Pod:
        spec = msgspec.structs.replace(pod.spec, scheduling_gates=(SchedulingGate(name=POWER_GATE),))
        return msgspec.structs.replace(pod, spec=spec)

    twin = make_twin(steady(1, 1), replicas=2)
    twin.cluster.admit_pods(gated)
    with twin.clock.hold():
        task = twin.start()
        assert [is_ready(pod) for pod in pods(twin.cluster)] == [True, True]
        twin.cluster.scale(namespace="llm", name="chat", replicas=3)
        twin.settle()
        assert [bool(pod.spec.node_name) for pod in pods(twin.cluster)] == [True, True, False]
        await asyncio.sleep(0)  # A task that never began would leave its coroutine behind.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_scaled_deployments_count_only_pods_that_stay() -> None:
    twin = make_twin(steady(60, 400), replicas=2)
    begin(twin)
    run(twin, 10)
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 1)
    found = twin.cluster.view.get(Deployment, "llm", "chat")

    assert found is not None
    assert (found.status.replicas, found.status.ready_replicas) == (1, 1)


def test_a_lost_node_draws_nothing_and_its_pods_are_made_anew_where_there_is_room() -> None:
    twin = make_twin(steady(60, 400), replicas=2)
    twin.cluster.create(node("n2"))
    twin = Twin(twin.cluster, twin.clock, twin.services, 1)
    begin(twin)
    run(twin, 60)
    twin.lose_node("n1")
    run(twin, 2)

    assert {pod.spec.node_name for pod in pods(twin.cluster)} == {"n2"}
    assert len(pods(twin.cluster)) == 2
    assert twin.power.node_wall[0] == 0.0
    assert twin.power.node_wall[1] > 2_000.0


def test_a_node_that_returns_is_a_new_one_and_draws_again() -> None:
    twin = make_twin(steady(60, 400))
    begin(twin)
    before = twin.cluster.view.get(Node, "", "n1")
    twin.lose_node("n1")
    run(twin, 2)
    assert all(not pod.spec.node_name for pod in pods(twin.cluster))
    twin.return_node("n1")
    run(twin, 2)

    after = twin.cluster.view.get(Node, "", "n1")
    assert before is not None
    assert after is not None
    assert after.metadata.uid != before.metadata.uid
    assert twin.power.node_wall[0] > 2_000.0
    assert all(pod.spec.node_name == "n1" for pod in pods(twin.cluster))


def test_a_pod_that_hangs_draws_until_its_time_is_over_although_it_has_nothing_to_do() -> None:
    twin = make_twin(steady(0, 0), replicas=2)
    begin(twin)
    run(twin, 2)
    twin.hanging[ServiceKey("llm", "Deployment", "chat")] = 90.0
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 90)
    assert len(twin.rows.uids) == 2
    run(twin, 2)
    assert len(twin.rows.uids) == 1


async def test_an_evicted_pod_drains_and_its_budget_forbids_the_next_one_until_another_is_ready() -> None:
    twin = make_twin(steady(60, 400), replicas=3)
    twin.cluster.create(
        PodDisruptionBudget(
            metadata=ObjectMeta(name="chat", namespace="llm"),
            spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "chat"})),
        )
    )
    twin.protection.min_available["llm", "chat"] = 2
    begin(twin)
    run(twin, 2)
    first, second, _ = pods(twin.cluster)
    await twin.cluster.evict(first)

    assert [one.stage for one in twin.kubelet.running.values()].count(Stage.DRAINING) == 1
    with pytest.raises(ProtectedError):
        await twin.cluster.evict(second)
    run(twin, 2)
    with pytest.raises(ProtectedError):
        await twin.cluster.evict(second)
    run(twin, 60)
    await twin.cluster.evict(second)
    assert [one.stage for one in twin.kubelet.running.values()].count(Stage.DRAINING) == 1
