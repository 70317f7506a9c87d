"""What streams say, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.contract.scaler.serving import StillClock, client, eventually, reference, serving
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import NOW, budget, deployment, policy, recommendation, scaled_object
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.rpc.externalscaler_pb2 import GetMetricSpecResponse, IsActiveResponse


@pytest.fixture
def view() -> MemoryView:
    view = MemoryView()
    view.put(policy(), budget(), deployment(replicas=5), scaled_object(), recommendation(target=3))
    return view


async def next_of(stream: Any) -> bool:
    async with asyncio.timeout(10):
        return (await stream.read()).result


async def test_activity_comes_at_once_and_then_only_when_it_changes(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        stream = keda.StreamIsActive(reference())
        assert await next_of(stream)
        view.put(recommendation(target=4))
        view.put(recommendation(target=2))
        view.put(recommendation(target=0))
        assert not await next_of(stream)
        view.put(recommendation(target=1))
        assert await next_of(stream)
        stream.cancel()


async def test_activity_ends_when_time_alone_makes_an_answer_stale(view: MemoryView) -> None:
    clock = StillClock()
    view.put(deployment(replicas=0))
    async with serving(view, clock) as server, client(server) as keda:
        stream = keda.StreamIsActive(reference())
        assert await next_of(stream)
        clock.time = NOW + 60
        assert not await next_of(stream)
        stream.cancel()


async def test_a_stream_waits_for_the_first_recommendation_instead_of_failing(view: MemoryView) -> None:
    view.remove(PowerRecommendation, "chat", "deployment-llm")
    async with serving(view) as server, client(server) as keda:
        stream = keda.StreamIsActive(reference())
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.05)
        assert not reading.done()
        view.put(recommendation(target=1))
        async with asyncio.timeout(10):
            assert (await reading).result
        stream.cancel()


async def test_a_stream_for_wrong_metadata_or_an_unknown_object_is_refused(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        for call, asked, code in (
            (keda.StreamIsActive, reference(metric="watts"), grpc.StatusCode.INVALID_ARGUMENT),
            (keda.StreamMetricSpec, reference(metric="watts"), grpc.StatusCode.INVALID_ARGUMENT),
            (keda.StreamIsActive, reference("other"), grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(asked).read()
            assert refused.value.code() == code


async def test_streamed_specs_are_those_that_are_asked_for(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        stream = keda.StreamMetricSpec(reference(metric="cap"))
        async with asyncio.timeout(10):
            assert await stream.read() == await keda.GetMetricSpec(reference(metric="cap"))
        stream.cancel()


async def test_streams_end_with_ok_when_the_server_drains(view: MemoryView) -> None:
    async with serving(view) as server, client(server) as keda:
        active, specs = keda.StreamIsActive(reference()), keda.StreamMetricSpec(reference())
        await active.read()
        await specs.read()
        async with asyncio.timeout(10):
            await server.drain()
            for stream in (active, specs):
                assert not isinstance(await stream.read(), IsActiveResponse | GetMetricSpecResponse)
                assert await stream.code() == grpc.StatusCode.OK


async def test_more_streams_than_allowed_are_refused_and_room_is_given_back(view: MemoryView) -> None:
    async with serving(view, max_streams=1) as server, client(server) as keda:
        first = keda.StreamIsActive(reference())
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError, match="1 streams are open") as refused:
            await keda.StreamIsActive(reference()).read()
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()

        async def has_room() -> bool:
            again = keda.StreamIsActive(reference())
            try:
                return bool((await again.read()).result)
            except grpc.aio.AioRpcError:
                return False
            finally:
                again.cancel()

        await eventually(has_room)
