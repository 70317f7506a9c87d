"""Leaves a control plane running for work by hand, and says how to reach it.

python -m tests.cluster.controlplane.up     # until: python -m tests.cluster.controlplane.down
"""

from __future__ import annotations

import asyncio
import sys

from tests.cluster.controlplane.down import FOLDER, RECORD, stop_all
from tests.cluster.controlplane.errors import ControlPlaneError
from tests.cluster.controlplane.plane import Plane, find_tools


def main() -> int:
    """Stops one that runs already, starts another, prints its addresses; exit status 1 with a reason on failure."""
    try:
        tools = find_tools()
        stop_all()
        plane = Plane(tools, FOLDER, dies_with_parent=False)
        asyncio.run(plane.start())
    except ControlPlaneError as error:
        print(error, file=sys.stderr)
        return 1
    plane.record(RECORD)
    print(f"export KUBECONFIG={plane.kubeconfig}")
    print(f"export PATH={tools.built.programs['kubectl'].parent}:$PATH")
    print(f"# API server   {plane.connection.server}")
    print(f"# Prometheus   {plane.prometheus_url}")
    print(f"# exporter     {plane.exporter_url}/metrics")
    print(f"# logs         {FOLDER / 'logs'}")
    print("# stop it with: python -m tests.cluster.controlplane.down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
