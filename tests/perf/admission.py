"""How fast the API server is answered: `python -m tests.perf.admission [--json PATH]`.

The listener runs in a process of its own on one core, with TLS, the client on another where there is one, over kept
connections. Reviews are of new pods of 9 kB, of random ones of 1,000 services with usage history, LimitRanges and
quotas; each is patched: requests, gate and annotations. They come 200 a second, each counted from the instant at which
it was due, and flat out with 16 in flight. A listener that reads a body and answers the same thing to all is measured
beside it, in the same process and in turns, because what a call costs at all depends on the machine and its other work.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
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
from tests.perf.rows import Row, at_most, report
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
ROUNDS, PACED_SECONDS, FLAT_OUT_SECONDS, WARM_UP_REVIEWS = 6, 2.0, 1.0, 500
IN_FLIGHT = 16
BODIES = 200
AIM_P99_MILLISECONDS = 5.0
CONTAINERS = ("kserve-container", "queue-proxy", "istio-proxy")

Ask = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one listener."""

    p50_milliseconds: float
    p99_milliseconds: float
    reviews_per_second: float


def pin(core: int) -> None:
    """Keeps this process on one core where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


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
    print(ours.port, runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await ours.drain()
    await runner.cleanup()


def body(number: int) -> bytes:
    """Returns the review of a new pod of one service, its pod as long as pods are."""
    name = name_of(number)
    given = pod(
        *(container(one, requests={"cpu": "8", "memory": "40Gi"}) for one in CONTAINERS),
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


async def paced(ask: Ask, bodies: list[bytes], source: random.Random) -> list[float]:
    """Returns milliseconds of each review at an even pace, from when it was due."""
    taken: list[float] = []
    begin = time.perf_counter() + 0.1

    async def one(due: float) -> None:
        await ask(source.choice(bodies))
        taken.append((time.perf_counter() - due) * 1000.0)

    async with asyncio.TaskGroup() as reviews:
        for number in range(int(PACED_SECONDS * REVIEWS_PER_SECOND)):
            due = begin + number / REVIEWS_PER_SECOND
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            # The loop's own lateness in waking is the client's, not the server's.
            reviews.create_task(one(max(due, time.perf_counter())))
    return taken


async def flat_out(ask: Ask, bodies: list[bytes], source: random.Random) -> float:
    """Returns reviews a second with some always in flight."""
    end = time.perf_counter() + FLAT_OUT_SECONDS
    counts = [0] * IN_FLIGHT

    async def worker(place: int) -> None:
        while time.perf_counter() < end:
            await ask(source.choice(bodies))
            counts[place] += 1

    begin = time.perf_counter()
    await asyncio.gather(*(worker(place) for place in range(IN_FLIGHT)))
    return sum(counts) / (time.perf_counter() - begin)


def asking(client: aiohttp.ClientSession, port: int, *, patched: bool) -> Ask:
    """Returns what asks one listener and makes sure that it did its work."""
    url = f"https://localhost:{port}/mutate-pods"

    async def ask(sent: bytes) -> None:
        async with client.post(url, data=sent) as answer:
            got = await answer.read()
        if answer.status != 200 or (b'"patch"' in got) is not patched:
            raise RuntimeError(f"{answer.status}: {got[:200]!r}")

    return ask


async def measure(ports: list[int], trusted: Path) -> list[Figures]:
    """Measures listeners in turns, so that whatever else the machine does meets all of them."""
    source = random.Random(1)
    bodies = [body(source.randrange(SERVICES)) for _ in range(BODIES)]
    context = ssl.create_default_context(cafile=trusted)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=IN_FLIGHT * 2)) as client:
        asks = [asking(client, port, patched=place == 0) for place, port in enumerate(ports)]
        for ask in asks:
            for _ in range(WARM_UP_REVIEWS):
                await ask(source.choice(bodies))
        taken: list[list[float]] = [[] for _ in asks]
        rates: list[list[float]] = [[] for _ in asks]
        for _ in range(ROUNDS):
            for place, ask in enumerate(asks):
                taken[place] += await paced(ask, bodies, source)
                rates[place].append(await flat_out(ask, bodies, source))
    return [
        Figures(
            p50_milliseconds=float(np.percentile(milliseconds, 50)),
            p99_milliseconds=float(np.percentile(milliseconds, 99)),
            reviews_per_second=float(np.median(rate)),
        )
        for milliseconds, rate in zip(taken, rates, strict=True)
    ]


def rows(ours: Figures, empty: Figures) -> list[Row]:
    """Returns every figure as a row."""
    name = f"pod review over TLS, {SERVICES:,} services"

    def plain(what: str, value: float, unit: str) -> Row:
        return Row(name=what, value=round(value, 4), unit=unit, command=COMMAND)

    return [
        at_most(f"{name}, {REVIEWS_PER_SECOND}/s: p99", ours.p99_milliseconds, "ms", AIM_P99_MILLISECONDS, COMMAND),
        plain(f"{name}, {REVIEWS_PER_SECOND}/s: p50", ours.p50_milliseconds, "ms"),
        plain(f"{name}: flat out", ours.reviews_per_second, "reviews/s"),
        plain(f"empty handler over TLS, {REVIEWS_PER_SECOND}/s: p99", empty.p99_milliseconds, "ms"),
        plain(f"empty handler over TLS, {REVIEWS_PER_SECOND}/s: p50", empty.p50_milliseconds, "ms"),
        plain("empty handler over TLS: flat out", empty.reviews_per_second, "reviews/s"),
        plain("pod review over empty handler: p99", ours.p99_milliseconds / empty.p99_milliseconds, "x"),
        plain("pod review over empty handler: p50", ours.p50_milliseconds / empty.p50_milliseconds, "x"),
        plain("pod review over empty handler: reviews/s", ours.reviews_per_second / empty.reviews_per_second, "x"),
    ]


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
    pin(1)
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        authority.issue("server")
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.perf.admission", "--serve", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with server:
            assert server.stdout is not None
            ports = [int(port) for port in server.stdout.readline().split()]
            report(rows(*uvloop.run(measure(ports, authority.certificate))), arguments.json)


if __name__ == "__main__":
    main()
