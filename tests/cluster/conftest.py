"""Fixtures on the real control plane, one for a whole session, a namespace and nodes for each test.

Without Go the tests skip and say so; REQUIRE_CLUSTER=1 makes that a failure.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.alertmanager import Alertmanager
from tests.cluster.controlplane.alertmanager import start as start_alertmanager
from tests.cluster.controlplane.api import Api
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.build import Built, build, find_alertmanager, require_go
from tests.cluster.controlplane.errors import BuildError, MissingToolError
from tests.cluster.controlplane.exporter_client import ExporterClient
from tests.cluster.controlplane.kserve import start as start_kserve
from tests.cluster.controlplane.lws import start as start_lws
from tests.cluster.controlplane.metrics import Metrics
from tests.cluster.controlplane.metrics import start as start_metrics
from tests.cluster.controlplane.plane import Plane, find_tools
from tests.cluster.controlplane.suites import KSERVE, LEADER_WORKER_SETS, Suite
from tests.cluster.faults.proxy import FaultProxy
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import Loop

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests below this folder that need the control plane."""
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function) and "plane" in item.fixturenames:
            item.add_marker("cluster")


def _refuse(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_CLUSTER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane, started once a session; its logs lie in pytest's folder for the session."""
    try:
        tools = find_tools()
    except (MissingToolError, BuildError) as error:
        _refuse(str(error))
    running = Plane(tools, tmp_path_factory.mktemp("plane"))
    # Processes die with the thread that starts them, so this must be the main one: no loop runs here yet.
    asyncio.run(running.start())
    yield running
    running.stop()


def _build(suite: Suite) -> Built:
    try:
        return build(suite, go=require_go())
    except (MissingToolError, BuildError) as error:
        _refuse(str(error))


@pytest.fixture(scope="session")
def kserve(plane: Plane) -> None:
    """KServe's controllers, from the first test that asks for them to the session's end."""
    asyncio.run(start_kserve(plane, _build(KSERVE)))


@pytest.fixture(scope="session")
def lws(plane: Plane) -> None:
    """LeaderWorkerSet's controller, from the first test that asks for it to the session's end."""
    asyncio.run(start_lws(plane, _build(LEADER_WORKER_SETS)))


@pytest.fixture(scope="session")
def metrics(plane: Plane) -> Metrics:
    """metrics.k8s.io, from the first test that asks for it to the session's end."""
    return asyncio.run(start_metrics(plane))


@pytest.fixture(scope="session")
def alertmanager(plane: Plane) -> Alertmanager:
    """Alertmanager, from the first test that asks for it to the session's end."""
    try:
        program = find_alertmanager()
    except (MissingToolError, BuildError) as error:
        _refuse(str(error))
    return asyncio.run(start_alertmanager(plane, program))


@pytest.fixture
async def api(plane: Plane) -> AsyncIterator[Api]:
    """The administrator's client."""
    async with Api(plane.connection) as client:
        yield client


@pytest.fixture
async def exporter(plane: Plane) -> AsyncIterator[ExporterClient]:
    """Controls of the fake Kepler, DCGM and vLLM."""
    async with ExporterClient(plane.exporter_url) as client:
        yield client


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """The name of the test's own namespace, which `bench` makes."""
    name = request.node.name.removeprefix("test_").lower()  # pyright: ignore[reportUnknownMemberType]  (pytest's own)
    words = re.sub(r"[^a-z0-9]+", "-", name)
    return f"{words[:30].strip('-')}-{secrets.token_hex(2)}"


@pytest.fixture
async def bench(plane: Plane, api: Api, exporter: ExporterClient, namespace: str) -> AsyncIterator[Bench]:
    """The test's place: its namespace, its nodes, helpers; everything goes when the test ends."""
    place = Bench(plane, api, exporter, namespace)
    await place.open()
    yield place
    await place.close()


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> Iterator[FaultProxy]:
    """Goes wrong on purpose, between what a module's tests send through it and the API server."""
    pair = plane.authority.issue("fault-proxy")
    identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    identity.load_cert_chain(pair.certificate, pair.key)
    with FaultProxy(plane.connection.server, trust=plane.authority.trust(), identity=identity) as made:
        yield made


@pytest.fixture(scope="module")
def installation(plane: Plane) -> Iterator[Installation]:
    """Wattkeeper as the chart installs it, running for the tests of one module alone.

    Its leader deletes recommendations of services that it does not know, so those that other tests write would vanish.
    """
    with installed(plane, Installation(plane)) as made:
        yield made


@pytest.fixture(scope="module")
def admission(plane: Plane) -> Iterator[AdmissionPlugin]:
    """The admission plugin as the chart installs it, for the tests of one module alone: see AdmissionPlugin.opt_in."""
    made = AdmissionPlugin(plane)

    async def with_api(do: Callable[[Api], Awaitable[None]]) -> None:
        async with Api(plane.connection) as api:
            await do(api)

    try:
        # From the main thread, as above.
        asyncio.run(with_api(made.install))
        yield made
    finally:
        asyncio.run(with_api(made.close))


@pytest.fixture
async def loop(bench: Bench, installation: Installation) -> AsyncIterator[Loop]:
    """The closed loop in the test's own place; replicas that a test killed come back when it ends."""
    await installation.start_all(bench.api)
    yield Loop(bench, installation)
    await installation.start_all(bench.api)
