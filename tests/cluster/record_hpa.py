"""Records what the real HPA and KEDA do, for the simulated ones to be held against.

    python -m tests.cluster.controlplane.netns -- python -m tests.cluster.record_hpa [FILE]

Every scenario of hpa_scenarios.py runs at the same time, each with a Deployment of its own. The file then says, in
seconds from the script's beginning: which values the external scaler answered (each HPA sync asks once; KEDA asks too,
when a ScaledObject is new or changed and at each pollingInterval), and how spec.replicas and status.replicas of the
Deployment went.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from typing_extensions import override

from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.build import build, require_go
from tests.cluster.controlplane.errors import ControlPlaneError
from tests.cluster.controlplane.exporter_client import ExporterClient
from tests.cluster.controlplane.kubernetes import HPA_SYNC_SECONDS
from tests.cluster.controlplane.plane import Plane, Tools
from tests.cluster.controlplane.suites import CONTROL_PLANE, KEDA_VERSION, KUBERNETES_VERSION
from tests.cluster.hpa_scenarios import SCENARIOS, Change, Scenario
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

RECORDING = Path(__file__).resolve().parents[1] / "unit" / "simulation" / "recorded_hpa.json"
NAMESPACE = "record-hpa"
KEDA_API = "keda.sh/v1alpha1"


@dataclass(kw_only=True)
class Recording:
    """What one scenario's metric says now, and everything seen so far; times are of the monotonic clock."""

    values: dict[str, float] = field(default_factory=lambda: {"value": 0.0, "cap": 0.0})
    failing: tuple[str, ...] = ()
    began: float = 0.0
    answered: list[tuple[float, str, float]] = field(default_factory=list[tuple[float, str, float]])
    replicas: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    status_replicas: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def take(self, change: Change) -> None:
        """Takes on what a change says of the metrics."""
        if change.value is not None:
            self.values["value"] = change.value
        if change.cap is not None:
            self.values["cap"] = change.cap
        if change.failing is not None:
            self.failing = change.failing

    def see(self, deployment: Object, now: float) -> None:
        """Notes a Deployment's replicas where they have changed."""
        spec, status = deployment["spec"]["replicas"], deployment.get("status", {}).get("replicas", 0)
        for series, count in ((self.replicas, spec), (self.status_replicas, status)):
            if not series or series[-1][1] != count:
                series.append((now, count))


Recordings = dict[str, Recording]
Context = grpc.aio.ServicerContext[Any, Any]


