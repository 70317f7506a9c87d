"""The simulated KEDA and HPA, asking a real gRPC server as KEDA does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest
from typing_extensions import override

from tests.unit.simulation.fixtures import deployment, node
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.braking import PAUSED_REPLICAS, is_of_keda
from wattkeeper.cluster.objects import (
    Deployment,
    HorizontalPodAutoscaler,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)
from wattkeeper.rpc.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from wattkeeper.rpc.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server
from wattkeeper.simulation.autoscaler import Autoscaler
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController
from wattkeeper.simulation.keda import ExternalScalerSource
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.scheduler import Scheduler

RECORDING: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_hpa.json").read_text())
SCENARIOS: dict[str, dict[str, Any]] = {one["name"]: one for one in RECORDING["scenarios"]}
Context = grpc.aio.ServicerContext[Any, Any]


class Told(ExternalScalerServicer):
    """Answers what a test says; None is a failure. Takes a moment, as networks do."""

    def __init__(self) -> None:
        self.value: float | None = 1.0
        self.calls: list[str] = []

    async def _value(self, call: str, context: Context) -> float:
        self.calls.append(call)
        await asyncio.sleep(0.001)
        if self.value is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the test says so")
        assert self.value is not None
        return self.value

    @override
    async def IsActive(self, request: ScaledObjectRef, context: Context) -> IsActiveResponse:
        return IsActiveResponse(result=await self._value("IsActive", context) > 0)

    @override
    async def GetMetricSpec(self, request: ScaledObjectRef, context: Context) -> GetMetricSpecResponse:
        await self._value("GetMetricSpec", context)
        return GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName="m", targetSize=1, targetSizeFloat=1.0)])

    @override
    async def GetMetrics(self, request: GetMetricsRequest, context: Context) -> GetMetricsResponse:
        value = await self._value("GetMetrics", context)
        answer = MetricValue(metricName=request.metricName, metricValue=int(value), metricValueFloat=value)
        return GetMetricsResponse(metricValues=[answer])


class Loop:
    """A Deployment under the autoscaler, and a script of changes."""

    def __init__(self, told: Told, address: str, *, replicas: int, minimum: int, behavior: dict[str, Any], **spec: Any):
        self.told = told
        self.clock = SteppedClock(0.0)
        self.cluster = TwinCluster(self.clock)
        self.cluster.create(node("n", gpus=64))
        self.cluster.create(deployment(replicas=replicas))
        kubelet = Kubelet(self.cluster, load_seconds=lambda _: 0.0, grace_seconds=lambda _: 0.0)
        self._controller = ReplicaController(self.cluster, kubelet, 1)
        self._scheduler = Scheduler(self.cluster)
        self.settle()
        self._address, self._behavior, self._minimum, self._spec = address, behavior, minimum, spec
        self.seen: list[int] = [replicas]
        self.cluster.view.subscribe(Deployment, self._see)

    def settle(self) -> None:
        self._controller.reconcile(self.clock.now())
        self._scheduler.reconcile()

    def _see(self, _: Deployment | None, new: Deployment | None) -> None:
        if new is not None and new.spec.replicas != self.seen[-1]:
            self.seen.append(new.spec.replicas)

    async def play(self, script: list[tuple[float, Callable[[], None]]], end_seconds: float) -> list[int]:
        autoscaler = Autoscaler(self.cluster, self.clock, ExternalScalerSource(), sync_seconds=5.0, settle=self.settle)

        async def follow() -> None:
            for moment, change in script:
                await self.clock.sleep(moment - self.clock.now())
                change()
            await self.clock.sleep(end_seconds - self.clock.now())

        with self.clock.hold():
            following = self.clock.start(follow(), name="script", rank=0)
            self.cluster.create(
                ScaledObject(
                    metadata=ObjectMeta(name="chat", namespace="llm"),
                    spec=ScaledObjectSpec(
                        scale_target_ref=ScaledObjectTarget(name="chat"),
                        min_replica_count=self._minimum,
                        max_replica_count=40,
                        triggers=(Trigger(type="external", metadata={"scalerAddress": self._address}),),
                        advanced={"horizontalPodAutoscalerConfig": {"behavior": self._behavior}},
                        **self._spec,
                    ),
                )
            )
            autoscaler.start()
        await following
        await autoscaler.stop()
        return self.seen

    def hpa(self) -> HorizontalPodAutoscaler | None:
        return self.cluster.view.get(HorizontalPodAutoscaler, "llm", "keda-hpa-chat")

    def scaled(self) -> ScaledObject:
        found = self.cluster.view.get(ScaledObject, "llm", "chat")
        assert found is not None
        return found

    def lower_hpa(self, maximum: int) -> None:
        found = self.hpa()
        assert found is not None
        spec = msgspec.structs.replace(found.spec, max_replicas=maximum)
        self.cluster.replace(msgspec.structs.replace(found, spec=spec))

    def lower_ceiling(self, maximum: int) -> None:
        spec = msgspec.structs.replace(self.scaled().spec, max_replica_count=maximum)
        self.cluster.replace(msgspec.structs.replace(self.scaled(), spec=spec))

    def annotate(self, annotations: dict[str, str]) -> None:
        meta = msgspec.structs.replace(self.scaled().metadata, annotations=annotations)
        self.cluster.replace(msgspec.structs.replace(self.scaled(), metadata=meta))


@pytest.fixture
async def told() -> AsyncIterator[tuple[Told, str]]:
    told = Told()
    server = grpc.aio.server()
    add_ExternalScalerServicer_to_server(told, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield told, f"127.0.0.1:{port}"
    await server.stop(None)


def _telling(told: Told, value: float | None) -> Callable[[], None]:
    def tell() -> None:
        told.value = value

    return tell


BEHAVIOR: dict[str, Any] = SCENARIOS["zero-and-back"]["behavior"]


async def test_scaling_to_zero_and_back_goes_as_it_went_in_the_recording(told: tuple[Told, str]) -> None:
    scenario = SCENARIOS["zero-and-back"]
    loop = Loop(
        *told,
        replicas=scenario["replicas"],
        minimum=scenario["minimum"],
        behavior=scenario["behavior"],
        polling_interval=scenario["polling_seconds"],
        cooldown_period=scenario["cooldown_seconds"],
    )
    script = [(change["at_seconds"], _telling(told[0], change["value"])) for change in scenario["script"]]

    seen = await loop.play(script, scenario["end_seconds"])

    assert seen == [count for _, count in scenario["spec_replicas"]]


async def test_keda_asks_for_the_spec_the_value_and_activity_each_time(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=1, minimum=1, behavior=BEHAVIOR)
    await loop.play([], 4.0)

    assert told[0].calls == ["GetMetricSpec", "GetMetrics", "IsActive"] * 2  # One poll, one HPA sync.


async def test_replicas_hold_while_the_scaler_fails_even_at_a_minimum_of_zero(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=3, minimum=0, behavior=BEHAVIOR, polling_interval=5, cooldown_period=5)
    script = [(0.0, _telling(told[0], 6.0)), (11.0, _telling(told[0], None)), (60.0, _telling(told[0], 2.0))]

    assert await loop.play(script, 80.0) == [3, 6, 2]


async def test_a_pause_sets_replicas_and_stops_the_hpa(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=5)
    script: list[tuple[float, Callable[[], None]]] = [
        (0.0, _telling(told[0], 8.0)),
        (12.0, lambda: loop.annotate({PAUSED_REPLICAS: "5"})),
        (20.0, _telling(told[0], 10.0)),
        (30.0, lambda: loop.annotate({})),
    ]

    assert await loop.play(script, 50.0) == [8, 5, 10]


async def test_keda_makes_an_hpa_with_the_bounds_of_its_scaled_object(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=1, minimum=0, behavior=BEHAVIOR)
    await loop.play([], 2.0)

    found = loop.hpa()
    assert found is not None
    assert is_of_keda(found)
    assert (found.spec.min_replicas, found.spec.max_replicas) == (1, 40)


async def test_while_the_scaler_fails_a_lower_ceiling_changes_nothing_and_a_lower_hpa_does(
    told: tuple[Told, str],
) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=5)
    script: list[tuple[float, Callable[[], None]]] = [
        (0.0, _telling(told[0], 8.0)),
        (11.0, _telling(told[0], None)),
        (12.0, lambda: loop.lower_ceiling(5)),
        (40.0, lambda: loop.lower_hpa(7)),
        (60.0, _telling(told[0], 8.0)),
    ]

    assert await loop.play(script, 80.0) == [8, 7, 5]


async def test_a_lower_hpa_holds_while_the_scaler_fails_and_keda_puts_it_back_when_it_answers(
    told: tuple[Told, str],
) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=5)
    script: list[tuple[float, Callable[[], None]]] = [
        (0.0, _telling(told[0], 8.0)),
        (11.0, _telling(told[0], None)),
        (12.0, lambda: loop.lower_hpa(6)),
        (60.0, _telling(told[0], 8.0)),
    ]

    assert await loop.play(script, 80.0) == [8, 6, 8]


async def test_keda_puts_a_lowered_hpa_back_within_a_second_while_the_scaler_answers(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=30)
    script: list[tuple[float, Callable[[], None]]] = [
        (0.0, _telling(told[0], 8.0)),
        (11.0, lambda: loop.lower_hpa(6)),
    ]

    assert await loop.play(script, 40.0) == [8]


async def test_a_pause_removes_the_hpa_and_without_the_scaler_it_stays_away(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=5)
    gone: list[bool] = []
    script: list[tuple[float, Callable[[], None]]] = [
        (0.0, _telling(told[0], 8.0)),
        (11.0, _telling(told[0], None)),
        (12.0, lambda: loop.annotate({PAUSED_REPLICAS: "0"})),
        (14.0, lambda: gone.append(loop.hpa() is None)),
        (15.0, lambda: loop.annotate({})),
        (40.0, lambda: gone.append(loop.hpa() is None)),
    ]

    assert await loop.play(script, 41.0) == [8, 0]
    assert gone == [True, True]


async def test_keda_says_of_a_scaled_object_whether_it_could_ask(told: tuple[Told, str]) -> None:
    loop = Loop(*told, replicas=8, minimum=1, behavior=BEHAVIOR, polling_interval=5)
    said: list[set[str]] = []

    def look() -> None:
        said.append({one.reason for one in loop.scaled().status.conditions})

    await loop.play([(11.0, look), (12.0, _telling(told[0], None)), (21.0, look)], 22.0)

    assert said == [{"ScaledObjectReady", "ValidMetricFound"}, {"TriggerError", "FailedGetExternalMetric"}]
