"""Leaves a control plane running for work by hand, and says how to reach it.

python -m tests.cluster.controlplane.up     # until: python -m tests.cluster.controlplane.down
"""

from __future__ import annotations

import asyncio
import sys

from tests.cluster.controlplane import alertmanager, kserve, lws, metrics
from tests.cluster.controlplane.alertmanager import Alertmanager
from tests.cluster.controlplane.build import build, find_alertmanager, require_go
from tests.cluster.controlplane.down import FOLDER, RECORD, stop_all
from tests.cluster.controlplane.errors import ControlPlaneError
from tests.cluster.controlplane.plane import Plane, Tools, find_tools
from tests.cluster.controlplane.suites import KSERVE, LEADER_WORKER_SETS


async def _start(tools: Tools) -> tuple[Plane, Alertmanager]:
    """Starts the control plane with all the parts that tests can ask for."""
    go = require_go()
    kserve_built, lws_built, program = build(KSERVE, go=go), build(LEADER_WORKER_SETS, go=go), find_alertmanager()
    stop_all()
    plane = Plane(tools, FOLDER, dies_with_parent=False)
    await plane.start()
    try:
        await lws.start(plane, lws_built)
        await kserve.start(plane, kserve_built)
        await metrics.start(plane)
        return plane, await alertmanager.start(plane, program)
    except BaseException:
        plane.stop()
        raise


def main() -> int:
    """Stops one that runs already, starts another, prints its addresses; exit status 1 with a reason on failure."""
    try:
        tools = find_tools()
        plane, alerts = asyncio.run(_start(tools))
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1
    plane.record(RECORD)
    print(f"export KUBECONFIG={plane.kubeconfig}")
    print(f"export PATH={tools.built.programs['kubectl'].parent}:$PATH")
    print(f"# API server   {plane.connection.server}")
    print(f"# Prometheus   {plane.prometheus_url}")
    print(f"# Alertmanager {alerts.url}")
    print(f"# exporter     {plane.exporter_url}/metrics")
    print(f"# logs         {FOLDER / 'logs'}")
    print("# stop it with: python -m tests.cluster.controlplane.down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
