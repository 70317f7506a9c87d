"""KEDA's way to the scaler: the real servicer of whichever replica a Service leads to, without a socket in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

import grpc

from scaler.servicer import Context
from tests.faults.processes import ScalerProcess
from tests.faults.weather import Weather
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.rpc.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from wattkeeper.simulation.keda import MeasuredSource, MetricAnswer
from wattkeeper.simulation.measured_hpa import Measure


class RefusedCallError(Exception):
    """A call was answered with a status other than OK."""


class _Context:
    """Of a call in the same process: all that a handler uses of it."""

    async def abort(self, code: grpc.StatusCode, details: str = "", *_: Any) -> NoReturn:
        raise RefusedCallError(f"{code.name}: {details}")


class InProcessSource:
    """Asks as KEDA does: GetMetricSpec, GetMetrics, IsActive, in turn of the replicas that serve.

    ScaledObjects of KServe's ask somebody else, whom no fault befalls.
    """

    def __init__(self, scalers: Callable[[], Sequence[ScalerProcess]], weather: Weather, measure: Measure) -> None:
        self._scalers, self._weather, self._turn = scalers, weather, 0
        self._measured = MeasuredSource(measure)

    async def fetch(self, scaled_object: ScaledObject) -> MetricAnswer:
        """Asks the trigger's scaler once."""
        trigger = scaled_object.spec.triggers[0]
        if trigger.type != "external":
            return await self._measured.fetch(scaled_object)
        serving = [one for one in self._scalers() if one.serving]
        if self._weather.keda_cut or not serving:
            return _failed("UNAVAILABLE: nothing answers")
        self._turn += 1
        servicer = serving[self._turn % len(serving)].servicer
        context = cast("Context", cast("object", _Context()))
        reference = ScaledObjectRef(
            name=scaled_object.metadata.name,
            namespace=scaled_object.metadata.namespace,
            scalerMetadata=trigger.metadata,
        )
        try:
            spec = (await servicer.GetMetricSpec(reference, context)).metricSpecs[0]
            request = GetMetricsRequest(scaledObjectRef=reference, metricName=spec.metricName)
            value = (await servicer.GetMetrics(request, context)).metricValues[0]
            active = await servicer.IsActive(reference, context)
        except RefusedCallError as error:
            return _failed(str(error))
        return MetricAnswer(
            value=value.metricValueFloat if value.metricValueFloat > 0 else float(value.metricValue),
            target=spec.targetSizeFloat,
            active=active.result,
        )

    async def close(self) -> None:
        """There is nothing to close."""


def _failed(error: str) -> MetricAnswer:
    return MetricAnswer(value=None, target=1.0, active=False, error=error)
