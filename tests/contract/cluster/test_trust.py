"""The Secret and the caBundles of our webhooks, over real HTTP on loopback."""

from __future__ import annotations

import pytest

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import FakeApi
from wattkeeper.cluster.errors import ConflictError, NotFoundError
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.trust import Secret

SECRET = "/api/v1/namespaces/wk/secrets/certificates"
MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/wk-admission"
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/wk-admission"


def keep_secret(api: FakeApi) -> None:
    api.objects[SECRET] = {
        "metadata": {
            "name": "certificates",
            "namespace": "wk",
            "uid": "u",
            "resourceVersion": "1",
            "labels": {"a": "b"},
        },
        "type": "Opaque",
        "data": {"tls.crt": "b2xk", "gone": "eA=="},
    }


def keep_webhooks(api: FakeApi) -> None:
    api.objects[MUTATING] = {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "wk-admission", "resourceVersion": "7"},
        "webhooks": [
            {"name": "a.pods", "clientConfig": {"service": {"name": "wk"}}, "failurePolicy": "Ignore"},
            {"name": "b.pods", "clientConfig": {"service": {"name": "wk"}, "caBundle": "b2xk"}},
        ],
    }


async def test_a_secrets_values_come_as_bytes(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_secret(api)
    read = await make_cluster().read_secret(namespace="wk", name="certificates")
    assert read.data == {"tls.crt": b"old", "gone": b"x"}


async def test_an_empty_secret_has_no_values(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_secret(api)
    del api.objects[SECRET]["data"]
    assert (await make_cluster().read_secret(namespace="wk", name="certificates")).data == {}


async def test_a_secret_never_shows_its_values_in_a_log() -> None:
    assert "password" not in repr(Secret(data={"tls.key": b"password"}))


async def test_writing_a_secret_replaces_all_its_values_and_nothing_else(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    keep_secret(api)
    cluster = make_cluster()
    read = await cluster.read_secret(namespace="wk", name="certificates")
    await cluster.write_secret(read, {"tls.crt": b"new", "tls.key": b"\x00"})
    kept = api.objects[SECRET]
    assert kept["data"] == {"tls.crt": "bmV3", "tls.key": "AA=="}
    assert (kept["type"], kept["metadata"]["labels"]) == ("Opaque", {"a": "b"})


async def test_a_secret_that_somebody_else_wrote_is_left_alone(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_secret(api)
    cluster = make_cluster()
    read = await cluster.read_secret(namespace="wk", name="certificates")
    await cluster.write_secret(read, {"tls.crt": b"first"})
    with pytest.raises(ConflictError):
        await cluster.write_secret(read, {"tls.crt": b"second"})
    assert api.objects[SECRET]["data"] == {"tls.crt": "Zmlyc3Q="}


async def test_a_missing_secret_is_named(make_cluster: MakeCluster) -> None:
    with pytest.raises(NotFoundError, match="secrets/certificates-1"):
        await make_cluster().read_secret(namespace="wk", name="certificates-1")


async def test_bundles_are_read_by_webhook(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_webhooks(api)
    read = await make_cluster().read_webhooks(kind="MutatingWebhookConfiguration", name="wk-admission")
    assert read.bundles == (b"", b"old")


async def test_a_missing_configuration_is_named(make_cluster: MakeCluster) -> None:
    with pytest.raises(NotFoundError, match=VALIDATING):
        await make_cluster().read_webhooks(kind="ValidatingWebhookConfiguration", name="wk-admission")


async def test_writing_bundles_changes_nothing_else(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_webhooks(api)
    cluster = make_cluster()
    read = await cluster.read_webhooks(kind="MutatingWebhookConfiguration", name="wk-admission")
    await cluster.write_bundles(read, (b"new", b"other"))
    assert api.objects[MUTATING]["webhooks"] == [
        {
            "name": "a.pods",
            "clientConfig": {"service": {"name": "wk"}, "caBundle": "bmV3"},
            "failurePolicy": "Ignore",
        },
        {"name": "b.pods", "clientConfig": {"service": {"name": "wk"}, "caBundle": "b3RoZXI="}},
    ]


async def test_bundles_that_somebody_else_wrote_are_left_alone(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_webhooks(api)
    cluster = make_cluster()
    read = await cluster.read_webhooks(kind="MutatingWebhookConfiguration", name="wk-admission")
    await cluster.write_bundles(read, (b"new", b"new"))
    with pytest.raises(ConflictError):
        await cluster.write_bundles(read, (b"", b""))
    assert api.objects[MUTATING]["webhooks"][0]["clientConfig"]["caBundle"] == "bmV3"


async def test_an_event_about_a_secret_names_it(api: FakeApi, make_cluster: MakeCluster) -> None:
    keep_secret(api)
    cluster = make_cluster()
    read = await cluster.read_secret(namespace="wk", name="certificates")
    note = EventRecord(regarding=read, type="Warning", reason="R", action="A", note="n", dedupe_key="k")
    await cluster.record(note)
    (_, path, body) = api.bodies[-1]
    assert path == "/apis/events.k8s.io/v1/namespaces/wk/events"
    assert body["regarding"] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "namespace": "wk",
        "name": "certificates",
        "uid": "u",
    }
