"""The fake Kepler, dcgm-exporter and vLLM: one process that follows the real API server's pods and nodes.

/kepler/metrics, /dcgm/metrics (with ?node=NAME: that node's alone), /vllm/metrics, /metrics (all three)
/truth              what everything draws now, whatever the readings say
/history            the nodes' true draw over time
/control/...        see exporter_client.py
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.controlplane.api import Api, Connection
from tests.cluster.controlplane.draw import Fleet
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.exposition import dcgm, kepler, vllm

TICK_SECONDS = 0.1
HISTORY_SECONDS = 1200
TEXT = "text/plain"


class Exporter:
    """State of the exporter: the fleet, its history, and the faults that tests asked for."""

    def __init__(self) -> None:
        self.fleet = Fleet(time.monotonic())
        self._synced: set[str] = set()
        self._vanished: frozenset[str] = frozenset()
        self._frozen: dict[str, str] | None = None
        # (seconds of the monotonic clock, W by node).
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=int(HISTORY_SECONDS / TICK_SECONDS))

    async def follow(self, api: Api, kind: str) -> None:
        """Follows a kind for ever, beginning again where a watch ends or breaks."""
        see = self.fleet.see_pod if kind == "Pod" else self.fleet.see_node
        while True:
            seen: set[str] = set()
            with suppress(aiohttp.ClientError, ApiError):
                async for event, item in api.watch("v1", kind):
                    if event == "SYNCED":
                        self._forget_missing(kind, seen)
                        self._synced.add(kind)
                        continue
                    seen.add(item["metadata"]["uid" if kind == "Pod" else "name"])
                    see(event, item, time.monotonic())
            await asyncio.sleep(0.2)

    def _forget_missing(self, kind: str, seen: set[str]) -> None:
        known = self.fleet.pods if kind == "Pod" else self.fleet.nodes
        for key in set(known) - seen:
            del known[key]

    async def tick(self) -> None:
        """Integrates often enough that gauges and history are smooth."""
        while True:
            now = time.monotonic()
            self.fleet.advance(now)
            self._history.append((now, {name: node.watts for name, node in self.fleet.nodes.items()}))
            await asyncio.sleep(TICK_SECONDS)

    def _texts(self, only_node: str | None) -> dict[str, str]:
        self.fleet.advance(time.monotonic())
        without = frozenset(self.fleet.nodes) if "*" in self._vanished else self._vanished
        return {
            "kepler": kepler(self.fleet, only_node=only_node, without=without),
            "dcgm": dcgm(self.fleet, only_node=only_node),
            "vllm": vllm(self.fleet),
        }

    async def metrics(self, request: web.Request) -> web.Response:
        """Serves one source's metrics, or all."""
        texts = self._frozen or self._texts(request.query.get("node"))
        source = request.match_info.get("source")
        if source is not None and source not in texts:
            raise web.HTTPNotFound
        text = "".join(texts.values()) if source is None else texts[source]
        return web.Response(text=text, content_type=TEXT, charset="utf-8")

    async def ready(self, _: web.Request) -> web.Response:
        """Succeeds once both watches have listed."""
        if len(self._synced) < 2:
            raise web.HTTPServiceUnavailable
        return web.Response(text="ok\n")

    async def truth(self, _: web.Request) -> web.Response:
        """Serves what everything draws now."""
        self.fleet.advance(time.monotonic())
        nodes = {
            name: {"watts": node.watts, "wall_watts": node.wall_watts, "unmanaged_watts": node.unmanaged_watts}
            for name, node in self.fleet.nodes.items()
        }
        pods = [
            {
                "uid": pod.uid,
                "namespace": pod.namespace,
                "name": pod.name,
                "node": pod.node,
                "phase": pod.phase,
                "watts": pod.cpu_watts + pod.gpu_watts,
                "running_requests": pod.running_requests,
                "waiting_requests": pod.waiting_requests,
            }
            for pod in self.fleet.pods.values()
        ]
        return web.json_response({"monotonic_seconds": time.monotonic(), "nodes": nodes, "pods": pods})

    async def history(self, request: web.Request) -> web.Response:
        """Serves [seconds, W] of the nodes named (?node=a&node=b) together, since ?since=SECONDS."""
        names = set(request.query.getall("node"))
        since = float(request.query.get("since", "0"))
        series = [
            [when, sum(watts for name, watts in by_node.items() if name in names)]
            for when, by_node in self._history
            if when >= since
        ]
        return web.json_response(series)

    async def demand(self, request: web.Request) -> web.Response:
        """Sets a service's requests."""
        body = await request.json()
        self.fleet.set_demand(body["namespace"], body["service"], float(body["requests"]), time.monotonic())
        return web.Response(status=204)

    async def unmanaged(self, request: web.Request) -> web.Response:
        """Sets what a node draws beside its pods."""
        body = await request.json()
        self.fleet.advance(time.monotonic())
        self.fleet.nodes[body["node"]].unmanaged_watts = float(body["watts"])
        return web.Response(status=204)

    async def spike(self, request: web.Request) -> web.Response:
        """Adds watts to a node's readings, not to its draw, for some seconds."""
        body = await request.json()
        now = time.monotonic()
        self.fleet.advance(now)
        node = self.fleet.nodes[body["node"]]
        node.spike_watts, node.spike_until = float(body["watts"]), now + float(body["seconds"])
        return web.Response(status=204)

    async def vanish(self, request: web.Request) -> web.Response:
        """Makes Kepler's series of nodes vanish ("*": of all) while it goes on answering."""
        self._vanished = frozenset((await request.json())["nodes"])
        return web.Response(status=204)

    async def freeze(self, request: web.Request) -> web.Response:
        """Serves the present values for ever, or lets them move again."""
        self._frozen = self._texts(None) if (await request.json())["frozen"] else None
        return web.Response(status=204)

    async def reset(self, request: web.Request) -> web.Response:
        """Sets a namespace's pod counters to zero."""
        self.fleet.advance(time.monotonic())
        self.fleet.reset_counters((await request.json())["namespace"])
        return web.Response(status=204)

    def application(self) -> web.Application:
        """Returns the web application."""
        app = web.Application()
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/{source}/metrics", self.metrics)
        app.router.add_get("/ready", self.ready)
        app.router.add_get("/truth", self.truth)
        app.router.add_get("/history", self.history)
        for handler in (self.demand, self.unmanaged, self.spike, self.vanish, self.freeze, self.reset):
            app.router.add_post(f"/control/{handler.__name__}", handler)
        return app


def read_connection(kubeconfig: Path, folder: Path) -> Connection:
    """Reads a kubeconfig that `Connection.kubeconfig` wrote."""
    found: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    cluster = found["clusters"][0]["cluster"]
    authority = folder / "exporter-ca.crt"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return Connection(server=cluster["server"], authority=authority, token=found["users"][0]["user"]["token"])


async def serve(kubeconfig: Path, port: int) -> None:
    """Serves until it is killed."""
    exporter = Exporter()
    runner = web.AppRunner(exporter.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with Api(read_connection(kubeconfig, kubeconfig.parent)) as api:
        await asyncio.gather(exporter.follow(api, "Pod"), exporter.follow(api, "Node"), exporter.tick())


def main() -> int:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.kubeconfig, arguments.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
