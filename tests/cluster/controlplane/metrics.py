"""metrics.k8s.io as a part of the control plane that tests ask for, and what they tell its server."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import aiohttp

from tests.cluster.controlplane import aggregation
from tests.cluster.controlplane.api import Api
from tests.cluster.controlplane.certificates import Authority
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.plane import REPOSITORY, Part, Plane
from tests.cluster.controlplane.processes import Command, free_ports

PROCESS = "metrics-api"
SERVICE, NAMESPACE = "metrics-server", "kube-system"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The server behind metrics.k8s.io."""

    url: str
    authority: Authority

    async def set_usage(
        self, namespace: str, pod: str, container: str, *, cpu: str | None = None, memory: str | None = None
    ) -> None:
        """Sets what one container uses from now on, quantities; what is None stays as it is.

        Without this, containers use what annotations of their pods say: metrics_api.CPU_USAGE and MEMORY_USAGE.
        """
        usage = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value is not None}
        body = {"namespace": namespace, "pod": pod, "container": container, "usage": usage}
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self.authority.trust()), raise_for_status=True
            ) as session,
            session.post(f"{self.url}/control/usage", json=body),
        ):
            pass


async def start(plane: Plane) -> Metrics:
    """Starts the server, makes it an API of the API server, and returns when that passes questions on.

    Raises:
        ControlPlaneError: it does not start; the message carries its log's tail.
    """
    (port,) = free_ports(1)
    certificates = plane.folder / PROCESS
    plane.authority.issue_folder(PROCESS, certificates, dns_names=(f"{SERVICE}.{NAMESPACE}.svc",))
    command = Command(
        name=PROCESS,
        arguments=(
            sys.executable,
            "-m",
            "tests.cluster.controlplane.metrics_api",
            f"--kubeconfig={plane.kubeconfig}",
            f"--port={port}",
            f"--certificates={certificates}",
        ),
        environment={"PYTHONPATH": str(REPOSITORY)},
    )

    async def serves() -> bool:
        try:
            async with Api(plane.connection) as api:
                await api.request("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/kube-system/pods")
        except (aiohttp.ClientError, ApiError):
            return False
        return True

    async with Api(plane.connection) as api:
        bundle = plane.authority.bundle
        for one in aggregation.objects(
            group="metrics.k8s.io", version="v1beta1", service=SERVICE, namespace=NAMESPACE, port=port, bundle=bundle
        ):
            await api.apply(one)
    await plane.add(Part(command=command, serves=serves))
    return Metrics(url=f"https://127.0.0.1:{port}", authority=plane.authority)
