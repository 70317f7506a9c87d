"""What HTTP statuses mean."""

from __future__ import annotations

import msgspec
import pytest

from wattkeeper.cluster.answers import ApiStatus, read_answer, refusal
from wattkeeper.cluster.errors import (
    ClusterError,
    ConflictError,
    ExpiredError,
    FailedError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)


def status(message: str, **fields: object) -> bytes:
    return msgspec.json.encode({"kind": "Status", "message": message, **fields})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (302, UnreachableError),
        (400, RefusedError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, RefusedError),
        (408, UnreachableError),
        (409, ConflictError),
        (410, ExpiredError),
        (413, RefusedError),
        (422, RefusedError),
        (429, UnreachableError),
        (500, UnreachableError),
        (503, UnreachableError),
        (504, UnreachableError),
    ],
)
def test_every_status_has_its_error_with_the_servers_own_words(code: int, error: type[ClusterError]) -> None:
    found = refusal(code, status("spec.limitWatts: must not be negative"), asked="PATCH /x")
    assert type(found) is error
    assert str(found).startswith("PATCH /x: spec.limitWatts: must not be negative (HTTP ")


@pytest.mark.parametrize("code", [500, 503, 504])
def test_a_failure_is_the_api_servers_own_only_where_its_status_says_so(code: int) -> None:
    found = refusal(code, status("failed calling webhook", code=code), asked="POST /x", retry_after="10")
    assert isinstance(found, FailedError)
    assert found.retry_after_seconds == 10.0
    assert type(refusal(code, b"<html>no healthy upstream", asked="POST /x")) is UnreachableError


def test_a_busy_api_server_has_failed_at_nothing() -> None:
    assert type(refusal(429, status("too many requests", code=429), asked="POST /x")) is UnreachableError


def test_a_forbidden_error_says_what_to_do() -> None:
    assert "RBAC role" in str(refusal(403, status("no"), asked="GET /x"))


@pytest.mark.parametrize(
    "words",
    [
        'admission webhook "vscaledobject.kb.io" denied the request: the workload is already managed by another one',
        "deployments.apps \"a\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: over",
        'scaledobjects.keda.sh "a" is forbidden: exceeded quota: few, requested: count/scaledobjects.keda.sh=1',
    ],
)
def test_what_admission_denies_is_no_matter_of_rbac(words: str) -> None:
    found = refusal(403, status(words, reason="Forbidden"), asked="PATCH /x")
    assert type(found) is RefusedError
    assert words in str(found)
    assert "RBAC" not in str(found)


def test_retry_after_is_taken_from_the_header_or_the_details() -> None:
    body = status("busy", details={"retryAfterSeconds": 7})
    cases = {("3", body): 3.0, (None, body): 7.0, ("Wed, 21 Oct 2026 07:28:00 GMT", b"{}"): None, (None, b""): None}
    for (header, sent), seconds in cases.items():
        found = refusal(429, sent, asked="GET /x", retry_after=header)
        assert isinstance(found, UnreachableError)
        assert found.retry_after_seconds == seconds


def test_a_long_message_is_cut() -> None:
    assert len(str(refusal(500, status("x" * 10_000), asked="GET /x"))) < 700


def test_a_body_that_is_no_status_is_quoted() -> None:
    assert "<html>busy" in str(refusal(502, b"<html>busy\xff", asked="GET /x"))
    assert "no reason given" in str(refusal(502, b"", asked="GET /x"))


@pytest.mark.parametrize("body", [b"<html>", b'{"message": "\xff"}', b"[" * 5_000, b'{"code": "x"}'])
def test_an_answer_that_is_nonsense_is_an_unreachable_error(body: bytes) -> None:
    with pytest.raises(UnreachableError, match="no ApiStatus"):
        read_answer(body, ApiStatus)
