"""What watching 10,000 pods costs: `python -m tests.perf.informer [--json PATH]`.

The API server is a process of its own on loopback (tests/perf/pod_api.py), and so is each round's client: it lists
10,000 pods of about 10.7 kB, then takes in 20,000 changes. Medians of three rounds are quoted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from tests.perf.rows import Row, at_most, report
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.connection import Connection
from wattkeeper.cluster.credentials import Access
from wattkeeper.cluster.objects import Pod

COMMAND = "python -m tests.perf.informer"
PODS, EVENTS, ROUNDS = 10_000, 20_000, 3
AIM_MEGABYTES, AIM_EVENTS_PER_SECOND = 100.0, 20_000.0


class PlainAccess:
    """Credentials of a server that wants none."""

    def __init__(self, server: str) -> None:
        self._access = Access(server=server)

    async def access(self) -> Access:
        return self._access

    async def renew(self, refused: Access) -> Access:
        return self._access


def memory_megabytes(field: str = "VmRSS") -> float:
    """Returns this process's memory in MB (10^6 bytes): VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


async def client(server: str) -> None:
    """One round: prints its figures as JSON."""
    imported = memory_megabytes()
    cluster = KubernetesCluster(PlainAccess(server), kinds=(Pod,))
    done = asyncio.Event()
    changes = 0

    def count(old: Pod | None, _new: Pod | None) -> None:
        nonlocal changes
        changes += old is not None
        if changes == EVENTS:
            done.set()

    cluster.view.subscribe(Pod, count)
    started = time.perf_counter()
    await cluster.start()
    listed = time.perf_counter() - started
    after_list = memory_megabytes()
    starter = Connection(PlainAccess(server))
    began, cpu = time.perf_counter(), time.process_time()
    await starter.request("POST", "/go")
    await asyncio.wait_for(done.wait(), 120)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    figures = {
        "imported": imported,
        "after_list": after_list,
        "after_events": memory_megabytes(),
        "highest": memory_megabytes("VmHWM"),
        "list_seconds": listed,
        "events_per_second": EVENTS / took,
        "cpu_microseconds": cpu / EVENTS * 1e6,
        "pods": len(cluster.view.all(Pod)),
    }
    await starter.close()
    await cluster.stop()
    print(json.dumps(figures))


def one_round() -> tuple[dict[str, float], int]:
    """Returns a client's figures and the size of a pod in bytes."""
    arguments = [sys.executable, "-m", "tests.perf.pod_api", str(PODS), str(EVENTS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port, size = map(int, server.stdout.readline().split())
            told = subprocess.run(
                [sys.executable, "-m", "tests.perf.informer", "--client", f"http://127.0.0.1:{port}"],
                check=True,
                capture_output=True,
                text=True,
                timeout=180,
            )
        finally:
            server.terminate()
    return json.loads(told.stdout), size


def main() -> None:
    """Runs the rounds and prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--client", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        uvloop.run(client(arguments.client))
        return
    bare = subprocess.run(
        [sys.executable, "-c", "print(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    interpreter = int(bare.stdout) * 1024 / 1e6
    rounds = [one_round() for _ in range(ROUNDS)]
    size = rounds[0][1]
    if any(figures["pods"] != PODS for figures, _ in rounds):
        raise SystemExit("a round ended without all pods")
    middle = {name: statistics.median(figures[name] for figures, _ in rounds) for name in rounds[0][0]}
    what = f"informer, {PODS:,} pods of {size / 1000:.1f} kB"
    speed = middle["events_per_second"]
    rows = [
        at_most(f"{what}: memory after {EVENTS:,} events", middle["after_events"], "MB", AIM_MEGABYTES, COMMAND),
        Row(
            name=f"{what}: of it above a bare interpreter",
            value=round(middle["after_events"] - interpreter, 1),
            unit="MB",
            command=COMMAND,
        ),
        Row(
            name=f"{what}: of it above our own imports",
            value=round(middle["after_events"] - middle["imported"], 1),
            unit="MB",
            command=COMMAND,
        ),
        Row(name=f"{what}: highest", value=round(middle["highest"], 1), unit="MB", command=COMMAND),
        Row(name=f"{what}: first list", value=round(middle["list_seconds"], 2), unit="s", command=COMMAND),
        Row(
            name="informer, watch events",
            value=round(speed),
            unit="1/s",
            aim=f">= {AIM_EVENTS_PER_SECOND:g}",
            met=speed >= AIM_EVENTS_PER_SECOND,
            command=COMMAND,
        ),
        Row(
            name="informer, CPU per watch event", value=round(middle["cpu_microseconds"], 1), unit="us", command=COMMAND
        ),
    ]
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
