"""How fast the API server is answered: `python -m tests.perf.admission [--json PATH]`.

Asked over kept TLS connections, 200 times a second. Reviews are of new pods of 9 kB, of random ones of 1,000 services
with usage history, LimitRanges and quotas; each is patched: requests, gate and annotations.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import ssl
import tempfile
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from admission.metrics import AdmissionMetrics
from admission.mutate import PodMutator
from admission.server import AdmissionServer, ServerOptions
from admission.tls import CertificateFiles, ReloadingCertificates
from admission.usage_model import Sample, UsageModel
from admission.view import AdmissionView
from tests.cluster.controlplane.certificates import Authority
from tests.perf.beside import IN_FLIGHT, Ask, compared, in_turns, pin, serving, until_closed
from tests.perf.rows import Row, report
from tests.unit.admission.samples import (
    GIB,
    NAMESPACE,
    container,
    deployment,
    namespace,
    pod,
    policy,
    recommendation,
)
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.clock import SystemClock
from wattkeeper.cluster.objects import (
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
)

COMMAND = "python -m tests.perf.admission"
SERVICES = 1_000
POD_BYTES = 9_000
REVIEWS_PER_SECOND = 200
BODIES = 200
AIM_P99_MILLISECONDS = 5.0
CONTAINERS = ("kserve-container", "queue-proxy", "istio-proxy")


def name_of(number: int) -> str:
    """Returns a service's name."""
    return f"llm-{number}-predictor"


def filled() -> MemoryView:
    """Returns the caches."""
    view = MemoryView()
    view.put(namespace(), policy(labels={"capped": "yes"}), policy("other", labels={"capped": "no"}))
    for number in range(SERVICES):
        view.put(deployment(name_of(number), capped="yes"), recommendation(name=name_of(number)))
    per_pod = LimitRangeItem(type="Pod", max={"cpu": "64", "memory": "512Gi"})
    per_container = LimitRangeItem(type="Container", min={"cpu": "10m", "memory": "16Mi"}, max={"cpu": "48"})
    view.put(
        LimitRange(
            metadata=ObjectMeta(name="bounds", namespace=NAMESPACE),
            spec=LimitRangeSpec(limits=(per_pod, per_container)),
        ),
        ResourceQuota(
            metadata=ObjectMeta(name="team", namespace=NAMESPACE),
            spec=ResourceQuotaSpec(hard={"requests.cpu": "4000", "requests.memory": "64Ti"}),
            status=ResourceQuotaStatus(
                hard={"requests.cpu": "4000", "requests.memory": "64Ti"},
                used={"requests.cpu": "900", "requests.memory": "12Ti"},
            ),
        ),
    )
    return view


def learned(now: float) -> UsageModel:
    """Returns usage of every container over some minutes."""
    source = random.Random(2)
    model = UsageModel()
    for minute in range(10, 0, -1):
        model.add(
            [
                Sample(
                    ServiceKey(NAMESPACE, "Deployment", name_of(number)),
                    one,
                    f"uid-{number}",
                    now - 60.0 * minute,
                    source.uniform(0.1, 4.0),
                    source.uniform(0.1, 20.0) * GIB,
                    minute == 10,
                )
                for number in range(SERVICES)
                for one in CONTAINERS
            ],
            now,
        )
    return model


async def serve(folder: Path) -> None:
    """Serves both on free ports, prints the ports, and ends with its standard input."""
    certificates = ReloadingCertificates(CertificateFiles(certificate=folder / "server.crt", key=folder / "server.key"))
    clock = SystemClock()
    view = filled()
    metrics = AdmissionMetrics(CollectorRegistry())
    ours = AdmissionServer(
        {"/mutate-pods": PodMutator(AdmissionView(view), learned(clock.now()), clock, metrics)},
        synced=view.synced,
        clock=clock,
        metrics=metrics,
        options=ServerOptions(address="127.0.0.1:0", certificates=certificates, goodbye_seconds=0.0),
    )
    await ours.start()
    fixed = json.dumps({"response": {"uid": "u-1", "allowed": True}}).encode()

    async def empty(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=fixed, content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/mutate-pods", empty)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.context()).start()
    gc.collect()
    gc.freeze()  # As the command does.
    await until_closed(ours.port, int(runner.addresses[0][1]))
    await ours.drain()
    await runner.cleanup()


def body(number: int) -> bytes:
    """Returns the review of a new pod of one service, its pod as long as pods are."""
    name = name_of(number)
    given = pod(
        # Less than is used: a minute of history raises requests, and lowers none.
        *(container(one, requests={"cpu": "100m", "memory": "100Mi"}) for one in CONTAINERS),
        generateName=f"{name}-7c9d-",
        ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-7c9d", "uid": "r-1"}],
    )
    # Variables are what makes pods long.
    variables: list[dict[str, str]] = []
    given["spec"]["containers"][0]["env"] = variables
    while len(json.dumps(given)) < POD_BYTES:
        variables.append({"name": f"VARIABLE_{len(variables)}", "value": "v" * 40})
    request = {
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": NAMESPACE,
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": given,
        "oldObject": None,
        "dryRun": False,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review, separators=(",", ":")).encode()


def asking(client: aiohttp.ClientSession, port: int, bodies: list[bytes], *, patched: bool) -> Ask:
    """Returns what asks one listener and makes sure that it did its work."""
    url = f"https://localhost:{port}/mutate-pods"
    source = random.Random(3)

    async def ask() -> None:
        async with client.post(url, data=source.choice(bodies)) as answer:
            got = await answer.read()
        if answer.status != 200 or (b'"patch"' in got) is not patched:
            raise RuntimeError(f"{answer.status}: {got[:200]!r}")

    return ask


async def measure(ports: list[int], trusted: Path) -> list[Row]:
    """Measures ours, which is at the first port, beside the empty one."""
    source = random.Random(1)
    bodies = [body(source.randrange(SERVICES)) for _ in range(BODIES)]
    context = ssl.create_default_context(cafile=trusted)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=IN_FLIGHT * 2)) as client:
        asks = [asking(client, port, bodies, patched=place == 0) for place, port in enumerate(ports)]
        ours, empty = await in_turns(asks, per_second=REVIEWS_PER_SECOND)
    return compared(
        ours,
        empty,
        what="pod review",
        among=f"pod review over TLS, {SERVICES:,} services",
        beside="empty handler over TLS",
        unit="reviews/s",
        per_second=REVIEWS_PER_SECOND,
        aim_p99_milliseconds=AIM_P99_MILLISECONDS,
        command=COMMAND,
    )


def main() -> None:
    """Serves, measures and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--serve", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        pin(0)
        uvloop.run(serve(arguments.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        authority.issue("server")
        with serving("-m", "tests.perf.admission", "--serve", folder) as ports:
            report(uvloop.run(measure(ports, authority.certificate)), arguments.json)


if __name__ == "__main__":
    main()
