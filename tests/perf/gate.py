"""How much later a pod starts because of the power gate: `python -m tests.perf.gate [--json FILE]`.

On the real control plane, with the scaler and the admission plugin as the chart installs them. Times are those at which
one watch shows what happens: a pod's creation, its gate's removal, its node. Pods within their service's grant are the
measure. Beside them stand pods without a gate, and successors of deleted pods: those wait for the next decision,
because the last one let nobody out beside their predecessors.

Without Go there is no control plane: then nothing is measured, and the exit status says so (REQUIRE_CLUSTER=1: fails).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import BuildError, MissingToolError
from tests.cluster.controlplane.exporter_client import ExporterClient
from tests.cluster.controlplane.plane import Plane, Tools, find_tools
from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.gate_room import capped
from tests.cluster.gate_watch import at_gate, following
from tests.cluster.installation import TICK_SECONDS, Installation
from tests.cluster.loop import Loop
from tests.perf.rows import UNMEASURABLE, Row, at_most, report
from wattkeeper.api.readings import Floats

COMMAND: Final = "python -m tests.perf.gate"
AIM_P99_MILLISECONDS: Final = 200.0
NAMESPACE: Final = "gate-bench"
# Nodes that hold 110 pods each, and watts for all of them.
NODES, LIMIT_WATTS = 5, 10_000_000.0
ONE_BY_ONE, AT_ONCE, UNGATED, SUCCESSORS, PER_SECOND = 200, 100, 50, 30, 5.0
PATIENCE_SECONDS: Final = 120.0


@dataclass(kw_only=True)
class Life:
    """When a pod was seen to come, to be out of the gate and to have a node: seconds, NaN while it was not."""

    app: str
    came: float
    out: float = float("nan")
    placed: float = float("nan")


@dataclass(kw_only=True)
class Lives:
    """Every pod that a watch has shown, in the order in which they came."""

    by_uid: dict[str, Life] = field(default_factory=dict[str, Life])

    def see(self, event: str, pod: Object) -> None:
        """Takes one event of any pod."""
        meta, now = pod["metadata"], time.perf_counter()
        if meta["namespace"] != NAMESPACE:
            return
        life = self.by_uid.setdefault(meta["uid"], Life(app=meta["labels"]["app"], came=now))
        if np.isnan(life.out) and not at_gate(pod):
            life.out = now
        if np.isnan(life.placed) and "nodeName" in pod["spec"]:
            life.placed = now

    def of(self, app: str) -> list[Life]:
        """Returns the pods of an app."""
        return [one for one in self.by_uid.values() if one.app == app]

    async def all_placed(self, app: str, count: int) -> None:
        """Waits until so many pods of an app have been given a node."""

        async def placed() -> bool:
            return sum(not np.isnan(one.placed) for one in self.of(app)) >= count

        def describe() -> str:
            there = self.of(app)
            out = sum(not np.isnan(one.out) for one in there)
            return f"{len(there)} came, {out} are out of the gate"

        what = f"{count} pods of {app} have nodes"
        await wait_for(placed, what=what, timeout_seconds=PATIENCE_SECONDS, describe=describe)


async def measure(plane: Plane, installation: Installation, admission: AdmissionPlugin) -> list[Row]:
    """Measures on a control plane that runs the product."""
    async with Api(plane.connection) as api, ExporterClient(plane.exporter_url) as exporter:
        bench = Bench(plane, api, exporter, NAMESPACE)
        await bench.open()
        await bench.add_nodes(NODES, gpus=0)
        await admission.opt_in(api, NAMESPACE)
        loop = Loop(bench, installation)
        await loop.budget("all", LIMIT_WATTS)
        await bench.deploy(bench.deployment("free", replicas=0, gpus=0), wait=False)
        await bench.deploy(bench.deployment("chat", replicas=0, gpus=0, **capped()), wait=False)
        # A floor is granted whatever the spec asks for: every pod up to it is within the grant.
        await loop.policy("chat", floor=ONE_BY_ONE + AT_ONCE, demand=None, maxReplicas=ONE_BY_ONE + AT_ONCE)
        await bench.deploy(bench.deployment("steady", replicas=SUCCESSORS, gpus=0, **capped()), wait=False)
        await loop.policy("steady", demand=None)
        await loop.wait_grant("chat", ONE_BY_ONE + AT_ONCE)
        lives = Lives()
        async with following(api, "v1", "Pod", lives.see):
            return await play(bench, lives)


async def play(bench: Bench, lives: Lives) -> list[Row]:
    """Lets pods come, and returns what they say."""
    await lives.all_placed("steady", SUCCESSORS)
    await come_one_by_one(bench, lives, "chat", ONE_BY_ONE)
    await come_one_by_one(bench, lives, "free", UNGATED)
    await bench.scale("chat", ONE_BY_ONE + AT_ONCE)
    await lives.all_placed("chat", ONE_BY_ONE + AT_ONCE)
    await succeed_one_by_one(bench, lives)
    chat, free = lives.of("chat"), lives.of("free")
    paced, burst = chat[:ONE_BY_ONE], chat[ONE_BY_ONE:]
    among = f"gate, pods within the grant, {ONE_BY_ONE} at {PER_SECOND:g}/s"
    successors = f"gate, successors, a decision each {TICK_SECONDS} s"
    return [
        at_most(f"{among}: p99", percentile(at_the_gate(paced), 99), "ms", AIM_P99_MILLISECONDS, COMMAND),
        plain(f"{among}: p50", percentile(at_the_gate(paced), 50)),
        plain(f"gate, {AT_ONCE} pods at once: p99", percentile(at_the_gate(burst), 99)),
        plain(f"gate, {AT_ONCE} pods at once: p50", percentile(at_the_gate(burst), 50)),
        plain(f"{successors}: p99", percentile(at_the_gate(lives.of("steady")[SUCCESSORS:]), 99)),
        plain(f"{successors}: p50", percentile(at_the_gate(lives.of("steady")[SUCCESSORS:]), 50)),
        plain("creation to node, through the gate: p50", percentile(to_a_node(paced), 50)),
        plain("creation to node, no gate: p50", percentile(to_a_node(free), 50)),
    ]


async def come_one_by_one(bench: Bench, lives: Lives, app: str, count: int) -> None:
    """Scales a Deployment up by one replica after another, at an even pace."""
    begin = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(begin + number / PER_SECOND - time.perf_counter(), 0.0))
        await bench.scale(app, number + 1)
    await lives.all_placed(app, count)


async def succeed_one_by_one(bench: Bench, lives: Lives) -> None:
    """Deletes one pod after another, each once the last one's successor has a node."""
    first = await bench.pods("steady")
    for number, pod in enumerate(first):
        await bench.api.delete("v1", "Pod", pod["metadata"]["name"], namespace=NAMESPACE)
        await lives.all_placed("steady", len(first) + number + 1)


