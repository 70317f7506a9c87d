"""Certificates of the plugin's own on the real API server: rotated while it calls all the time, with least rights."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.certified import CALLED_IN_ORDER, DAY_SECONDS, REGISTRATION, Certified
from tests.cluster.chart import CHART, helm
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import ApiError
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL
from wattkeeper.api.meta import API_VERSION
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.credentials import find_credentials
from wattkeeper.cluster.errors import ConflictError

# With a third of a life left its successor is due; what a rotation takes on top is two settle times.
AUTHORITY_SECONDS, SERVING_SECONDS, SETTLE_SECONDS = 45.0, 30.0, 2.0
SHORT_LIVES = {
    "WATTKEEPER_AUTHORITY_DAYS": str(AUTHORITY_SECONDS / DAY_SECONDS),
    "WATTKEEPER_CERTIFICATE_DAYS": str(SERVING_SECONDS / DAY_SECONDS),
    "WATTKEEPER_CERTIFICATE_SETTLE_SECONDS": str(SETTLE_SECONDS),
    "WATTKEEPER_CERTIFICATE_POLL_SECONDS": "0.25",
}
CALLERS = 2


async def test_rotations_under_load_cost_not_one_call(bench: Bench) -> None:
    """One rotation because time has passed, and one because the Secret was emptied, without a pause between calls."""
    label = {"metadata": {"labels": {ADMISSION_LABEL: ADMISSION_ENABLED}}}
    await bench.api.patch("v1", "Namespace", bench.namespace, label)
    plugin = Certified(bench)
    await plugin.start(SHORT_LIVES)
    first = await plugin.named()
    assert len(first) == 1
    pods = await bench.api.path("v1", "Pod", namespace=bench.namespace)
    budgets = await bench.api.path(API_VERSION, "PowerBudget")
    done = asyncio.Event()
    calls = 0

    async def create(path: str, item: Object) -> None:
        """Whoever has no answer, or trusts none, fails the request: failurePolicy is Fail."""
        nonlocal calls
        while not done.is_set():
            await bench.api.request("POST", path, item, query={"dryRun": "All"})
            calls += 1

    async def replaced(before: object) -> bool:
        named = await plugin.named()
        return len(named) == 1 and named != before

    async def rotate() -> None:
        timeout = AUTHORITY_SECONDS + 30.0
        await bench.wait_for(lambda: replaced(first), what="time has rotated the authority", timeout_seconds=timeout)
        second = await plugin.named()
        await plugin.empty_secret()
        await bench.wait_for(lambda: replaced(second), what="a lost authority is replaced", timeout_seconds=30.0)
        done.set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(create(pods, _pod()))
            tasks.create_task(create(budgets, _budget(bench.namespace)))
        tasks.create_task(rotate())
    assert await plugin.counted("wattkeeper_admission_reviews_total") >= calls > 100
    assert await plugin.counted("wattkeeper_admission_certificate_steps_total", step="promote") == 3.0
    notes = [
        event["note"]
        for event in await bench.api.list("events.k8s.io/v1", "Event", namespace=bench.namespace)
        if event["regarding"].get("kind") == "Secret"
    ]
    assert len(notes) == 1
    assert "holds no certificate authority, but there was one" in notes[0]


async def test_its_account_writes_its_own_secret_and_webhooks_and_no_others(bench: Bench) -> None:
    plugin = Certified(bench)
    connection = await plugin.grant()
    await bench.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "somebody-elses"}})
    for kind in CALLED_IN_ORDER:
        for name in (plugin.configuration, f"{bench.namespace}-elses"):
            await bench.apply({"apiVersion": REGISTRATION, "kind": kind, "metadata": {"name": name}, "webhooks": []})
    note: Object = {"metadata": {"annotations": {"tests": "touched"}}}
    async with Api(connection) as account:
        await account.patch("v1", "Secret", plugin.secret, note, namespace=bench.namespace)
        for kind in CALLED_IN_ORDER:
            await account.patch(REGISTRATION, kind, plugin.configuration, note)
            with pytest.raises(ApiError, match="403"):
                await account.patch(REGISTRATION, kind, f"{bench.namespace}-elses", note)
            with pytest.raises(ApiError, match="403"):
                await account.delete(REGISTRATION, kind, plugin.configuration)
            with pytest.raises(ApiError, match="403"):
                await account.list(REGISTRATION, kind)
        with pytest.raises(ApiError, match="403"):
            await account.get("v1", "Secret", "somebody-elses", namespace=bench.namespace)
        with pytest.raises(ApiError, match="403"):
            await account.list("v1", "Secret", namespace=bench.namespace)
        with pytest.raises(ApiError, match="403"):
            await account.create(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new", "namespace": bench.namespace}}
            )


async def test_who_writes_second_writes_nothing(bench: Bench) -> None:
    """What keeps replicas from undoing each other's steps, through the plugin's own client and account."""
    plugin = Certified(bench)
    connection = await plugin.grant()
    hook = {"name": "a.tests.wattkeeper.dev", "clientConfig": {"url": "https://127.0.0.1:9/a"}, "sideEffects": "None"}
    hook |= {"admissionReviewVersions": ["v1"]}
    configuration: Object = {"apiVersion": REGISTRATION, "metadata": {"name": plugin.configuration}, "webhooks": [hook]}
    await bench.apply({**configuration, "kind": CALLED_IN_ORDER[0]})
    kubeconfig = bench.plane.write_kubeconfig(f"{bench.namespace}-admission", connection)
    cluster = KubernetesCluster(find_credentials(kubeconfig), registry=CollectorRegistry(), kinds=())
    try:
        secret = await cluster.read_secret(namespace=bench.namespace, name=plugin.secret)
        await cluster.write_secret(secret, {"a": b"first", "b": b"first"})
        with pytest.raises(ConflictError):
            await cluster.write_secret(secret, {"a": b"second"})
        written = await cluster.read_secret(namespace=bench.namespace, name=plugin.secret)
        await cluster.write_secret(written, {"b": b"third"})
        assert (await cluster.read_secret(namespace=bench.namespace, name=plugin.secret)).data == {"b": b"third"}
        read = await cluster.read_webhooks(kind="MutatingWebhookConfiguration", name=plugin.configuration)
        await cluster.write_bundles(read, (b"first",))
        with pytest.raises(ConflictError):
            await cluster.write_bundles(read, (b"second",))
        left = await cluster.read_webhooks(kind="MutatingWebhookConfiguration", name=plugin.configuration)
        assert left.bundles == (b"first",)
    finally:
        await cluster.stop()


async def test_an_upgrade_leaves_what_the_plugin_wrote(bench: Bench) -> None:
    release = bench.namespace  # Unique, because what belongs to the whole cluster is named like the release.
    place = (f"--namespace={release}", f"--set=crds.install=false,keda.namespace={release}")
    kubeconfig = bench.plane.kubeconfig
    name = f"{release}-wattkeeper-admission"
    helm("install", release, str(CHART), *place, kubeconfig=kubeconfig)
    try:
        data = {"ca.crt": "b3Vycw=="}
        await bench.api.patch("v1", "Secret", f"{name}-certificates", {"data": data}, namespace=release)
        written: list[Object] = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "b3Vycw=="}]
        for kind in CALLED_IN_ORDER:
            await bench.api.patch(REGISTRATION, kind, name, written)
        change = "--set=admission.webhook.timeoutSeconds=4"
        helm("upgrade", release, str(CHART), *place, change, kubeconfig=kubeconfig)
        assert (await bench.api.get("v1", "Secret", f"{name}-certificates", namespace=release))["data"] == data
        for kind in CALLED_IN_ORDER:
            (hook, *_) = (await bench.api.get(REGISTRATION, kind, name))["webhooks"]
            assert (hook["timeoutSeconds"], hook["clientConfig"]["caBundle"]) == (4, "b3Vycw==")
    finally:
        # No container runs here that a hook could wait for.
        helm("uninstall", release, f"--namespace={release}", "--no-hooks", kubeconfig=kubeconfig)


def _pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "called-", "labels": {CAPPED_LABEL: "true"}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


def _budget(name: str) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "PowerBudget",
        "metadata": {"name": name},
        "spec": {"limitWatts": 1000, "nodeSelector": {}},
    }
