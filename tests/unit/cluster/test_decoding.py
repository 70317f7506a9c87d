"""Bytes into slim structs."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.answers import ApiStatus
from wattkeeper.cluster.decoding import Bookmark, BrokenStreamError, Change, Decoder, Undecodable
from wattkeeper.cluster.objects import Deployment, Pod


def line(kind: str, obj: object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj})


def pod(name: str, **metadata: object) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": "5", **metadata},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    }


def changed(decoder: Decoder[Pod], obj: object) -> Pod:
    event = decoder.event(line("ADDED", obj))
    assert isinstance(event, Change)
    assert isinstance(event.object, Pod)
    return event.object


def test_bookmarks_and_errors_are_not_taken_for_objects() -> None:
    for kind in (Pod, PowerBudget):
        decoder = Decoder(kind)
        assert decoder.event(line("BOOKMARK", {"metadata": {"resourceVersion": "9"}})) == Bookmark(resource_version="9")
        error = decoder.event(line("ERROR", {"kind": "Status", "metadata": {}, "code": 410}))
        assert isinstance(error, ApiStatus)
        assert error.code == 410


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"type":"OTHER","object":{}}', b'{"type":"\xff"}'])
def test_lines_that_are_no_events_are_a_broken_stream(body: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        Decoder(Pod).event(body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"kind":"PodList","items":[]}'])
def test_bodies_that_are_no_lists_are_a_broken_stream(body: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        Decoder(Pod).page(body)


def test_a_list_without_items_is_empty() -> None:
    assert Decoder(Pod).page(b'{"items":null,"metadata":{"resourceVersion":"1"}}').objects == []


def test_nulls_of_older_api_servers_count_as_absent() -> None:
    deployment = {
        "metadata": {"name": "d", "uid": "u"},
        "spec": {"replicas": 3, "template": {"metadata": {"creationTimestamp": None, "labels": {"a": "b"}}}},
    }
    event = Decoder(Deployment).event(line("ADDED", deployment))
    assert isinstance(event, Change)
    assert isinstance(event.object, Deployment)
    assert event.object.spec.replicas == 3
    assert event.object.spec.template.metadata.labels == {"a": "b"}


def test_an_object_that_does_not_fit_keeps_its_name_and_the_reason() -> None:
    event = Decoder(Pod).event(line("ADDED", {**pod("bad"), "spec": 3}))
    assert isinstance(event, Change)
    assert isinstance(event.object, Undecodable)
    assert (event.object.name, event.object.uid, event.object.resource_version) == ("bad", "u-bad", "5")
    assert "spec" in event.object.reason


def test_an_object_without_readable_metadata_is_still_counted() -> None:
    body = msgspec.json.encode({"items": [pod("a"), {"metadata": 1}], "metadata": {"resourceVersion": "1"}})
    page = Decoder(Pod).page(body)
    assert len(page.objects) == 1
    assert len(page.undecodable) == 1


def test_bulk_is_not_kept() -> None:
    bulk = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000, "mine": "1"}
    one = changed(Decoder(Pod), pod("a", annotations=bulk, managedFields=[{"manager": "m"}]))
    assert one.metadata.annotations == {"mine": "1"}


def test_pods_of_a_service_share_what_is_equal_and_nothing_else() -> None:
    decoder = Decoder(Pod)
    first = changed(decoder, pod("a", labels={"app": "x"}))
    second = changed(decoder, pod("b", labels={"app": "x"}))
    other = changed(decoder, pod("c", labels={"x": "app"}))
    assert first.metadata.labels is second.metadata.labels
    assert first.spec.containers is second.spec.containers
    assert other.metadata.labels == {"x": "app"}
    for one, name in ((first, "a"), (second, "b"), (other, "c")):
        assert msgspec.json.decode(msgspec.json.encode(one), type=Pod) == one
        assert one.metadata.name == name


def test_containers_that_differ_only_in_where_a_value_stands_are_not_shared() -> None:
    decoder = Decoder(Pod)
    requests, limits = pod("a"), pod("b")
    limits["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    assert changed(decoder, requests).spec.containers[0].resources.limits == {}
    assert changed(decoder, limits).spec.containers[0].resources.limits == {"cpu": "1"}


def test_slim_structs_are_nothing_to_the_garbage_collector() -> None:
    assert not gc.is_tracked(changed(Decoder(Pod), pod("a")))
