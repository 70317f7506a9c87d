"""Exporters over HTTP, on loopback: what Kepler 0.10, dcgm-exporter and vLLM would say of the twin, with its time.

    /kepler/metrics   RAPL joules by node and pod (zones package and dram), and Redfish's watts at the supplies
    /dcgm/metrics     watts and joules of every GPU, and the pod that holds it
    /vllm/metrics     requests and tokens by pod

Samples carry timestamps, because the twin's clock is not the reader's machine's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from aiohttp import web

from wattkeeper.cluster.objects import Node
from wattkeeper.simulation.models import GPU_LIMIT_WATTS
from wattkeeper.simulation.twin import Twin

_ZONES: Final = (("package", 0.85), ("dram", 0.15))
GPU_PRODUCT: Final = "NVIDIA H100 80GB HBM3"
_SPIKE_JOULES: Final = 5e6


@dataclass(kw_only=True, slots=True)
class Faults:
    """What is broken now.

    Attributes:
        kepler_lost: nodes whose Kepler answers, but has no series of power.
        frozen: nodes whose counters stand still while their exporters answer.
        down: exporters that answer nothing: kepler, dcgm or vllm.
        spikes: nodes whose Kepler counts a few megajoules too many, once in each answer.
    """

    kepler_lost: set[str] = field(default_factory=set[str])
    frozen: set[str] = field(default_factory=set[str])
    down: set[str] = field(default_factory=set[str])
    spikes: set[str] = field(default_factory=set[str])


class Exporters:
    """Serves the twin's exporters."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.faults = Faults()
        self._runner: web.AppRunner | None = None
        self._spikes: dict[str, float] = {}
        self._frozen_lines: dict[str, list[str]] = {}
        self.port = 0

    @property
    def urls(self) -> tuple[str, ...]:
        """One address for each exporter."""
        return tuple(f"http://127.0.0.1:{self.port}/{name}/metrics" for name in ("kepler", "dcgm", "vllm"))

    async def start(self) -> None:
        """Listens on a free port of 127.0.0.1."""
        app = web.Application()
        makers = {"kepler": self._kepler, "dcgm": self._dcgm, "vllm": self._vllm}
        for name, lines in makers.items():
            app.router.add_get(f"/{name}/metrics", self._handler(name, lines))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(
        self, name: str, lines: Callable[[str, int], Iterator[str]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            if name in self.faults.down:
                return web.Response(status=503, text="down\n")
            stamp = str(int(self._twin.clock.now() * 1000))
            text: list[str] = []
            there = {node.metadata.name for node in self._twin.cluster.view.all(Node).values()}
            for row, node in enumerate(self._twin.nodes):
                if node not in there:
                    continue
                text.extend(f"{line} {stamp}" for line in self._of_node(name, node, row, lines))
            return web.Response(text="\n".join(text) + "\n")

        return answer

    def _of_node(self, name: str, node: str, row: int, lines: Callable[[str, int], Iterator[str]]) -> list[str]:
        key = f"{name}/{node}"
        if node in self.faults.frozen:
            return self._frozen_lines.setdefault(key, list(lines(node, row)))
        self._frozen_lines.pop(key, None)
        return list(lines(node, row))

    def _pods(self, row: int) -> Iterator[tuple[int, str, str, str]]:
        rows = self._twin.rows
        for column in np.flatnonzero(rows.node == row).tolist():
            yield column, rows.uids[column], rows.keys[column].namespace, rows.keys[column].name

    def _kepler(self, node: str, row: int) -> Iterator[str]:
        counters, faults = self._twin.counters, self.faults
        yield f'kepler_build_info{{node_name="{node}",version="v0.10.2"}} 1'
        if node in faults.kepler_lost:
            return
        if node in faults.spikes:
            self._spikes[node] = self._spikes.get(node, 0.0) + _SPIKE_JOULES
        active = float(counters.node_active_joules[row]) + self._spikes.get(node, 0.0)
        idle = float(counters.node_idle_joules[row])
        for zone, share in _ZONES:
            labels = f'node_name="{node}",zone="{zone}",path="/sys/class/powercap/intel-rapl:0"'
            yield f"kepler_node_cpu_active_joules_total{{{labels}}} {active * share:.3f}"
            yield f"kepler_node_cpu_idle_joules_total{{{labels}}} {idle * share:.3f}"
        cpu = float(self._twin.power.node_cpu[row])
        yield f'kepler_node_cpu_watts{{node_name="{node}",zone="package"}} {cpu * _ZONES[0][1]:.3f}'
        for _, uid, namespace, name in self._pods(row):
            labels = f'node_name="{node}",pod_id="{uid}",pod_name="{name}",pod_namespace="{namespace}",state="running"'
            for zone, share in _ZONES:
                yield f'kepler_pod_cpu_joules_total{{{labels},zone="{zone}"}} {counters.pod_joules[uid] * share:.3f}'
        wall = float(self._twin.power.node_wall[row])
        source = f'source="redfish",node_name="{node}",bmc_id="bmc-{node}",chassis_id="1",source_id="0"'
        kind = 'source_name="Server Power Control",source_type="PowerControl"'
        # A BMC answers in steps of ten watts.
        yield f"kepler_platform_watts{{{source},{kind}}} {round(wall, -1):.0f}"

    def _dcgm(self, node: str, row: int) -> Iterator[str]:
        counters, rows = self._twin.counters, self._twin.rows
        for gpu in range(int(self._twin.gpus[row])):
            pod = int(counters.gpu_pod[row, gpu])
            key = rows.keys[pod] if pod >= 0 else None
            holder = f',namespace="{key.namespace}",pod="{key.name}",container="server"' if key else ""
            labels = f'gpu="{gpu}",UUID="GPU-{node}-{gpu}",modelName="{GPU_PRODUCT}",Hostname="{node}"{holder}'
            yield f"DCGM_FI_DEV_POWER_USAGE{{{labels}}} {counters.gpu_watts[row, gpu]:.3f}"
            yield f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{labels}}} {counters.gpu_joules[row, gpu] * 1000:.0f}"
            yield f"DCGM_FI_DEV_POWER_MGMT_LIMIT{{{labels}}} {GPU_LIMIT_WATTS:.0f}"

    def _vllm(self, node: str, row: int) -> Iterator[str]:
        del node
        serving, rows = self._twin.serving, self._twin.rows
        batches, produced = serving.batches, serving.produced
        for pod, _, namespace, name in self._pods(row):
            if rows.loading[pod]:
                continue
            service = int(rows.service[pod])
            engines = max(int((rows.serving & (rows.service == service)).sum()), 1)
            waiting = serving.waiting(service) / engines if rows.serving[pod] else 0.0
            model = self._twin.services[service].model.name
            labels = f'model_name="{model}",engine="0",namespace="{namespace}",pod="{name}"'
            yield f"vllm:num_requests_running{{{labels}}} {batches[pod]:.2f}"
            yield f"vllm:num_requests_waiting{{{labels}}} {waiting:.2f}"
            yield f"vllm:generation_tokens_total{{{labels}}} {produced[pod]:.1f}"
