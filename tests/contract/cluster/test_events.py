"""Events: their form, their series, their rate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi, Object
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.errors import ForbiddenError
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.objects import Node, Pod

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def event(*, key: str = "k", uid: str = "u1", note: str = "Too many watts.") -> EventRecord:
    return EventRecord(
        regarding=Node(metadata=ObjectMeta(name="n1", uid=uid)),
        type="Warning",
        reason="OverBudget",
        action="Cap",
        note=note,
        dedupe_key=key,
    )


def written(api: FakeApi) -> list[Object]:
    return [one for path, one in api.objects.items() if path.startswith(EVENTS)]


async def test_an_event_of_a_cluster_scoped_object_goes_to_namespace_default(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    await make_cluster().record(event())
    (one,) = written(api)
    assert one["metadata"].pop("name").startswith("n1.")
    assert one["metadata"].pop("resourceVersion")
    assert one == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "eventTime": "1970-01-12T13:46:40.000000Z",
        "type": "Warning",
        "reason": "OverBudget",
        "action": "Cap",
        "note": "Too many watts.",
        "reportingController": "wattkeeper.dev/wattkeeper",
        "reportingInstance": "pod-a",
        "regarding": {"apiVersion": "v1", "kind": "Node", "namespace": "", "name": "n1", "uid": "u1"},
    }


async def test_an_event_of_a_pod_goes_to_its_namespace(api: FakeApi, make_cluster: MakeCluster) -> None:
    pod = Pod(metadata=ObjectMeta(name="p" * 253, namespace="llm"))
    record = EventRecord(regarding=pod, type="Normal", reason="R", action="A", note="N", dedupe_key="k")
    await make_cluster().record(record)
    (path,) = api.objects
    assert path.startswith("/apis/events.k8s.io/v1/namespaces/llm/events/ppp")
    assert len(path.rsplit("/", 1)[-1]) == 253


async def test_a_note_is_cut_at_1024_bytes_and_never_inside_a_character(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    await make_cluster().record(event(note="x" + "€" * 1_000))
    (one,) = written(api)
    assert one["note"] == "x" + "€" * 341


async def test_repeated_events_are_one_series_whose_count_is_written_once_a_minute(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock
) -> None:
    cluster = make_cluster()
    for _ in range(5):
        await cluster.record(event())
        clock.advance(10)
    assert len(api.bodies) == 1
    clock.advance(10)
    await cluster.record(event())
    (one,) = written(api)
    assert one["series"] == {"count": 6, "lastObservedTime": "1970-01-12T13:47:40.000000Z"}


async def test_other_keys_and_namesakes_are_series_of_their_own(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.record(event())
    await cluster.record(event(key="other"))
    await cluster.record(event(uid="u2"))
    assert len(written(api)) == 3


async def test_a_series_whose_event_has_expired_starts_anew(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock
) -> None:
    cluster = make_cluster()
    await cluster.record(event())
    api.objects.clear()
    clock.advance(61)
    await cluster.record(event())
    (one,) = written(api)
    assert "series" not in one


async def test_a_repetition_while_the_first_is_being_written_is_counted_and_not_written_beside_it(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    await asyncio.gather(*(cluster.record(event()) for _ in range(5)))
    assert len(written(api)) == 1


async def test_an_event_that_was_refused_is_written_the_next_time(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.answers["POST", EVENTS].append(Answer(code=403))
    cluster = make_cluster()
    with pytest.raises(ForbiddenError):
        await cluster.record(event())
    await cluster.record(event())
    assert len(written(api)) == 1


@pytest.mark.parametrize("first", [503, 409])
async def test_an_event_without_an_answer_is_written_later_as_of_when_it_was(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually, first: int
) -> None:
    api.answers["POST", EVENTS] += [Answer(code=first), Answer(code=503)]
    await make_cluster().record(event())
    for pause in (1.0, 2.0):
        await eventually(lambda pause=pause: clock.pauses[-1:] == [pause])
        clock.advance(pause)
    await eventually(lambda: written(api))
    (one,) = written(api)
    assert one["eventTime"] == "1970-01-12T13:46:40.000000Z"


async def test_events_that_are_owed_wait_for_as_long_as_the_api_server_asks(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    api.answers["POST", EVENTS].append(Answer(code=429, headers={"Retry-After": "7"}))
    await make_cluster().record(event())
    await eventually(lambda: clock.pauses == [7.0])


async def test_a_repetition_of_an_event_that_is_owed_is_counted_and_not_written_beside_it(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    api.answers["POST", EVENTS].append(Answer(code=503))
    cluster = make_cluster()
    for _ in range(3):
        await cluster.record(event())
    await eventually(lambda: clock.pauses)
    clock.advance(61)
    await eventually(lambda: written(api))
    await cluster.record(event())
    (one,) = written(api)
    assert one["series"]["count"] == 4


async def test_an_owed_event_that_is_refused_ends_no_other(
    api: FakeApi,
    make_cluster: MakeCluster,
    clock: PausingClock,
    registry: CollectorRegistry,
    eventually: Eventually,
) -> None:
    api.answers["POST", EVENTS] += [Answer(code=503), Answer(code=503), Answer(code=403)]
    cluster = make_cluster()
    await cluster.record(event(key="a"))
    await cluster.record(event(key="b"))
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await eventually(lambda: written(api))
    assert registry.get_sample_value("wattkeeper_cluster_events_dropped_total") == 1
    assert len(written(api)) == 1


async def test_no_more_events_are_owed_than_are_worth_the_memory(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, registry: CollectorRegistry
) -> None:
    cluster = make_cluster()
    for n in range(260):
        api.answers["POST", EVENTS].append(Answer(code=503))
        await cluster.record(event(key=str(n)))
        clock.time += 1
    assert registry.get_sample_value("wattkeeper_cluster_events_dropped_total") == 4


async def test_a_flood_is_dropped_and_counted(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, registry: CollectorRegistry
) -> None:
    cluster = make_cluster()
    for n in range(60):
        await cluster.record(event(key=str(n)))
    assert len(written(api)) == 50
    assert registry.get_sample_value("wattkeeper_cluster_events_dropped_total") == 10
    clock.advance(1)
    for n in range(60, 65):
        await cluster.record(event(key=str(n)))
    assert len(written(api)) == 52
