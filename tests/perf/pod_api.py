"""An API server for benchmarks, in a process of its own: lists many pods of a true size, then floods a watch.

`python -m tests.perf.pod_api PODS EVENTS` prints its port and serves until its parent ends it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from aiohttp import web

SERVICES = 200
NODES = 1_250
_NAME, _UID, _VERSION, _NODE, _ADDRESS, _CLOCK = (f"<{word}>" for word in ("name", "uid", "rv", "node", "ip", "clock"))


def _template(service: int) -> bytes:
    """Returns the JSON of a pod of a KServe-like service as kubelet and controllers leave it: about 10.7 kB."""
    app = f"llm-{service:03}-predictor"
    chance = random.Random(service)
    digest = f"{chance.getrandbits(40):010x}"
    image = f"registry.example/llm/vllm-openai:v0.11.{service % 7}"
    time, ready = f"2026-11-{_CLOCK}0Z", f"2026-11-{_CLOCK}7Z"
    env = [{"name": f"SETTING_{n}", "value": f"{chance.getrandbits(96):024x}"} for n in range(24)]
    mounts = [{"name": f"volume-{n}", "mountPath": f"/mnt/volume-{n}", "readOnly": True} for n in range(6)]
    requests = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
    probe = {"httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 5}
    main = {
        "name": "kserve-container",
        "image": image,
        "args": ["--model=/mnt/models", "--port=8080", f"--served-model-name={app}", "--max-model-len=8192"],
        "env": env,
        "resources": {"requests": requests, "limits": requests},
        "volumeMounts": mounts,
        "readinessProbe": probe,
        "livenessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
    side = {
        "name": "agent",
        "image": "registry.example/kserve/agent:v0.20.0",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": mounts[:2],
    }
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    pod: dict[str, Any] = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"{app}-{digest[:9]}-{_NAME}",
            "generateName": f"{app}-{digest[:9]}-",
            "namespace": f"team-{service % 20:02}",
            "uid": f"5f0c1d1e-0000-4000-8000-{_UID}",
            "resourceVersion": _VERSION,
            "creationTimestamp": time,
            "labels": {
                "app": f"isvc.{app}",
                "component": "predictor",
                "serving.kserve.io/inferenceservice": f"llm-{service:03}",
                "pod-template-hash": digest[:9],
                "app.kubernetes.io/managed-by": "kserve",
                "team": f"team-{service % 20:02}",
            },
            "annotations": {
                "autoscaling.keda.sh/managed": "true",
                "internal.serving.kserve.io/storage-initializer-sourceuri": f"s3://models/llm-{service:03}/v1",
                "prometheus.io/port": "8080",
                "prometheus.io/path": "/metrics",
                "serving.kserve.io/deploymentMode": "Standard",
            },
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{app}-{digest[:9]}",
                    "uid": f"7a8b9c0d-0000-4000-8000-{service:012}",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [_managed("kube-controller-manager", time, 34), _managed("kubelet", time, 38)],
        },
        "spec": {
            "volumes": [{"name": f"volume-{n}", "configMap": {"name": f"{app}-{n}"}} for n in range(6)],
            "containers": [main, side],
            "restartPolicy": "Always",
            "nodeName": _NODE,
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {
                    "type": one,
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": ready if "ontainers" in one or one == "Ready" else time,
                }
                for one in conditions
            ],
            "hostIP": _ADDRESS,
            "podIP": _ADDRESS,
            "podIPs": [{"ip": _ADDRESS}],
            "startTime": time,
            "containerStatuses": [
                {
                    "name": name,
                    "state": {"running": {"startedAt": time}},
                    "ready": True,
                    "restartCount": 0,
                    "image": image,
                    "imageID": f"{image}@sha256:{chance.getrandbits(256):064x}",
                    "containerID": f"containerd://{chance.getrandbits(256):064x}",
                }
                for name in ("kserve-container", "agent")
            ],
            "qosClass": "Burstable",
        },
    }
    return json.dumps(pod, separators=(",", ":")).encode()


def _managed(manager: str, time: str, fields: int) -> dict[str, Any]:
    owned: dict[str, Any] = {
        f'k:{{"type":"Condition{n:02}"}}': {".": {}, "f:status": {}, "f:type": {}} for n in range(fields)
    }
    return {"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": owned}


class PodApi:
    """Pods by number: `version` 1 in the list, higher in events."""

    def __init__(self, pods: int, events: int) -> None:
        self._pods = pods
        self._templates = [_template(service) for service in range(SERVICES)]
        self._go = asyncio.Event()
        # Made beforehand, so that the client is what is measured: 200 MB for 20,000 events.
        self._writes = [
            b"".join(
                b'{"type":"MODIFIED","object":%b}\n' % self.pod(event % self._pods, 2 + event)
                for event in range(first, min(first + 40, events))
            )
            for first in range(0, events, 40)
        ]

    def pod(self, number: int, version: int) -> bytes:
        """Returns a pod's JSON."""
        place = number % NODES
        return (
            self._templates[number % SERVICES]
            .replace(b"<name>", b"%05d" % number)
            .replace(b"<uid>", b"%012d" % number)
            .replace(b"<rv>", b"%d" % version)
            .replace(b"<node>", b"gpu-node-%05d" % place)
            .replace(b"<ip>", b"10.%d.%d.%d" % (number // 65536, number // 256 % 256, number % 256))
            .replace(
                b"<clock>",
                b"%02dT%02d:%02d:%d" % (1 + number // 8640 % 28, number // 360 % 24, number // 6 % 60, number % 6),
            )
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answers every path."""
        if request.path == "/version":
            return web.json_response({"minor": "36"})
        if request.path == "/go":
            self._go.set()
            return web.json_response({})
        if "watch" in request.query:
            return await self._watch(request)
        start = int(request.query.get("continue", "0"))
        end = min(start + int(request.query["limit"]), self._pods)
        items = b",".join(self.pod(number, 1) for number in range(start, end))
        following = f',"continue":"{end}"' if end < self._pods else ""
        head = f'{{"kind":"PodList","metadata":{{"resourceVersion":"1"{following}}},"items":['.encode()
        return web.Response(body=head + items + b"]}", content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await self._go.wait()
        for lines in self._writes:
            await response.write(lines)
        await asyncio.Event().wait()
        return response


async def main() -> None:
    """Serves until the process is ended."""
    api = PodApi(int(sys.argv[1]), int(sys.argv[2]))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], len(api.pod(1, 1)), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