def at_the_gate(lives: list[Life]) -> Floats:
    """Returns milliseconds from creation until the gate was open."""
    return np.array([(one.out - one.came) * 1000.0 for one in lives])


def to_a_node(lives: list[Life]) -> Floats:
    """Returns milliseconds from creation until there was a node."""
    return np.array([(one.placed - one.came) * 1000.0 for one in lives])


def percentile(milliseconds: Floats, share: float) -> float:
    """Returns a percentile; NaN, which meets no aim, where a pod never got there."""
    return float(np.percentile(milliseconds, share))


def plain(name: str, value: float) -> Row:
    """Returns a row without an aim."""
    return Row(name=name, value=round(value, 4), unit="ms", command=COMMAND)


async def run(tools: Tools, folder: Path) -> list[Row]:
    """Starts a control plane with the product, measures, and stops it."""
    plane = Plane(tools, folder)
    installation, admission = Installation(plane), AdmissionPlugin(plane)
    await plane.start()
    try:
        async with Api(plane.connection) as api:
            await installation.install(api)
            await admission.install(api)
        return await measure(plane, installation, admission)
    finally:
        plane.stop()


def main() -> int:
    """Measures and prints rows; UNMEASURABLE where there can be no control plane."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    try:
        tools = find_tools()
    except (MissingToolError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1 if os.environ.get("REQUIRE_CLUSTER") == "1" else UNMEASURABLE
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as folder:
        report(asyncio.run(run(tools, Path(folder))), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
