"""What the twin's pods use of CPU and memory."""

from __future__ import annotations

import pytest

from tests.unit.simulation.fixtures import pods
from tests.unit.simulation.test_twin import START, begin, make_twin, run, steady
from wattkeeper.simulation.models import LLAMA_8B, LLAMA_70B
from wattkeeper.simulation.usage import Usage

GIB = 2.0**30


def test_a_loading_pod_holds_all_weights() -> None:
    twin = make_twin(steady(0, 1), replicas=1, model=LLAMA_70B)
    run(twin, 1)
    (used,) = Usage(twin).read()

    assert used.containers[0].memory_bytes > 2 * LLAMA_70B.parameters
    assert (used.key.namespace, used.key.name) == ("llm", pods(twin.cluster)[0].metadata.name)


def test_a_pod_that_serves_uses_more_cores_the_more_it_serves() -> None:
    cores: list[float] = []
    for requests in (0, 20, 100):
        twin = make_twin(steady(requests, 200), replicas=1, model=LLAMA_8B)
        begin(twin)
        run(twin, 60)
        (used,) = Usage(twin).read()
        cores.append(used.containers[0].cores)

    assert cores[0] == 1.0
    assert cores == sorted(set(cores))


def test_a_pod_that_serves_needs_less_memory_than_loading_took() -> None:
    twin = make_twin(steady(0, 1), replicas=1, model=LLAMA_70B)
    run(twin, 1)
    (loading,) = Usage(twin).read()
    begin(twin)
    run(twin, 1)
    (serving,) = Usage(twin).read()

    assert serving.containers[0].memory_bytes < 20 * GIB < loading.containers[0].memory_bytes


async def test_whoever_asks_the_cluster_is_told_what_is_used_right_now() -> None:
    twin = make_twin(steady(0, 1), replicas=2)
    twin.cluster.measure_usage(Usage(twin).read)
    begin(twin)
    run(twin, 1)
    found = await twin.cluster.read_usage()

    assert [one.timestamp for one in found] == [START + 1.0] * 2
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 60)
    (left,) = await twin.cluster.read_usage()
    assert left.timestamp == pytest.approx(START + 61.0)
