"""A real Alertmanager as a part of the control plane that tests ask for, and its v2 API as far as they need it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml

from tests.cluster.controlplane.plane import REPOSITORY, Part, Plane, answers
from tests.cluster.controlplane.processes import Command, free_ports

PROCESS = "alertmanager"

Alert = dict[str, Any]
"""An alert as the v2 API has it."""


@dataclass(frozen=True, kw_only=True)
class Alertmanager:
    """A running Alertmanager.

    Attributes:
        url: where it serves, as users would set it.
    """

    url: str

    async def send(self, alerts: Sequence[Mapping[str, object]]) -> None:
        """Sends alerts (postableAlerts).

        Raises:
            aiohttp.ClientResponseError: they are refused.
        """
        async with self._session() as session, session.post(f"{self.url}/api/v2/alerts", json=list(alerts)):
            pass

    async def alerts(self, **labels: str) -> list[Alert]:
        """Returns the alerts that have not been resolved (gettableAlerts) with these labels."""
        filters = [("filter", f'{name}="{value}"') for name, value in labels.items()]
        async with self._session() as session, session.get(f"{self.url}/api/v2/alerts", params=filters) as answer:
            return await answer.json()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(total=10))


async def start(plane: Plane, program: Sequence[str]) -> Alertmanager:
    """Starts Alertmanager, alone and telling nobody, and returns when it serves.

    Args:
        plane: what it becomes a part of.
        program: how to run it, as `build.find_alertmanager` returns it.

    Raises:
        ControlPlaneError: it does not start; the message carries its log's tail.
    """
    (port,) = free_ports(1)
    folder = plane.folder / PROCESS
    folder.mkdir()
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}))
    running = Alertmanager(url=f"http://127.0.0.1:{port}")
    command = Command(
        name=PROCESS,
        arguments=(
            *program,
            f"--config.file={file}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            # Empty: without peers, and without the port that listens for them.
            "--cluster.listen-address=",
        ),
        environment={"PYTHONPATH": str(REPOSITORY)},
    )
    await plane.add(Part(command=command, serves=functools.partial(answers, f"{running.url}/-/ready")))
    return running
