"""What goes wrong between the scaler and the API server opens no gate twice, and none that there are no watts for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.plane import Plane
from tests.cluster.faults.asked import first_of_each, writes
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Fault, LoseAnswer
from tests.cluster.gate_room import PLENTY, GateRoom
from tests.cluster.gate_watch import watching
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import Loop


@pytest.fixture(scope="module")
def installation(plane: Plane, proxy: FaultProxy) -> Iterator[Installation]:
    """Wattkeeper as the chart installs it, behind the proxy."""
    with installed(plane, Installation(plane, reach=proxy.door)) as made:
        yield made


@pytest.fixture
async def room(loop: Loop, admission: AdmissionPlugin) -> GateRoom:
    await loop.nodes(2)
    made = GateRoom(loop, await loop.budget("all", PLENTY))
    await admission.start_all(loop.bench.api)
    await admission.opt_in(loop.bench.api, loop.bench.namespace)
    await made.service("chat")
    return made


@pytest.mark.parametrize("fault", [Answer(status=409), Answer(status=429, retry_after=1), LoseAnswer()], ids=str)
async def test_each_gate_is_opened_once_though_the_first_try_of_each_fails(
    room: GateRoom, proxy: FaultProxy, fault: Fault
) -> None:
    bench = room.bench
    await room.limit_to(4, of="chat")
    gates = writes("pods", namespace=bench.namespace)
    async with watching(bench.api, bench.namespace, room.budget) as watch:
        with proxy.inject(fault, first_of_each(gates)) as rule:
            await bench.scale("chat", 6)
            await watch.until(lambda: watch.settled("chat", ready=4, waiting=2), what="four of six pods serve")
            # Whose turn it is may change with a try that failed.
            assert len(rule.hit) >= 4
        await room.limit_to(6, of="chat")
        await watch.until(lambda: watch.settled("chat", ready=6), what="all six serve")
    assert watch.most_out <= 6
    assert watch.stayed_inside
    opened = Counter(one.asked.name for one in proxy.exchanges(gates) if one.accepted)
    assert list(opened.values()) == [1] * 6
