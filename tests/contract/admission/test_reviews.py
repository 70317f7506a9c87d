"""What the API server gets for an answer, over HTTP, and what is counted about it."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import pytest

from admission.review import Answer, Review
from tests.contract.admission.serving import listening, review
from tests.unit.admission.samples import pod


async def ask(client: aiohttp.ClientSession, body: bytes, path: str = "/mutate-pods") -> dict[str, Any]:
    async with client.post(path, data=body) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        return json.loads(await answer.read())["response"]


def patch_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(base64.b64decode(response["patch"])) if "patch" in response else []


async def test_a_new_pod_of_an_enforced_service_is_patched_and_counted() -> None:
    async with listening() as (listener, client):
        response = await ask(client, review())
        assert response["allowed"] is True
        assert [one["path"] for one in patch_of(response)] == [
            "/spec/containers/0/resources/requests/cpu",
            "/spec/containers/0/resources/requests/memory",
            "/spec/schedulingGates",
            "/metadata/annotations",
        ]
        assert listener.results() == {"patched": 1.0}
        assert (listener.count("gated_pods"), listener.count("resized_pods")) == (1.0, 1.0)
        assert listener.count("estimates", usage="known") == 1.0


async def test_a_pod_that_was_reviewed_before_is_let_through_as_it_is() -> None:
    async with listening() as (listener, client):
        operations = patch_of(await ask(client, review()))
        given = pod()
        given["spec"]["schedulingGates"] = operations[2]["value"]
        given["metadata"]["annotations"] = operations[3]["value"]
        given["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "2", "memory": "8Gi"}
        assert await ask(client, review(given)) == {"uid": "u-1", "allowed": True}
        assert listener.results() == {"patched": 1.0, "kept": 1.0}


async def test_a_dry_run_gets_the_same_answer_and_is_not_counted_as_a_gated_pod() -> None:
    async with listening() as (listener, client):
        assert patch_of(await ask(client, review(dryRun=True))) == patch_of(await ask(client, review()))
        assert listener.count("gated_pods") == 1.0


@pytest.mark.parametrize(
    "request_of",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"subResource": "status"},
        {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
        {"kind": None},
    ],
    ids=["update", "delete", "subresource", "other-kind", "no-kind"],
)
async def test_all_but_the_creation_of_a_pod_is_let_through(request_of: dict[str, Any]) -> None:
    async with listening() as (listener, client):
        assert await ask(client, review(**request_of)) == {"uid": "u-1", "allowed": True}
        assert listener.results() == {"not_asked_for": 1.0}


STRANGE: list[Any] = [
    5,
    [],
    {},
    {"metadata": {}, "spec": {"containers": "none"}},
    {"metadata": {"labels": []}, "spec": {}},
    {"metadata": {}, "spec": {"containers": [{"resources": {"requests": {"cpu": []}}}]}},
]


@pytest.mark.parametrize("given", STRANGE, ids=str)
async def test_a_pod_of_another_shape_is_let_through(given: object) -> None:
    async with listening() as (listener, client):
        assert await ask(client, review(given)) == {"uid": "u-1", "allowed": True}
        assert listener.results() == {"unreadable": 1.0}


async def test_old_caches_still_answer() -> None:
    async with listening() as (listener, client):
        listener.view.complete = False
        assert patch_of(await ask(client, review()))


async def test_a_webhook_that_fails_lets_the_object_through_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def failing(review: Review) -> Answer:
        raise ZeroDivisionError

    async with listening(webhooks={"/validate": failing}) as (listener, client):
        assert await ask(client, review(), "/validate") == {"uid": "u-1", "allowed": True}
        assert listener.count("failures", webhook="validate") == 1.0
        assert listener.results("validate") == {"failed": 1.0}
    assert "validate failed on Pod u-1; it is let through" in caplog.text


async def test_a_validator_has_a_path_of_its_own_and_may_refuse() -> None:
    def refusing(review: Review) -> Answer:
        return Answer(allowed=False, message="no such algorithm", code=422, result="refused")

    async with listening(webhooks={"/validate": refusing}) as (listener, client):
        response = await ask(client, review(), "/validate")
        assert response["status"] == {"code": 422, "message": "no such algorithm"}
        assert listener.results("validate") == {"refused": 1.0}


async def test_a_body_that_names_no_review_is_refused() -> None:
    async with listening() as (listener, client):
        async with client.post("/mutate-pods", data=b"{}") as answer:
            assert answer.status == 400
        assert listener.results() == {"malformed": 1.0}


async def test_a_body_that_is_too_long_is_refused_and_one_that_just_fits_is_read() -> None:
    body = review()
    async with listening(max_body_bytes=len(body)) as (listener, client):
        await ask(client, body)
        async with client.post("/mutate-pods", data=body + b" ") as answer:
            assert answer.status == 413
        assert listener.results() == {"patched": 1.0, "too_large": 1.0}


async def test_a_body_that_is_compressed_is_not_unfolded() -> None:
    async with (
        listening() as (_, client),
        client.post("/mutate-pods", data=review(), headers={"Content-Encoding": "gzip"}) as answer,
    ):
        assert answer.status == 200


async def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    async with listening(deadline_seconds=0.01) as (listener, _):
        asked = "POST /mutate-pods HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.server.port)
        writer.write(asked.encode())
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert listener.results() == {"late": 1.0}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/mutate-pods", 405), ("POST", "/elsewhere", 404)])
async def test_what_is_asked_wrongly_is_a_client_error(method: str, path: str, status: int) -> None:
    async with listening() as (_, client), client.request(method, path) as answer:
        assert answer.status == status
