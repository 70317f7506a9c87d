"""A stand-in for metrics-server: serves metrics.k8s.io, with the usage that tests set, for the real API server's pods.

/apis/metrics.k8s.io/v1beta1/...   PodMetrics of running pods, by every selector that pods can be listed by
/control/usage                     see metrics.py

KWOK's containers use nothing, so what they use comes from annotations of their pods, or from a control call. As from
metrics-server, a pod appears only once it has run for a whole window, and its figures are those of the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.exporter import read_connection
from wattkeeper.cluster.clock import Clock, SystemClock

CPU_USAGE = "tests.wattkeeper.dev/cpu-usage"
"""Pod: CPU that each of its containers uses, a quantity (default 100 millicores)."""

MEMORY_USAGE = "tests.wattkeeper.dev/memory-usage"
"""Pod: memory that each of its containers uses, a quantity (default 256 MiB)."""

GROUP_VERSION = "metrics.k8s.io/v1beta1"
WINDOW_SECONDS = 1  # Users have 10 to 60 s.

Usage = Mapping[str, Mapping[str, str]]
"""Quantities of cpu and memory by container."""


def pod_metrics(pod: Object, usage: Usage, now: float) -> Object | None:
    """Returns a pod's PodMetrics, or None while it has not run for a whole window.

    Args:
        pod: as the API server has it.
        usage: of its containers, where it is other than the annotations say.
        now: the moment of the question, Unix seconds.
    """
    ended = now // WINDOW_SECONDS * WINDOW_SECONDS
    states: list[Object] = pod["status"].get("containerStatuses") or []
    running = {one["name"]: one["state"]["running"]["startedAt"] for one in states if "running" in one["state"]}
    last = max((dt.datetime.fromisoformat(since).timestamp() for since in running.values()), default=now)
    if last > ended - WINDOW_SECONDS:
        return None
    meta = pod["metadata"]
    notes: dict[str, str] = meta.get("annotations") or {}
    usual = {"cpu": notes.get(CPU_USAGE, "100000000n"), "memory": notes.get(MEMORY_USAGE, "262144Ki")}
    return {
        "kind": "PodMetrics",
        "apiVersion": GROUP_VERSION,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": meta.get("labels") or {},
            "creationTimestamp": _text(now),
        },
        "timestamp": _text(ended),
        "window": f"{WINDOW_SECONDS}s",
        "containers": [{"name": name, "usage": {**usual, **usage.get(name, {})}} for name in running],
    }


def _text(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class MetricsApi:
    """Answers as metrics-server does; holds nothing but the usage that tests set."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._usage: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def _metrics(self, pods: Sequence[Object]) -> list[Object]:
        now = self._clock.now()
        keys = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods]
        found = (pod_metrics(pod, self._usage.get(key, {}), now) for pod, key in zip(pods, keys, strict=True))
        return [one for one in found if one is not None]

    async def list(self, request: web.Request) -> web.Response:
        """Serves the PodMetrics of a namespace or of all, for the selectors of the request."""
        selectors = {key: value for key, value in request.query.items() if key in {"labelSelector", "fieldSelector"}}
        path = await self._api.path("v1", "Pod", namespace=request.match_info.get("namespace"))
        found = await self._api.request("GET", path, query=selectors)
        items = self._metrics(found["items"])
        return web.json_response(
            {"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}
        )

    async def get(self, request: web.Request) -> web.Response:
        """Serves the PodMetrics of one pod."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        pod = await self._api.find("v1", "Pod", name, namespace=namespace)
        found = self._metrics([] if pod is None else [pod])
        if not found:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            message = f'podmetrics.metrics.k8s.io "{namespace}/{name}" not found'
            return web.json_response({**status, "message": message}, status=404)
        return web.json_response(found[0])

    async def usage(self, request: web.Request) -> web.Response:
        """Sets what one container of a pod uses."""
        body = await request.json()
        pod = self._usage.setdefault((body["namespace"], body["pod"]), {})
        pod.setdefault(body["container"], {}).update(body["usage"])
        return web.Response(status=204)

    async def resources(self, _: web.Request) -> web.Response:
        """Serves the list of resources, by which clients find the API."""
        pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
        found = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": [pods]}
        return web.json_response(found)

    def application(self) -> web.Application:
        """Returns the web application."""
        app = web.Application(middlewares=[_pass_refusals_on])
        root = f"/apis/{GROUP_VERSION}"
        app.router.add_get(root, self.resources)
        app.router.add_get(f"{root}/pods", self.list)
        app.router.add_get(f"{root}/namespaces/{{namespace}}/pods", self.list)
        app.router.add_get(f"{root}/namespaces/{{namespace}}/pods/{{name}}", self.get)
        app.router.add_post("/control/usage", self.usage)
        return app


@web.middleware
async def _pass_refusals_on(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with the API server's refusal, of a malformed selector for example, instead of a 500."""
    try:
        return await handler(request)
    except ApiError as error:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": error.reason}
        return web.json_response({**status, "code": error.status, "message": str(error)}, status=error.status)


async def serve(kubeconfig: Path, port: int, certificates: Path) -> None:
    """Serves until it is killed."""
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    async with Api(read_connection(kubeconfig, certificates)) as api:
        runner = web.AppRunner(MetricsApi(api, SystemClock()).application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=trust).start()
        await asyncio.Event().wait()


def main() -> int:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.kubeconfig, arguments.port, arguments.certificates))
    return 0


if __name__ == "__main__":
    sys.exit(main())
