"""A real listener on loopback, over TLS, in front of a view in memory."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from admission.metrics import AdmissionMetrics
from admission.mutate import PodMutator
from admission.server import AdmissionServer, ServerOptions, Webhook
from admission.tls import CertificateFiles, Certificates
from admission.view import AdmissionView
from tests.cluster.controlplane.certificates import Authority
from tests.unit.admission.samples import NAMESPACE, NOW, KnownUsage, cluster, deployment, pod, policy, usage
from tests.unit.scaler.memory_cluster import MemoryView

KNOWN = KnownUsage({"main": usage(cores=2.0)})


class StillClock:
    """Time stands still, and waiting takes none."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Listener:
    """A server and what it counts."""

    def __init__(
        self,
        *,
        view: MemoryView | None = None,
        certificates: Certificates | None = None,
        webhooks: Mapping[str, Webhook] | None = None,
        clock: Any = None,
        address: str = "127.0.0.1:0",
        **options: Any,
    ) -> None:
        self.registry = CollectorRegistry()
        self.view = view or cluster(deployment(), policy())
        metrics = AdmissionMetrics(self.registry)
        clock = clock or StillClock()
        mutator = PodMutator(AdmissionView(self.view), KNOWN, clock, metrics)
        self.server = AdmissionServer(
            {"/mutate-pods": mutator, **(webhooks or {})},
            synced=self.view.synced,
            clock=clock,
            metrics=metrics,
            options=ServerOptions(address=address, certificates=certificates, **options),
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"wattkeeper_admission_{name}_total", labels) or 0.0

    def results(self, webhook: str = "mutate-pods") -> dict[str, float]:
        return {
            sample.labels["result"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "wattkeeper_admission_reviews_total" and sample.labels["webhook"] == webhook
        }


@asynccontextmanager
async def listening(**options: Any) -> AsyncGenerator[tuple[Listener, aiohttp.ClientSession]]:
    """Yields a plaintext listener and a client of it."""
    listener = Listener(**options)
    await listener.server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.server.port}") as client:
            yield listener, client
    finally:
        await listener.server.drain()


def issue(folder: Path, name: str = "server") -> tuple[Authority, CertificateFiles]:
    """Makes an authority and a certificate of it."""
    authority = Authority(folder)
    pair = authority.issue(name)
    return authority, CertificateFiles(certificate=pair.certificate, key=pair.key)


def trusting(*authorities: Authority) -> ssl.SSLContext:
    """Returns what a client needs."""
    context = ssl.create_default_context()
    for authority in authorities:
        context.load_verify_locations(authority.certificate)
    return context


def swap(new: Path, place: Path) -> None:
    """Puts a file in the place of another, at once."""
    copied = place.with_suffix(".new")
    shutil.copy(new, copied)
    copied.replace(place)


def review(given: object = None, **request: Any) -> bytes:
    """Returns a review of a pod, as the API server sends it."""
    return json.dumps(
        {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u-1",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": NAMESPACE,
                "object": pod() if given is None else given,
                **request,
            },
        }
    ).encode()
