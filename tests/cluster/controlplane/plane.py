"""Assembles the control plane: starts it in order, grows it by further parts, says when each serves, stops it."""

from __future__ import annotations

import functools
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

from tests.cluster.controlplane import keda, kubernetes, prometheus
from tests.cluster.controlplane.api import Api, Connection
from tests.cluster.controlplane.build import Built, build, find_prometheus, require_go
from tests.cluster.controlplane.certificates import Authority
from tests.cluster.controlplane.errors import ApiError, ProcessError
from tests.cluster.controlplane.kwok import kwok
from tests.cluster.controlplane.processes import Command, Process, free_ports, start_ticks
from tests.cluster.controlplane.suites import CONTROL_PLANE
from tests.cluster.controlplane.waiting import wait_for

READY_SECONDS = 90.0
REPOSITORY = Path(__file__).resolve().parents[3]
DEFINITIONS = REPOSITORY / "manifests" / "crds"

Probe = Callable[[], Awaitable[bool]]
"""Asks whether a program serves; False while it does not answer."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program that the control plane can be grown by, and the way to tell that it serves."""

    command: Command
    serves: Probe


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a control plane is made of.

    Attributes:
        built: what Go built.
        prometheus: the program, or None to go without.
        definitions: YAML files with further custom resource definitions to serve.
    """

    built: Built
    prometheus: Path | None
    definitions: tuple[Path, ...] = ()


def find_tools() -> Tools:
    """Builds or finds everything, with Prometheus and the product's own definitions.

    Raises:
        MissingToolError: this machine lacks Go, or the means to have Prometheus.
        BuildError: something could not be built or fetched.
    """
    return Tools(
        built=build(CONTROL_PLANE, go=require_go()),
        prometheus=find_prometheus(),
        definitions=tuple(sorted(DEFINITIONS.glob("*.yaml"))),
    )


class Plane:
    """A running control plane.

    Attributes:
        folder: holds every file of the run; logs are in `folder/logs`.
        processes: the running programs by name.
        connection: the administrator's way to the API server.
        kubeconfig: a file for programs that take one, as administrator.
        authority: signs certificates, for webhooks and scalers, that the API server and KEDA can be told to trust.
        exporter_url: where the fake Kepler, DCGM and vLLM serve.
        prometheus_url: where Prometheus serves, None without it.
        essential: names of the processes that the control plane consists of, in the order of their start, as against
            those that tests add.
    """

    def __init__(self, tools: Tools, folder: Path, *, dies_with_parent: bool = True) -> None:
        self._tools = tools
        self._dies_with_parent = dies_with_parent
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self.essential: tuple[str, ...] = ()
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        ports = free_ports(13)
        self._kubernetes_ports = kubernetes.Ports(
            etcd=ports[0], etcd_peer=ports[1], api=ports[2], controller_manager=ports[3], scheduler=ports[4]
        )
        self._keda_ports = keda.Ports(
            operator_grpc=ports[5],
            operator_metrics=ports[6],
            operator_health=ports[7],
            adapter=ports[8],
            adapter_metrics=ports[9],
        )
        self._kwok_port, self._exporter_port, self._prometheus_port = ports[10:]
        admin_token = secrets.token_hex(16)
        self._identity = kubernetes.write_identity(folder / "certificates", admin_token)
        self.authority: Authority = self._identity.authority
        self.connection = Connection(
            server=f"https://127.0.0.1:{self._kubernetes_ports.api}",
            authority=self.authority.certificate,
            token=admin_token,
        )
        self.kubeconfig = self.write_kubeconfig("admin", self.connection)
        self.exporter_url = f"http://127.0.0.1:{self._exporter_port}"
        self.prometheus_url = f"http://127.0.0.1:{self._prometheus_port}" if tools.prometheus else None
        self._probes = self._own_probes()

    def write_kubeconfig(self, name: str, connection: Connection) -> Path:
        """Writes a kubeconfig file into the run's folder."""
        file = self.folder / f"{name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(connection.kubeconfig())
        return file

    def run(self, command: Command) -> Process:
        """Starts a program that ends with the control plane; its name must be new."""
        if command.name in self.processes and self.processes[command.name].alive:
            raise ProcessError(f"{command.name} runs already: stop it, or choose another name")
        process = Process(command, self._logs, dies_with_parent=self._dies_with_parent)
        self.processes[command.name] = process
        return process

    async def start(self) -> Self:
        """Starts everything and returns when all of it serves.

        Raises:
            ProcessError: a program died; the message carries its log's tail.
            DeadlineError: a program did not serve in time.
        """
        try:
            await self._start()
        except BaseException:
            self.stop()
            raise
        self.essential = tuple(self.processes)
        return self

    async def add(self, *parts: Part) -> None:
        """Starts programs that the control plane consists of from now on, and returns when they serve.

        Raises:
            ProcessError: a program died; the message carries its log's tail.
            DeadlineError: a program did not serve in time.
        """
        names = [part.command.name for part in parts]
        try:
            for part in parts:
                self.run(part.command)
                self._probes[part.command.name] = part.serves
            for name in names:
                await self._wait_serving(name)
        except BaseException:
            for name in names:
                if name in self.processes:
                    self.processes.pop(name).kill()
            raise
        self.essential += tuple(names)

    async def _start(self) -> None:
        programs = self._tools.built.programs
        ports, identity = self._kubernetes_ports, self._identity
        self.run(kubernetes.etcd(programs, self.folder, ports))
        self.run(kubernetes.api_server(programs, self.folder / "certificates", ports, identity))
        self.run(self._exporter())
        if self._tools.prometheus:
            folder = self.folder / "prometheus"
            self.run(
                prometheus.prometheus(
                    self._tools.prometheus, folder, port=self._prometheus_port, exporter_port=self._exporter_port
                )
            )
        async with Api(self.connection) as api:
            await self._wait(self._serves_api, "the API server is ready")
            self.run(kubernetes.controller_manager(programs, self.folder, ports, identity, self.kubeconfig))
            self.run(kubernetes.scheduler(programs, self.folder, ports, self.kubeconfig))
            self.run(kwok(programs, self._kwok_port, self.kubeconfig))
            await api.install_definitions(
                (*self._tools.built.folders["keda-crds"].glob("*.yaml"), *self._tools.definitions)
            )
            for one in keda.objects(self._keda_ports):
                await api.apply(one)
            certificates = self.folder / "keda"
            self.authority.issue_folder("keda", certificates)
            self.run(keda.operator(programs, certificates, self._keda_ports, self.kubeconfig))
            self.run(keda.adapter(programs, certificates, self._keda_ports, self.kubeconfig))
            await self._wait(lambda: keda.ready(api), "KEDA's adapter serves external metrics")
        for name in self._probes:
            await self._wait_serving(name)

    def _exporter(self) -> Command:
        return Command(
            name="exporter",
            arguments=(
                sys.executable,
                "-m",
                "tests.cluster.controlplane.exporter",
                f"--kubeconfig={self.kubeconfig}",
                f"--port={self._exporter_port}",
            ),
            environment={"PYTHONPATH": str(REPOSITORY)},
        )

    def _own_probes(self) -> dict[str, Probe]:
        urls = {
            "exporter": f"{self.exporter_url}/ready",
            "keda-operator": f"http://127.0.0.1:{self._keda_ports.operator_health}/readyz",
            "kwok": f"http://127.0.0.1:{self._kwok_port}/healthz",
        }
        if self.prometheus_url:
            urls["prometheus"] = f"{self.prometheus_url}/-/ready"
        pages = {name: functools.partial(answers, url) for name, url in urls.items()}
        return {"etcd": self._serves_api, "kube-apiserver": self._serves_api, **pages}

    async def _serves_api(self) -> bool:
        try:
            async with Api(self.connection) as api:
                answer = await api.request("GET", "/readyz")
        except (aiohttp.ClientError, ApiError):
            return False
        return answer.get("text") == "ok"

    async def _wait(self, probe: Probe, what: str, *, only: str | None = None) -> None:
        """Waits, and fails at once when a program that matters for it has died."""

        async def checked() -> bool:
            for name, process in self.processes.items():
                if only in (None, name):
                    process.check_alive()
            return await probe()

        await wait_for(checked, what=what, timeout_seconds=READY_SECONDS, describe=self._describe)

    def _describe(self) -> str:
        return "\n".join(f"--- {one.log}\n{one.tail()[-800:]}" for one in self.processes.values())

    async def restart(self, name: str) -> None:
        """Kills one program, starts it again, and returns when it serves, where there is a way to tell."""
        self.processes[name].restart()
        if name in self._probes:
            await self._wait_serving(name)

    async def revive(self) -> None:
        """Undoes what a test did to the control plane's programs: resumes the paused, restarts the dead."""
        for name in self.essential:
            if self.processes[name].alive:
                self.processes[name].resume()
            else:
                await self.restart(name)

    async def _wait_serving(self, name: str) -> None:
        await self._wait(self._probes[name], f"{name} serves", only=name)

    def stop(self) -> None:
        """Kills everything at once, the last started first; nothing of a run is worth a graceful end."""
        for process in reversed(self.processes.values()):
            process.kill()

    def record(self, file: Path) -> None:
        """Writes the running processes' ids and start times, for another program to stop them."""
        running = [
            {"name": one.command.name, "pid": one.pid, "start_ticks": start_ticks(one.pid)}
            for one in self.processes.values()
        ]
        file.write_text(json.dumps(running, indent=1) + "\n")


async def answers(url: str) -> bool:
    """Returns whether a GET is answered with success."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