class ValueSource(ExternalScalerServicer):
    """The external scaler of every scenario: KEDA's trigger names the scenario and the metric."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings

    async def _value(self, ref: ScaledObjectRef, context: Context) -> float:
        recording = self._recordings[ref.scalerMetadata["scenario"]]
        if ref.scalerMetadata["metric"] in recording.failing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the script says so")
        return recording.values[ref.scalerMetadata["metric"]]

    @override
    async def IsActive(self, request: ScaledObjectRef, context: Context) -> IsActiveResponse:
        return IsActiveResponse(result=await self._value(request, context) > 0)

    @override
    async def GetMetricSpec(self, request: ScaledObjectRef, context: Context) -> GetMetricSpecResponse:
        await self._value(request, context)
        name = request.scalerMetadata["metric"]
        return GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName=name, targetSize=1, targetSizeFloat=1.0)])

    @override
    async def GetMetrics(self, request: GetMetricsRequest, context: Context) -> GetMetricsResponse:
        ref = request.scaledObjectRef
        value = await self._value(ref, context)
        recording = self._recordings[ref.scalerMetadata["scenario"]]
        recording.answered.append((time.monotonic(), ref.scalerMetadata["metric"], value))
        # KEDA takes the float only when it is above zero.
        answer = MetricValue(metricName=request.metricName, metricValue=round(value), metricValueFloat=value)
        return GetMetricsResponse(metricValues=[answer])


async def serve_values(recordings: Recordings, stack: AsyncExitStack) -> str:
    """Serves the scenarios' values to KEDA and returns the address."""
    server = grpc.aio.server()
    add_ExternalScalerServicer_to_server(ValueSource(recordings), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    return f"127.0.0.1:{port}"


def scaled_object(scenario: Scenario, address: str) -> Object:
    """Returns the ScaledObject of a scenario."""
    advanced: Object = {"horizontalPodAutoscalerConfig": {"behavior": scenario.behavior}}
    if scenario.formula:
        advanced["scalingModifiers"] = {"formula": scenario.formula, "target": "1", "metricType": "AverageValue"}
    return {
        "apiVersion": KEDA_API,
        "kind": "ScaledObject",
        "metadata": {"name": scenario.name},
        "spec": {
            "scaleTargetRef": {"name": scenario.name},
            "minReplicaCount": scenario.minimum,
            "maxReplicaCount": scenario.maximum,
            "pollingInterval": scenario.polling_seconds,
            "cooldownPeriod": scenario.cooldown_seconds,
            "advanced": advanced,
            "triggers": [
                {
                    "type": "external",
                    "name": metric,
                    "metricType": "AverageValue",
                    "metadata": {"scalerAddress": address, "scenario": scenario.name, "metric": metric},
                }
                for metric in scenario.metrics
            ],
        },
    }


async def play(bench: Bench, scenario: Scenario, recording: Recording, address: str) -> None:
    """Creates a scenario's ScaledObject and plays its script to the end."""
    recording.take(scenario.script[0])
    recording.began = time.monotonic()
    await bench.apply(scaled_object(scenario, address))
    for change in scenario.script:
        await _sleep_until(recording.began + change.at_seconds)
        recording.take(change)
        if change.scaled_object is not None:
            await bench.api.patch(
                KEDA_API, "ScaledObject", scenario.name, change.scaled_object, namespace=bench.namespace
            )
        if change.autoscaler is not None:
            await bench.api.patch(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                f"keda-hpa-{scenario.name}",
                change.autoscaler,
                namespace=bench.namespace,
            )
    await _sleep_until(recording.began + scenario.end_seconds)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def follow(api: Api, recordings: Recordings) -> None:
    """Notes every Deployment's replicas until it is cancelled."""
    async for _, item in api.watch("apps/v1", "Deployment"):
        recording = recordings.get(item.get("metadata", {}).get("name", ""))
        if recording is not None:
            recording.see(item, time.monotonic())


async def record(plane: Plane, scenarios: Sequence[Scenario]) -> Recordings:
    """Plays all scenarios at once on a running control plane."""
    recordings = {scenario.name: Recording() for scenario in scenarios}
    async with AsyncExitStack() as stack:
        address = await serve_values(recordings, stack)
        api = await stack.enter_async_context(Api(plane.connection))
        exporter = await stack.enter_async_context(ExporterClient(plane.exporter_url))
        bench = Bench(plane, api, exporter, NAMESPACE)
        await bench.open()
        await bench.add_nodes(6, gpus=0)
        for one in scenarios:
            await bench.deploy(bench.deployment(one.name, replicas=one.replicas, gpus=0), wait=False)
        for one in scenarios:
            await bench.wait_ready(one.name, one.replicas, timeout_seconds=60)
        watching = asyncio.create_task(follow(api, recordings))
        await asyncio.gather(*(play(bench, one, recordings[one.name], address) for one in scenarios))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return recordings


def document(scenarios: Sequence[Scenario], recordings: Recordings) -> Object:
    """Returns everything for the file, times from each script's beginning."""

    def entry(scenario: Scenario, recording: Recording) -> Object:
        def since(moment: float) -> float:
            return max(0.0, round(moment - recording.began, 2))

        def until(moment: float) -> bool:
            return moment - recording.began <= scenario.end_seconds

        return {
            **asdict(scenario),
            "script": [
                {key: value for key, value in asdict(change).items() if value is not None} for change in scenario.script
            ],
            "answered": [[since(when), metric, value] for when, metric, value in recording.answered if until(when)],
            "spec_replicas": [[since(when), count] for when, count in recording.replicas if until(when)],
            "status_replicas": [[since(when), count] for when, count in recording.status_replicas if until(when)],
        }

    return {
        "kubernetes": KUBERNETES_VERSION,
        "keda": KEDA_VERSION,
        "hpa_sync_seconds": HPA_SYNC_SECONDS,
        "target": 1,
        "metric_type": "AverageValue",
        "scenarios": [entry(one, recordings[one.name]) for one in scenarios],
    }


def _dump(found: Object) -> str:
    """Returns JSON with one line for each field of a scenario, so that two recordings can be compared by eye."""
    lines = ["{"]
    lines += [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in found.items() if key != "scenarios"]
    lines.append(' "scenarios": [')
    entries = [
        "  {\n" + ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in one.items()) + "\n  }"
        for one in found["scenarios"]
    ]
    return "\n".join([*lines, ",\n".join(entries), " ]", "}", ""])


async def run(tools: Tools, folder: Path) -> Recordings:
    """Starts a control plane, records, and stops it."""
    plane = Plane(tools, folder)
    try:
        await plane.start()
        return await record(plane, SCENARIOS)
    finally:
        plane.stop()


def main(arguments: Sequence[str]) -> int:
    """Records into the file named, or the one that the simulator's tests read."""
    target = Path(arguments[0]) if arguments else RECORDING
    try:
        tools = Tools(built=build(CONTROL_PLANE, go=require_go()), prometheus=None)
        with tempfile.TemporaryDirectory(prefix="record-hpa-") as folder:
            recordings = asyncio.run(run(tools, Path(folder)))
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_dump(document(SCENARIOS, recordings)))
    print(f"{len(SCENARIOS)} scenarios written to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
