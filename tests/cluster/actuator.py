"""The actuator as the chart installs it: its service account and roles from the rendered templates, two replicas.

They run as processes beside the control plane instead of as pods, with the settings that the chart passes, made faster
where a test would only wait.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.chart import rendered_access
from tests.cluster.controlplane.api import Api, Connection
from tests.cluster.controlplane.plane import Plane, answers
from tests.cluster.controlplane.processes import Command, free_ports
from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.installation import NAMESPACE, READY_SECONDS, RELEASE, Reach, Replica, straight

COMPONENT = "actuator"
RAISE_SECONDS = 3


class Actuators:
    """Two replicas under the chart's own service account."""

    def __init__(
        self,
        plane: Plane,
        scaler_address: str,
        *,
        reach: Reach | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Takes where to run.

        Args:
            plane: the control plane.
            scaler_address: where KEDA finds the scaler.
            reach: how each replica reaches the API server; straight by default.
            settings: variables beside those that the tests set always.
        """
        self._plane = plane
        self._settings = settings or {}
        self._reach = reach or straight(plane)
        self._scaler_address = scaler_address
        self._environment: dict[str, str] = {}
        self._token = ""
        self.replicas: list[Replica] = []

    async def install(self, api: Api) -> None:
        """Applies what the chart grants, and starts both replicas."""
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await self.act_again(api)  # After another module's restoration.
        account = ""
        for item in rendered_access(COMPONENT, release=RELEASE, namespace=NAMESPACE):
            await api.apply(item)
            if item["kind"] == "ServiceAccount":
                account = item["metadata"]["name"]
        self._token = await api.token(NAMESPACE, account)
        self._environment = {
            "WATTKEEPER_NAMESPACE": NAMESPACE,
            "WATTKEEPER_SCALER_ADDRESS": self._scaler_address,
            "WATTKEEPER_POLLING_SECONDS": "5",
            "WATTKEEPER_PASS_SECONDS": "0.5",
            "WATTKEEPER_WARM_UP_SECONDS": "1",
            "WATTKEEPER_RAISE_SECONDS": str(RAISE_SECONDS),
            "WATTKEEPER_STALE_SECONDS": "5",
            "WATTKEEPER_LEASE_SECONDS": "4",
            **self._settings,
        }
        for number, port in enumerate(free_ports(2)):
            name, metrics = f"actuator-{number}", f"127.0.0.1:{port}"
            environment = {**self._environment, **self._own(name), "WATTKEEPER_METRICS_ADDRESS": metrics}
            command = Command(name=name, arguments=(_program(), COMPONENT), environment=environment)
            process = self._plane.run(command)
            self.replicas.append(Replica(name=name, process=process, address="", metrics_url=f"http://{metrics}"))
        await self.wait_ready()

    def _own(self, name: str) -> dict[str, str]:
        """Returns who a process is, and with what."""
        authority = self._plane.connection.authority
        connection = Connection(server=self._reach(name), authority=authority, token=self._token)
        kubeconfig = self._plane.write_kubeconfig(f"wattkeeper-{name}", connection)
        return {"WATTKEEPER_IDENTITY": name, "WATTKEEPER_KUBECONFIG": str(kubeconfig)}

    async def wait_ready(self) -> None:
        """Waits until the caches of every replica are complete."""
        for replica in self.replicas:

            async def ready(replica: Replica = replica) -> bool:
                replica.process.check_alive()
                return await answers(f"{replica.metrics_url}/readyz")

            await wait_for(ready, what=f"{replica.name} is ready", timeout_seconds=READY_SECONDS)

    async def leader(self, api: Api) -> Replica:
        """Returns the replica that leads, waiting while none does."""

        async def found() -> Replica | None:
            lease = await api.find("coordination.k8s.io/v1", "Lease", "wattkeeper-actuator", namespace=NAMESPACE)
            holder = (lease or {}).get("spec", {}).get("holderIdentity")
            return next((one for one in self.replicas if one.name == holder and one.process.alive), None)

        leader = await wait_for(found, what="an actuator leads", timeout_seconds=READY_SECONDS)
        assert leader is not None
        return leader

    async def written(self, replica: Replica) -> float:
        """Returns how many writes of a replica have succeeded."""
        async with aiohttp.ClientSession() as session, session.get(f"{replica.metrics_url}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "wattkeeper_actuator_writes_total" and sample.labels["outcome"] == "written"
        )

    async def restore(self) -> str:
        """Runs what the chart's Job runs before an uninstallation, and returns what it logs."""
        environment = os.environ | self._environment | self._own("restore")
        job = await asyncio.create_subprocess_exec(
            _program(), COMPONENT, "--restore", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, said = await job.communicate()
        assert job.returncode == 0, said.decode()
        return said.decode()

    async def act_again(self, api: Api) -> None:
        """Lets replicas lead again that a restoration has kept from it."""
        await api.delete("coordination.k8s.io/v1", "Lease", "wattkeeper-actuator", namespace=NAMESPACE)

    def kill_all(self) -> None:
        """Ends both replicas as a crash would."""
        for replica in self.replicas:
            replica.kill()


def _program() -> str:
    return str(Path(sys.executable).with_name("wattkeeper"))
