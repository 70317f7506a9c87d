"""The admission plugin as the chart installs it: its service account, roles and webhooks from the rendered templates.

Two replicas run as processes beside the control plane instead of as pods, with the settings that the chart passes, made
faster where a test would only wait. The API server asks the first one: nothing spreads calls over processes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.chart import of_component, rendered_access, rendered_chart
from tests.cluster.controlplane import webhooks
from tests.cluster.controlplane.api import Api, Connection, Object
from tests.cluster.controlplane.certificates import KeyPair
from tests.cluster.controlplane.plane import Plane, answers
from tests.cluster.controlplane.processes import Command, free_ports
from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.installation import NAMESPACE, READY_SECONDS, RELEASE, Replica
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL

COMPONENT = "admission"
REGISTRATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
OPTED_IN: Object = {ADMISSION_LABEL: ADMISSION_ENABLED}
PROBED = f"{NAMESPACE}-asked"
"""A namespace whose pods are never stored: its reviews tell when the API server asks. It stays: while one is on its way
out, the next module could not have it."""


class AdmissionPlugin:
    """Two replicas under the chart's own service account, and the chart's webhooks for the first."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._registrations: list[Object] = []
        self._sinks = plane.folder / "alert-sinks.yaml"
        self.replicas: list[Replica] = []

    async def install(self, api: Api) -> None:
        """Applies what the chart grants, starts both replicas, and has the API server ask the first one."""
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        account = ""
        for item in rendered_access(COMPONENT, release=RELEASE, namespace=NAMESPACE):
            await api.apply(item)
            if item["kind"] == "ServiceAccount":
                account = item["metadata"]["name"]
        connection = Connection(
            server=self._plane.connection.server,
            authority=self._plane.connection.authority,
            token=await api.token(NAMESPACE, account),
        )
        kubeconfig = self._plane.write_kubeconfig("wattkeeper-admission", connection)
        folder = self._plane.folder / "wattkeeper-admission"
        certificate = self._plane.authority.issue_folder("wattkeeper-admission", folder)
        self.tell()
        ports = free_ports(4)
        for number in range(2):
            self._start(f"admission-{number}", ports[2 * number : 2 * number + 2], kubeconfig, certificate)
        await self.wait_ready()
        await self._register(api, ports[0])

    def _start(self, name: str, ports: list[int], kubeconfig: Path, certificate: KeyPair) -> None:
        address, metrics = f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
        environment = {
            "WATTKEEPER_IDENTITY": name,
            "WATTKEEPER_NAMESPACE": NAMESPACE,
            "WATTKEEPER_KUBECONFIG": str(kubeconfig),
            "WATTKEEPER_LISTEN_ADDRESS": address,
            "WATTKEEPER_METRICS_ADDRESS": metrics,
            "WATTKEEPER_TLS_CERTIFICATE": str(certificate.certificate),
            "WATTKEEPER_TLS_KEY": str(certificate.key),
            "WATTKEEPER_USAGE_SECONDS": "1",
            "WATTKEEPER_STATE_SECONDS": "5",
            "WATTKEEPER_LEASE_SECONDS": "4",
            "WATTKEEPER_GOODBYE_SECONDS": "0",
            "WATTKEEPER_ALERT_SINKS_FILE": str(self._sinks),
            "WATTKEEPER_ALERT_SECONDS": "1",
            "WATTKEEPER_ALERT_HOLD_SECONDS": "2",
            "WATTKEEPER_ALERT_KEEP_SECONDS": "3",
            "WATTKEEPER_ALERT_RESEND_SECONDS": "5",
        }
        program = Path(sys.executable).with_name("wattkeeper")
        process = self._plane.run(Command(name=name, arguments=(str(program), "admission"), environment=environment))
        self.replicas.append(Replica(name=name, process=process, address=address, metrics_url=f"http://{metrics}"))

    def tell(self, *sinks: Object) -> None:
        """Says who is told of alerts from now on, as a kubelet does when the Secret has changed: all at once."""
        written = self._sinks.with_suffix(".new")
        written.write_text(yaml.safe_dump({"sinks": list(sinks)}))
        written.replace(self._sinks)

    async def wait_ready(self) -> None:
        """Waits until every replica would be asked."""
        for replica in self.replicas:

            async def ready(replica: Replica = replica) -> bool:
                replica.process.check_alive()
                return await answers(f"{replica.metrics_url}/readyz")

            await wait_for(ready, what=f"{replica.name} is ready", timeout_seconds=READY_SECONDS)

    async def _register(self, api: Api, port: int) -> None:
        """Applies the chart's webhooks for a port of loopback, and returns once the API server asks there."""
        for item in of_component(rendered_chart(release=RELEASE, namespace=NAMESPACE), COMPONENT):
            if item["kind"] in REGISTRATIONS:
                self._registrations.append(webhooks.by_url(item, port, self._plane.authority))
                await api.apply(self._registrations[-1])
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PROBED}})
        await self.opt_in(api, PROBED)

    async def opt_in(self, api: Api, namespace: str) -> None:
        """Labels a namespace as its admin would, and returns once the API server asks about pods in it."""
        await api.patch("v1", "Namespace", namespace, {"metadata": {"labels": OPTED_IN}})
        await self.wait_asked(api, namespace)

    async def wait_asked(self, api: Api, namespace: str = PROBED) -> None:
        """Waits until the API server asks about new pods of a namespace."""
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "asked-", "labels": {CAPPED_LABEL: "true"}},
            "spec": {"containers": [{"name": "main", "image": "none"}]},
        }
        path = await api.path("v1", "Pod", namespace=namespace)

        async def asked() -> bool:
            before = await self.reviews()
            await api.request("POST", path, pod, query={"dryRun": "All"})
            return await self.reviews() > before

        await wait_for(asked, what="the API server asks the admission plugin", timeout_seconds=READY_SECONDS)

    async def reviews(self, result: str | None = None, *, webhook: str = "mutate-pods") -> float:
        """Returns how many reviews the asked replica has answered, all of them or those with a result."""
        labels = {"webhook": webhook} if result is None else {"webhook": webhook, "result": result}
        return await self.counted(self.replicas[0], "wattkeeper_admission_reviews_total", **labels)

    async def counted(self, replica: Replica, name: str, **labels: str) -> float:
        """Returns the sum of a replica's samples of a metric that carry these labels; 0 without any."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(await self.metrics(replica))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def metrics(self, replica: Replica) -> str:
        """Returns what a replica's /metrics says."""
        async with aiohttp.ClientSession() as session, session.get(f"{replica.metrics_url}/metrics") as answer:
            return await answer.text()

    def kill_all(self) -> None:
        """Ends both replicas as a crash would; the webhooks stay registered."""
        for replica in self.replicas:
            replica.kill()

    async def start_all(self, api: Api) -> None:
        """Starts the replicas that do not run, and returns once the API server asks again."""
        for replica in self.replicas:
            if not replica.process.alive:
                replica.process.restart()
        await self.wait_ready()
        await self.wait_asked(api)

    async def close(self, api: Api) -> None:
        """Takes the webhooks away, so that nobody is asked any more, and ends both replicas."""
        for item in self._registrations:
            await api.delete(item["apiVersion"], item["kind"], item["metadata"]["name"])
        self.kill_all()
