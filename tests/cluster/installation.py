"""Wattkeeper as the chart installs it: its service account and roles from the rendered templates, two replicas.

The replicas run as processes beside the control plane instead of as pods (KWOK runs no containers), with the settings
that the chart passes, made faster where a test would only wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import aiohttp

from tests.cluster.chart import rendered_access
from tests.cluster.controlplane.api import Api, Connection
from tests.cluster.controlplane.plane import Plane, answers
from tests.cluster.controlplane.processes import Command, Process, free_ports
from tests.cluster.controlplane.waiting import wait_for

NAMESPACE = "wattkeeper-system"
RELEASE = "wattkeeper"
READY_SECONDS = 60.0
TICK_SECONDS = 1
# KEDA polls and the HPA syncs every 5 s on the tests' control plane; users have 30 s and 15 s.
ACTUATION_WINDOW_SECONDS = 15.0

Reach = Callable[[str], str]
"""Returns the URL at which a process of a name reaches the API server."""


def straight(plane: Plane) -> Reach:
    """Everything reaches the API server itself."""
    return lambda _: plane.connection.server


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One replica: its process and where it listens."""

    name: str
    process: Process
    address: str
    metrics_url: str

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()


class Installation:
    """Two replicas under the chart's own service account."""

    def __init__(
        self, plane: Plane, *, reach: Reach | None = None, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Takes where to run, how each replica reaches the API server, and further settings."""
        self._plane = plane
        self._settings = settings
        self._reach = reach or straight(plane)
        self.replicas: list[Replica] = []

    @property
    def address(self) -> str:
        """Where KEDA finds the first replica."""
        return self.replicas[0].address

    async def install(self, api: Api) -> None:
        """Applies what the chart grants, and starts both replicas."""
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        account = ""
        for item in rendered_access(release=RELEASE, namespace=NAMESPACE):
            await api.apply(item)
            if item["kind"] == "ServiceAccount":
                account = item["metadata"]["name"]
        token = await api.token(NAMESPACE, account)
        ports = free_ports(4)
        for number in range(2):
            name = f"scaler-{number}"
            authority = self._plane.connection.authority
            connection = Connection(server=self._reach(name), authority=authority, token=token)
            kubeconfig = self._plane.write_kubeconfig(f"wattkeeper-{name}", connection)
            self.replicas.append(self._replica(name, ports[2 * number : 2 * number + 2], kubeconfig))
        await self.wait_ready(api)

    def _replica(self, name: str, ports: list[int], kubeconfig: Path) -> Replica:
        address, metrics = f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
        environment = {
            "WATTKEEPER_IDENTITY": name,
            "WATTKEEPER_NAMESPACE": NAMESPACE,
            "WATTKEEPER_KUBECONFIG": str(kubeconfig),
            "WATTKEEPER_PROMETHEUS_URL": self._plane.prometheus_url or "",
            "WATTKEEPER_LISTEN_ADDRESS": address,
            "WATTKEEPER_METRICS_ADDRESS": metrics,
            "WATTKEEPER_TICK_SECONDS": str(TICK_SECONDS),
            "WATTKEEPER_READ_SECONDS": "0.9",
            "WATTKEEPER_LEASE_SECONDS": "4",
            "WATTKEEPER_STATE_SECONDS": "5",
            "WATTKEEPER_STALE_TICKS": "5",
            "WATTKEEPER_ACTUATION_WINDOW_SECONDS": str(ACTUATION_WINDOW_SECONDS),
            **self._settings,
        }
        program = Path(sys.executable).with_name("wattkeeper")
        process = self._plane.run(Command(name=name, arguments=(str(program), "scaler"), environment=environment))
        return Replica(name=name, process=process, address=address, metrics_url=f"http://{metrics}")

    async def wait_ready(self, api: Api) -> None:
        """Waits until both replicas can answer, and one leads."""
        for replica in self.replicas:

            async def ready(replica: Replica = replica) -> bool:
                replica.process.check_alive()
                return await answers(f"{replica.metrics_url}/readyz")

            await wait_for(ready, what=f"{replica.name} is ready", timeout_seconds=READY_SECONDS)
        await self.leader(api)

    async def leader(self, api: Api) -> Replica:
        """Returns the replica that leads, waiting while none does."""

        async def found() -> Replica | None:
            lease = await api.find("coordination.k8s.io/v1", "Lease", "wattkeeper-scaler", namespace=NAMESPACE)
            holder = (lease or {}).get("spec", {}).get("holderIdentity")
            return next((one for one in self.replicas if one.name == holder and one.process.alive), None)

        leader = await wait_for(found, what="a replica leads", timeout_seconds=READY_SECONDS)
        assert leader is not None
        return leader

    def other(self, replica: Replica) -> Replica:
        """Returns the replica that is not this one."""
        return next(one for one in self.replicas if one.name != replica.name)

    def kill_all(self) -> None:
        """Ends both replicas as a crash would."""
        for replica in self.replicas:
            replica.kill()

    async def start_all(self, api: Api) -> None:
        """Starts the replicas that do not run."""
        for replica in self.replicas:
            if not replica.process.alive:
                replica.process.restart()
        await self.wait_ready(api)

    async def metrics(self, replica: Replica) -> str:
        """Returns what a replica's /metrics says."""
        async with aiohttp.ClientSession() as session, session.get(f"{replica.metrics_url}/metrics") as answer:
            return await answer.text()
