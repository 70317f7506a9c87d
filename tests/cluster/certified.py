"""The admission plugin on certificates of its own, as the chart sets it up: account, Secret, settings, webhooks.

Two replicas run as processes, and each of the chart's webhook configurations calls one of them on loopback instead of
through a Service. Nobody but the plugin says whom the API server trusts.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from admission.certificate_authority import read_certificates
from tests.cluster.chart import ACCESS_KINDS, of_component, rendered_chart
from tests.cluster.controlplane.api import Connection, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import answers
from tests.cluster.controlplane.processes import free_ports

REGISTRATION = "admissionregistration.k8s.io/v1"
CALLED_IN_ORDER = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
DAY_SECONDS = 86_400.0
READY_SECONDS = 60.0


class Certified:
    """Two replicas in a test's own place, in a release named like it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        release = namespace = bench.namespace
        self._items = of_component(rendered_chart(release=release, namespace=namespace), "admission")
        self._metrics: list[str] = []
        self.account = self._one("ServiceAccount")["metadata"]["name"]
        self.secret = self._one("Secret")["metadata"]["name"]
        self.configuration = self._one(CALLED_IN_ORDER[0])["metadata"]["name"]

    def _one(self, kind: str) -> Object:
        (found,) = (one for one in self._items if one["kind"] == kind)
        return found

    async def grant(self) -> Connection:
        """Applies the chart's account, roles and Secret. Returns how the account talks to the API server."""
        bench = self._bench
        for item in self._items:
            if item["kind"] in (*ACCESS_KINDS, "Secret"):
                await bench.apply(item)
        token = await bench.api.token(bench.namespace, self.account)
        plane = bench.plane.connection
        return Connection(server=plane.server, authority=plane.authority, token=token)

    async def start(self, settings: dict[str, str]) -> None:
        """Has the API server call both replicas and insist on an answer, and starts them."""
        bench = self._bench
        connection = await self.grant()
        kubeconfig = bench.plane.write_kubeconfig(f"{bench.namespace}-admission", connection)
        ports = free_ports(4)
        for kind, port in zip(CALLED_IN_ORDER, ports, strict=False):
            await bench.apply(_called_at(self._one(kind), port))
        for number in range(2):
            self._run(number, ports[number], ports[number + 2], kubeconfig, settings)

        async def ready() -> bool:
            return all([await answers(f"{url}/readyz") for url in self._metrics])

        await bench.wait_for(ready, what="both replicas have a certificate", timeout_seconds=READY_SECONDS)

    def _run(self, number: int, port: int, pages: int, kubeconfig: Path, settings: dict[str, str]) -> None:
        (container,) = self._one("Deployment")["spec"]["template"]["spec"]["containers"]
        environment = {one["name"]: one["value"] for one in container["env"] if "value" in one} | {
            "WATTKEEPER_IDENTITY": f"admission-{number}",
            "WATTKEEPER_NAMESPACE": self._bench.namespace,
            "WATTKEEPER_KUBECONFIG": str(kubeconfig),
            "WATTKEEPER_LISTEN_ADDRESS": f"127.0.0.1:{port}",
            "WATTKEEPER_METRICS_ADDRESS": f"127.0.0.1:{pages}",
            "WATTKEEPER_CERTIFICATE_NAMES": json.dumps(["127.0.0.1"]),
            "WATTKEEPER_GOODBYE_SECONDS": "0",
            **settings,
        }
        program = Path(sys.executable).with_name("wattkeeper")
        self._bench.run(f"admission-{number}", [str(program), "admission"], environment=environment)
        self._metrics.append(f"http://127.0.0.1:{pages}")

    async def named(self) -> frozenset[x509.Certificate]:
        """Returns the authorities that the API server trusts for the first webhook of each configuration."""
        bundles: list[bytes] = []
        for kind in CALLED_IN_ORDER:
            found = await self._bench.api.get(REGISTRATION, kind, self.configuration)
            bundles.append(base64.b64decode(found["webhooks"][0]["clientConfig"].get("caBundle", "")))
        return frozenset(one for bundle in bundles for one in read_certificates(bundle))

    async def empty_secret(self) -> None:
        """Loses everything that the Secret holds."""
        await self._bench.api.patch("v1", "Secret", self.secret, {"data": None}, namespace=self._bench.namespace)

    async def counted(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric's samples with these labels over both replicas."""
        total = 0.0
        async with aiohttp.ClientSession() as session:
            for url in self._metrics:
                async with session.get(f"{url}/metrics") as answer:
                    families = text_string_to_metric_families(await answer.text())
                samples = [one for family in families for one in family.samples if one.name == name]
                total += sum(one.value for one in samples if labels.items() <= one.labels.items())
        return total


def _called_at(item: Object, port: int) -> Object:
    hooks: list[dict[str, Any]] = [
        {
            **hook,
            "clientConfig": {"url": f"https://127.0.0.1:{port}{hook['clientConfig']['service']['path']}"},
            "failurePolicy": "Fail",
        }
        for hook in item["webhooks"]
    ]
    return {**item, "webhooks": hooks}
