"""KWOK's command line, and the annotations with which a pod or node tells our stages how to behave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.controlplane.processes import Command

STAGES = Path(__file__).resolve().parent / "stages"

LOAD_DELAY = "tests.wattkeeper.dev/load-delay"
"""Pod: how long its containers run before they are ready, a Go duration."""

EXIT_DELAY = "tests.wattkeeper.dev/exit-delay"
"""Pod: how long its containers run on after its deletion, a Go duration."""

UNREADY = "tests.wattkeeper.dev/unready"
"""Node: never made Ready again while it has this."""


def kwok(programs: Mapping[str, Path], port: int, kubeconfig: Path) -> Command:
    """Returns the command that plays every node's kubelet by our own stages."""
    return Command(
        name="kwok",
        arguments=(
            str(programs["kwok"]),
            f"--kubeconfig={kubeconfig}",
            f"--server-address=127.0.0.1:{port}",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
            "--node-ip=192.0.2.10",
            *(f"--config={file}" for file in sorted(STAGES.glob("*.yaml"))),
        ),
    )
