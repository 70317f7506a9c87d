"""How the twin's API server asks a webhook about new pods."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.unit.simulation.fixtures import SetClock, deployment, node, pods
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL, POWER_GATE
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Container, Namespace, Pod, PodSpec
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController
from wattkeeper.simulation.errors import UnusablePatchError
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.webhook import PodWebhook, patched

GATE = {"op": "add", "path": "/spec/schedulingGates", "value": [{"name": POWER_GATE}]}
OPTED_IN = {ADMISSION_LABEL: ADMISSION_ENABLED}
MARKED = {CAPPED_LABEL: "true"}


def answering(*patch: dict[str, Any], asked: list[Any] | None = None) -> Callable[[bytes], bytes]:
    """Returns a webhook that answers every review with a patch."""

    def ask(body: bytes) -> bytes:
        review = json.loads(body)
        if asked is not None:
            asked.append(review)
        response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
        if patch:
            text = base64.b64encode(json.dumps(patch).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": text}
        return json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()

    return ask


def cluster_with(ask: Callable[[bytes], bytes], *, namespace_labels: dict[str, str]) -> TwinCluster:
    cluster = TwinCluster(SetClock())
    cluster.create(Namespace(metadata=ObjectMeta(name="llm", labels=namespace_labels)))
    cluster.admit_pods(PodWebhook(cluster.view, ask).admit)
    return cluster


def pod(labels: dict[str, str], name: str = "chat-1") -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="llm", labels=labels), spec=PodSpec(containers=(Container(name="a"),))
    )


def test_a_marked_pod_in_an_opted_in_namespace_is_stored_as_the_patch_makes_it() -> None:
    asked: list[Any] = []
    cluster = cluster_with(answering(GATE, asked=asked), namespace_labels=OPTED_IN)
    stored = cluster.create(pod(MARKED))

    assert [gate.name for gate in stored.spec.scheduling_gates] == [POWER_GATE]
    assert stored.spec.containers == (Container(name="a"),)
    (review,) = asked
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    request = review["request"]
    assert (request["operation"], request["namespace"], request["name"]) == ("CREATE", "llm", "chat-1")
    assert request["object"]["metadata"]["labels"] == MARKED


@pytest.mark.parametrize(
    ("namespace_labels", "labels"), [({}, MARKED), (OPTED_IN, {"app": "chat"})], ids=["namespace", "pod"]
)
def test_nobody_is_asked_about_what_is_not_opted_in_or_carries_no_mark(
    namespace_labels: dict[str, str], labels: dict[str, str]
) -> None:
    asked: list[Any] = []
    cluster = cluster_with(answering(GATE, asked=asked), namespace_labels=namespace_labels)

    assert cluster.create(pod(labels)).spec.scheduling_gates == ()
    assert asked == []


def test_an_answer_without_a_patch_changes_nothing() -> None:
    cluster = cluster_with(answering(), namespace_labels=OPTED_IN)
    assert cluster.create(pod(MARKED)).spec == pod(MARKED).spec


def test_each_review_has_a_uid_of_its_own() -> None:
    asked: list[Any] = []
    cluster = cluster_with(answering(asked=asked), namespace_labels=OPTED_IN)
    for number in range(2):
        cluster.create(pod(MARKED, f"chat-{number}"))
    assert len({review["request"]["uid"] for review in asked}) == 2


def test_pods_that_a_deployment_makes_are_asked_about() -> None:
    cluster = cluster_with(answering(GATE), namespace_labels=OPTED_IN)
    cluster.create(node("n1"))
    made = deployment(replicas=2)
    made.spec.template.metadata.labels.update(MARKED)
    cluster.create(made)
    kubelet = Kubelet(cluster, load_seconds=lambda _: 60.0, grace_seconds=lambda _: 30.0)
    ReplicaController(cluster, kubelet, seed=1).reconcile(1_000.0)

    assert [one.spec.scheduling_gates[0].name for one in pods(cluster)] == [POWER_GATE] * 2


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/b~1c", "value": 2}], {"a": {"b/c": 2}, "list": [1, 2]}),
        ([{"op": "replace", "path": "/a", "value": 0}], {"a": 0, "list": [1, 2]}),
        ([{"op": "add", "path": "/list/-", "value": 3}], {"a": {}, "list": [1, 2, 3]}),
        ([{"op": "add", "path": "/list/1", "value": 3}], {"a": {}, "list": [1, 3, 2]}),
        ([{"op": "replace", "path": "/list/1", "value": 3}], {"a": {}, "list": [1, 3]}),
    ],
    ids=str,
)
def test_a_patch_does_as_rfc_6902_says(operations: Sequence[dict[str, Any]], expected: Any) -> None:
    document: dict[str, Any] = {"a": {}, "list": [1, 2]}
    assert patched(document, operations) == expected
    assert document == {"a": {}, "list": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "replace", "path": "/list/7", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "move", "path": "/a", "value": 1},
    ],
    ids=str,
)
def test_a_patch_that_does_not_fit_is_refused_and_named(operation: dict[str, Any]) -> None:
    with pytest.raises(UnusablePatchError, match=f"cannot {operation['op']} {operation['path']}"):
        patched({"a": 1, "list": [1, 2]}, [operation])
