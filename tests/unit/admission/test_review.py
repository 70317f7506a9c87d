"""Whatever comes, the answer is well-formed and holds nobody up; only what cannot be named has none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from admission.errors import UnreadableReviewError
from admission.patch import Operation
from admission.review import Answer, GroupVersionKind, Review, answered

POD = {"group": "", "version": "v1", "kind": "Pod"}


def body(*, version: object = "admission.k8s.io/v1", kind: object = "AdmissionReview", **request: Any) -> bytes:
    return json.dumps({"apiVersion": version, "kind": kind, "request": {"uid": "u-1", **request}}).encode()


def never(review: Review) -> Answer:
    raise AssertionError(f"asked about {review.uid}")


def leave(review: Review) -> Answer:
    return Answer()


def test_the_handler_is_told_what_the_request_says() -> None:
    seen: list[Review] = []

    def handle(review: Review) -> Answer:
        seen.append(review)
        return Answer()

    sent = body(kind="AdmissionReview", operation="CREATE", namespace="chat", dryRun=True, object={"a": 1})
    answered(sent.replace(b'"uid"', b'"kind": {"version": "v1", "kind": "Pod"}, "uid"'), handle)
    assert seen == [
        Review(
            uid="u-1",
            kind=GroupVersionKind(version="v1", kind="Pod"),
            operation="CREATE",
            namespace="chat",
            dry_run=True,
            object=b'{"a": 1}',
        )
    ]


def test_null_is_absent() -> None:
    sent = body(operation=None, namespace=None, name=None, subResource=None, dryRun=None)
    assert json.loads(answered(sent, leave).body)["response"] == {"uid": "u-1", "allowed": True}


def test_a_patch_is_a_base64_json_patch() -> None:
    operation = Operation(op="add", path="/a", value="b")
    response = json.loads(answered(body(), lambda _: Answer(patch=(operation,))).body)["response"]
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == [{"op": "add", "path": "/a", "value": "b"}]


def test_a_refusal_says_why_and_with_which_status() -> None:
    answer = Answer(allowed=False, message="no such algorithm", code=422)
    response = json.loads(answered(body(), lambda _: answer).body)["response"]
    assert response == {
        "uid": "u-1",
        "allowed": False,
        "status": {"code": 422, "message": "no such algorithm"},
    }


def test_warnings_are_few_and_short() -> None:
    answer = Answer(warnings=("x" * 1_000,) * 50)
    warnings = json.loads(answered(body(), lambda _: answer).body)["response"]["warnings"]
    assert warnings == ["x" * 256] * 8


@pytest.mark.parametrize("version", ["admission.k8s.io/v1beta1", "admission.k8s.io/v2"])
def test_an_unknown_version_is_let_through_in_its_own_version(version: str) -> None:
    assert json.loads(answered(body(version=version), never).body) == {
        "apiVersion": version,
        "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": True},
    }


@pytest.mark.parametrize(
    "sent",
    [
        body(kind="Other"),
        body(kind=5),
        body(version=None),
        body(operation=7),
        body(dryRun="yes"),
        json.dumps({"request": {"uid": "u-1"}}).encode(),
    ],
    ids=["other-kind", "kind-is-a-number", "version-is-null", "operation-is-a-number", "dryrun-is-text", "bare"],
)
def test_a_review_of_another_shape_is_let_through_by_its_uid(sent: bytes) -> None:
    response = json.loads(answered(sent, never).body)
    assert response["response"] == {"uid": "u-1", "allowed": True}
    assert response["apiVersion"] == "admission.k8s.io/v1"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"uid"',
        b'{"request": null}',
        b'{"request": {"uid": ""}}',
        b'{"request": {"uid": 5}}',
        body(uid=""),
        body()[:-1],
        b"\xff\xfe" + body(),
        b"[" * 100_000,
        b'{"request": {"uid": "u-1", "object": ' + b"[" * 100_000,
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_a_body_without_a_uid_is_an_error(sent: bytes) -> None:
    with pytest.raises(UnreadableReviewError, match=r"."):
        answered(sent, never)
