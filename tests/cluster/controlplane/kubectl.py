"""kubectl against the control plane, for what its users are told in its own words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.cluster.controlplane.build import build, require_go
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.suites import CONTROL_PLANE


@dataclass(frozen=True, kw_only=True)
class Said:
    """How kubectl ended, and all that it printed."""

    status: int
    text: str


async def kubectl(plane: Plane, *arguments: str) -> Said:
    """Runs kubectl as administrator.

    Raises:
        MissingToolError: Go is not installed, so there is no kubectl.
    """
    program = build(CONTROL_PLANE, go=require_go()).programs["kubectl"]
    running = await asyncio.create_subprocess_exec(
        program,
        f"--kubeconfig={plane.kubeconfig}",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await running.communicate()
    return Said(status=running.returncode or 0, text=output.decode())
