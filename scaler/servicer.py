"""KEDA's five calls. A handler computes from memory and awaits nothing but its own client, so none can hang."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from scaler.answers import Answer, Answers
from scaler.errors import (
    AnswerError,
    BrokenWatchError,
    MetadataError,
    NoPlanError,
    UncappedTargetError,
    UnknownObjectError,
)
from scaler.metadata import METRIC_NAMES, check_metric_name, parse_metadata
from scaler.metrics import ScalerMetrics
from scaler.streams import StreamAlarms
from wattkeeper.cluster.clock import Clock
from wattkeeper.rpc.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from wattkeeper.rpc.externalscaler_pb2_grpc import ExternalScalerServicer

_CODES: Final[Mapping[type[AnswerError], grpc.StatusCode]] = {
    MetadataError: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownObjectError: grpc.StatusCode.NOT_FOUND,
    UncappedTargetError: grpc.StatusCode.FAILED_PRECONDITION,
    NoPlanError: grpc.StatusCode.UNAVAILABLE,
    BrokenWatchError: grpc.StatusCode.UNAVAILABLE,
}
# KEDA's back-off after an error grows to a minute: a stream that can have its answer soon waits for it instead.
_WORTH_WAITING: Final = (UncappedTargetError, NoPlanError, BrokenWatchError)

Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(ExternalScalerServicer):
    """Answers KEDA."""

    def __init__(
        self, answers: Answers, alarms: StreamAlarms, clock: Clock, metrics: ScalerMetrics, *, max_streams: int
    ) -> None:
        """Takes what answering needs.

        Args:
            answers: where numbers come from.
            alarms: what wakes streams.
            clock: the age of readings is counted by it.
            metrics: calls are counted there.
            max_streams: more open streams than this are refused.
        """
        self._answers = answers
        self._alarms = alarms
        self._clock = clock
        self._metrics = metrics
        self._max_streams = max_streams
        self._open_streams = 0

    async def IsActive(self, request: ScaledObjectRef, context: Context) -> IsActiveResponse:  # noqa: N802 - KEDA's name.
        """Says whether the target may run at all."""
        started = time.perf_counter()
        try:
            answer = self._answer(request)
        except AnswerError as error:
            await self._refuse("IsActive", context, error)
        self._count("IsActive", grpc.StatusCode.OK, started)
        return IsActiveResponse(result=answer.active)

    async def GetMetricSpec(self, request: ScaledObjectRef, context: Context) -> GetMetricSpecResponse:  # noqa: N802 - KEDA's name.
        """Names the metric and its target.

        It depends on the trigger's metadata alone: KEDA makes and repairs the HPA with it, which must go on while
        there is nothing to decide from.
        """
        started = time.perf_counter()
        try:
            response = _specs(request)
        except AnswerError as error:
            await self._refuse("GetMetricSpec", context, error)
        self._count("GetMetricSpec", grpc.StatusCode.OK, started)
        return response

    async def GetMetrics(self, request: GetMetricsRequest, context: Context) -> GetMetricsResponse:  # noqa: N802 - KEDA's name.
        """Tells the value."""
        started = time.perf_counter()
        reference = request.scaledObjectRef
        try:
            check_metric_name(request.metricName, parse_metadata(reference.scalerMetadata))
            answer = self._answer(reference)
        except AnswerError as error:
            await self._refuse("GetMetrics", context, error)
        self._count("GetMetrics", grpc.StatusCode.OK, started)
        # KEDA before 2.17 knows the integer only: cut off, it is never above the float.
        value = MetricValue(
            metricName=answer.metric_name, metricValue=math.floor(answer.value), metricValueFloat=answer.value
        )
        return GetMetricsResponse(metricValues=[value])

    async def StreamIsActive(  # noqa: N802 - KEDA's name.
        self, request: ScaledObjectRef, context: Context
    ) -> AsyncIterator[IsActiveResponse]:
        """Says whether the target may run at all: at once, and then each time that it changes.

        Without an answer for a while it says nothing: KEDA keeps what it was told last.
        """
        async with _OpenStream(self, "StreamIsActive", context):
            with self._alarms.listening(request.namespace) as alarm:
                said: bool | None = None
                while not self._alarms.closing:
                    alarm.clear()
                    active = await self._activity(request, context)
                    if active is not None and active != said:
                        said = active
                        yield IsActiveResponse(result=active)
                    # Nothing was missed while the client was taking the last one: the alarm has stayed set.
                    await alarm.wait()

    async def StreamMetricSpec(  # noqa: N802 - KEDA's name.
        self, request: ScaledObjectRef, context: Context
    ) -> AsyncIterator[GetMetricSpecResponse]:
        """Names the metric and its target at once; with the same trigger they never change."""
        async with _OpenStream(self, "StreamMetricSpec", context):
            with self._alarms.listening(request.namespace) as alarm:
                try:
                    specs = _specs(request)
                except AnswerError as error:
                    await self._refuse("StreamMetricSpec", context, error)
                yield specs
                while not self._alarms.closing:
                    alarm.clear()
                    await alarm.wait()

    async def opened(self, method: str, context: Context) -> None:
        """Counts a stream in, or refuses it."""
        if self._open_streams >= self._max_streams:
            self._count(method, grpc.StatusCode.RESOURCE_EXHAUSTED)
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._max_streams} streams are open already: add replicas or raise WATTKEEPER_MAX_STREAMS.",
            )
        self._open_streams += 1
        self._metrics.streams.labels(method).inc()

    def closed(self, method: str) -> None:
        """Counts a stream out."""
        self._open_streams -= 1
        self._metrics.streams.labels(method).dec()
        self._count(method, grpc.StatusCode.OK)

    async def _activity(self, request: ScaledObjectRef, context: Context) -> bool | None:
        try:
            return self._answer(request).active
        except _WORTH_WAITING:
            return None
        except AnswerError as error:
            await self._refuse("StreamIsActive", context, error)

    def _answer(self, reference: ScaledObjectRef) -> Answer:
        return self._answers.answer(reference.namespace, reference.name, reference.scalerMetadata, self._clock.now())

    def _count(self, method: str, code: grpc.StatusCode, started: float | None = None) -> None:
        self._metrics.calls.labels(method, code.name).inc()
        if started is not None:
            self._metrics.call_seconds.labels(method).observe(time.perf_counter() - started)

    async def _refuse(self, method: str, context: Context, error: AnswerError) -> NoReturn:
        code = _CODES[type(error)]
        self._count(method, code)
        await context.abort(code, str(error))
        raise AssertionError("abort returns never")


def _specs(request: ScaledObjectRef) -> GetMetricSpecResponse:
    name = METRIC_NAMES[parse_metadata(request.scalerMetadata)]
    return GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName=name, targetSize=1, targetSizeFloat=1.0)])


class _OpenStream:
    """Counts a stream for as long as it is open."""

    def __init__(self, servicer: Servicer, method: str, context: Context) -> None:
        self._servicer = servicer
        self._method = method
        self._context = context

    async def __aenter__(self) -> None:
        await self._servicer.opened(self._method, self._context)

    async def __aexit__(self, *_: object) -> None:
        self._servicer.closed(self._method)
