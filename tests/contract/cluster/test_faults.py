"""What the client does when requests, answers and watches are lost on their way, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.cluster.faults.asked import asks, watches, writes
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.faults.rules import Answer, Break, Expire, Hang, LoseAnswer
from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import PODS, FakeApi, TokenCredentials, Watch, pod, stay_open
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.informer import Pace
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.objects import Node, Pod, PodSpec, SchedulingGate

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/w/leases"


@pytest.fixture
def proxy(api: FakeApi) -> Iterator[FaultProxy]:
    with FaultProxy(api.url) as made:
        yield made


@pytest.fixture
def cluster(proxy: FaultProxy, make_cluster: MakeCluster) -> KubernetesCluster:
    return make_cluster(credentials=TokenCredentials(proxy.door("client")))


def names(cluster: KubernetesCluster) -> list[str]:
    return sorted(one.metadata.name for one in cluster.view.all(Pod).values())


async def lead(cluster: KubernetesCluster) -> bool:
    return await cluster.hold_lease(namespace="w", name="l", holder="a", duration_seconds=15, now=1.0)


async def test_a_lease_whose_answer_was_lost_is_ours_at_the_next_renewal(
    api: FakeApi, cluster: KubernetesCluster, proxy: FaultProxy
) -> None:
    with proxy.inject(LoseAnswer(), writes("leases")) as lost:
        with pytest.raises(UnreachableError):
            await lead(cluster)
        assert [str(one) for one in lost.hit] == ["client: create leases w/"]
    assert api.objects[f"{LEASES}/l"]["spec"]["holderIdentity"] == "a"
    assert await lead(cluster)
    assert api.objects[f"{LEASES}/l"]["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize("fault", [Hang(), Break(), Answer(status=500), Answer(status=410)])
async def test_whatever_becomes_of_a_request_the_caller_hears_that_it_may_try_again(
    cluster: KubernetesCluster, proxy: FaultProxy, fault: Hang | Break | Answer
) -> None:
    with proxy.inject(fault, asks(resource="configmaps")), pytest.raises(UnreachableError):
        await cluster.read_state(namespace="w", name="s")
    assert await cluster.read_state(namespace="w", name="s") is None


async def test_a_refusal_s_retry_after_reaches_the_caller(cluster: KubernetesCluster, proxy: FaultProxy) -> None:
    with (
        proxy.inject(Answer(status=429, retry_after=7), asks(resource="leases")),
        pytest.raises(UnreachableError) as said,
    ):
        await lead(cluster)
    assert said.value.retry_after_seconds == 7.0


async def test_a_watch_that_falls_silent_is_cut_and_what_was_missed_is_made_up_for(
    api: FakeApi, make_cluster: MakeCluster, proxy: FaultProxy, clock: PausingClock, eventually: Eventually
) -> None:
    cluster = make_cluster(credentials=TokenCredentials(proxy.door("client")), pace=Pace(silence_seconds=0.5))

    async def tell(watch: Watch) -> None:
        await watch.event("ADDED", pod("a", version="101"))
        await stay_open(watch)

    await cluster.start()
    with proxy.inject(Hang(), watches("pods"), times=1):
        await eventually(lambda: clock.pauses)
    api.scripts[PODS].append(tell)
    assert names(cluster) == []
    clock.advance(60)
    await eventually(lambda: names(cluster) == ["a"])


async def test_a_running_watch_that_expires_lists_again(
    api: FakeApi, cluster: KubernetesCluster, proxy: FaultProxy, clock: PausingClock, eventually: Eventually
) -> None:
    await cluster.start()
    api.lists[PODS] = [pod("b")]
    with proxy.inject(Expire(), watches("pods")):
        await eventually(lambda: clock.pauses)
    clock.advance(60)
    await eventually(lambda: names(cluster) == ["b"])


async def test_what_hangs_can_be_cut(cluster: KubernetesCluster, proxy: FaultProxy) -> None:
    with proxy.inject(Hang(), writes("leases")) as hanging:
        asking = asyncio.create_task(lead(cluster))
        await hanging.wait_hit()
        proxy.cut("client")
        with pytest.raises(UnreachableError, match=r"[Dd]isconnected|reset"):
            await asking


async def test_exchanges_are_what_the_api_server_got_and_answered(
    cluster: KubernetesCluster, proxy: FaultProxy
) -> None:
    with proxy.inject(Answer(status=503), writes("leases"), times=1):
        with pytest.raises(UnreachableError):
            await lead(cluster)
        assert await lead(cluster)
    said = [str(one) for one in proxy.exchanges(asks(resource="leases"))]
    assert said == ["client: get leases w/l -> 404", "client: get leases w/l -> 404", "client: create leases w/ -> 200"]


async def test_an_event_whose_answer_was_lost_is_not_written_twice(
    api: FakeApi, cluster: KubernetesCluster, proxy: FaultProxy, clock: PausingClock, eventually: Eventually
) -> None:
    node = Node(metadata=ObjectMeta(name="n1", uid="u1"))
    record = EventRecord(regarding=node, type="Normal", reason="R", action="A", note="N", dedupe_key="k")
    with proxy.inject(LoseAnswer(), writes("events"), times=1):
        await cluster.record(record)
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await eventually(lambda: [one.status for one in proxy.exchanges(writes("events"))] == [200, 409])
    assert len([path for path in api.objects if "/events/" in path]) == 1


async def test_a_gate_whose_answer_was_lost_is_opened_once(
    api: FakeApi, cluster: KubernetesCluster, proxy: FaultProxy
) -> None:
    gated = PodSpec(scheduling_gates=(SchedulingGate(name=POWER_GATE),))
    one = Pod(metadata=ObjectMeta(namespace="chat", name="llm-1", uid="u1", resource_version="7"), spec=gated)
    path = "/api/v1/namespaces/chat/pods/llm-1"
    api.objects[path] = {"metadata": {"uid": "u1", "resourceVersion": "7"}, "spec": written(one.spec)}
    with proxy.inject(LoseAnswer(), writes("pods"), times=1), pytest.raises(UnreachableError):
        await cluster.open_gate(one, terms=None)
    await cluster.open_gate(one, terms=None)
    assert api.objects[path]["spec"]["schedulingGates"] == []
    assert [sent.status for sent in proxy.exchanges(writes("pods"))] == [200, 422]
