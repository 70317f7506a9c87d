"""What KEDA asks of a scaler, and how it puts the answers together.

For each poll and for each HPA sync: GetMetricSpec, then GetMetrics and IsActive (KEDA 2.21
pkg/scaling/cache/scalers_cache.go). An error of any of them makes the metric unavailable: the HPA holds then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
import grpc.aio

from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.rpc.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from wattkeeper.rpc.externalscaler_pb2_grpc import ExternalScalerStub

# KEDA sets none. In real time: a call over loopback that takes longer hangs.
_DEADLINE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricAnswer:
    """One metric of a trigger.

    Attributes:
        value: of all replicas together; None where it could not be had.
        target: what one replica should carry.
        active: the target may run at all.
        error: why there is no value.
    """

    value: float | None
    target: float
    active: bool
    error: str = ""


class MetricSource(Protocol):
    """Where KEDA gets a ScaledObject's metric from."""

    async def fetch(self, scaled_object: ScaledObject) -> MetricAnswer:
        """Asks once. Never raises: an error is an answer without a value."""
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...


class ExternalScalerSource:
    """Asks an external scaler over gRPC, as KEDA does."""

    def __init__(self, reaches: Callable[[], bool] = lambda: True) -> None:
        """Takes what a network may take away.

        Args:
            reaches: says whether anything gets through to scalers.
        """
        self._reaches = reaches
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def fetch(self, scaled_object: ScaledObject) -> MetricAnswer:
        """Asks the trigger's scalerAddress."""
        if not self._reaches():
            return _failed("UNAVAILABLE: nothing gets through")
        trigger = scaled_object.spec.triggers[0]
        address = trigger.metadata.get("scalerAddress", "")
        channel = self._channels.get(address)
        if channel is None:
            # Without it a proxy of the environment would be asked for a loopback address.
            channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
            self._channels[address] = channel
        stub = ExternalScalerStub(channel)
        reference = ScaledObjectRef(
            name=scaled_object.metadata.name,
            namespace=scaled_object.metadata.namespace,
            scalerMetadata=trigger.metadata,
        )
        try:
            specs = await stub.GetMetricSpec(reference, timeout=_DEADLINE_SECONDS)
            if len(specs.metricSpecs) != 1:
                return _failed(f"{len(specs.metricSpecs)} metrics, the twin's KEDA takes one")
            spec = specs.metricSpecs[0]
            request = GetMetricsRequest(scaledObjectRef=reference, metricName=spec.metricName)
            metrics = await stub.GetMetrics(request, timeout=_DEADLINE_SECONDS)
            active = await stub.IsActive(reference, timeout=_DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return _failed(f"{error.code().name}: {error.details()}")
        if not metrics.metricValues:
            return _failed("no value")
        value = metrics.metricValues[0]
        # KEDA takes the float only where it is above zero.
        return MetricAnswer(
            value=value.metricValueFloat if value.metricValueFloat > 0 else float(value.metricValue),
            target=spec.targetSizeFloat if spec.targetSizeFloat > 0 else float(spec.targetSize),
            active=active.result,
        )

    async def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            await channel.close()


class MeasuredSource:
    """A demand trigger without Wattkeeper, such as KEDA's Prometheus one on vLLM's requests."""

    def __init__(self, measure: Callable[[str, str], tuple[float, float] | None]) -> None:
        """Takes what measures.

        Args:
            measure: from namespace and Deployment to (value of all replicas, target of one); None while it is unknown.
        """
        self._measure = measure

    async def fetch(self, scaled_object: ScaledObject) -> MetricAnswer:
        """Measures."""
        found = self._measure(scaled_object.metadata.namespace, scaled_object.spec.scale_target_ref.name)
        if found is None:
            return _failed("nothing was measured")
        value, target = found
        return MetricAnswer(value=value, target=target, active=value > 0)

    async def close(self) -> None:
        """Nothing to close."""


def _failed(error: str) -> MetricAnswer:
    return MetricAnswer(value=None, target=1.0, active=False, error=error[:200])
