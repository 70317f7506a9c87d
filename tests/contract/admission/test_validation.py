"""Objects that people write, over HTTP: refused with a message, allowed with warnings, or let through."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from admission.validate import ObjectValidator
from admission.view import AdmissionView
from tests.contract.admission.serving import Listener, listening, review
from tests.unit.admission.samples import budget, cluster, deployment, policy
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Node

CORPUS = Path(__file__).parent / "corpus"
BUDGET = {"group": "wattkeeper.dev", "version": "v1alpha1", "kind": "PowerBudget"}
TOO_LARGE: dict[str, Any] = {
    "metadata": {"name": "rack"},
    "spec": {"limitWatts": 12_000, "parentRef": {"name": "row-a"}},
}


@asynccontextmanager
async def validating() -> AsyncGenerator[tuple[Listener, aiohttp.ClientSession, MemoryView]]:
    """Yields a listener in front of a small cluster, and a client of it."""
    view = cluster(budget(), policy(), deployment(), Node(metadata=ObjectMeta(name="node-1")))
    webhooks = {"/validate": ObjectValidator(AdmissionView(view), tuple)}
    async with listening(view=view, webhooks=webhooks) as (listener, client):
        yield listener, client, view


async def ask(client: aiohttp.ClientSession, given: Mapping[str, Any], **request: Any) -> dict[str, Any]:
    async with client.post("/validate", data=review(given, kind=BUDGET, namespace="", **request)) as answer:
        assert answer.status == 200
        return json.loads(await answer.read())["response"]


async def test_a_budget_that_contradicts_itself_is_refused_with_a_message_for_people() -> None:
    async with validating() as (listener, client, _):
        response = await ask(client, TOO_LARGE)
        assert response["allowed"] is False
        assert response["status"] == {
            "code": 422,
            "message": "spec.limitWatts: children may draw 12,000 W together, 2,000 W more than PowerBudget row-a "
            "allows: lower their limitWatts, raise its own, or set oversubscribed: true there.",
        }
        assert listener.results("validate") == {"refused": 1.0}


async def test_a_dry_run_gets_the_same_answer() -> None:
    async with validating() as (_, client, _):
        assert await ask(client, TOO_LARGE, dryRun=True) == await ask(client, TOO_LARGE)


async def test_a_budget_that_is_odd_is_allowed_with_warnings() -> None:
    async with validating() as (listener, client, _):
        odd = {"metadata": {"name": "rack"}, "spec": {"limitWatts": 1, "nodeSelector": {"matchLabels": {"rack": "z"}}}}
        response = await ask(client, odd)
        assert response["allowed"] is True
        assert response["warnings"] == [
            "spec.nodeSelector: no node is selected now, so nothing is limited until one is; no node has the label "
            "rack."
        ]
        assert listener.results("validate") == {"warned": 1.0}


async def test_a_deletion_is_never_refused() -> None:
    async with validating() as (_, client, _):
        gone = await ask(client, {}, operation="DELETE", object=None, oldObject=TOO_LARGE)
        assert gone == {"uid": "u-1", "allowed": True}


async def test_old_caches_refuse_nothing() -> None:
    async with validating() as (listener, client, view):
        view.complete = False
        assert await ask(client, TOO_LARGE) == {"uid": "u-1", "allowed": True}
        assert listener.results("validate") == {"not_synced": 1.0}


@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*.body")), ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_nasty_body_of_the_corpus_goes_the_way_that_its_folder_says(path: Path) -> None:
    body = path.read_bytes()  # noqa: ASYNC240 - a small file, before anything runs.
    async with validating() as (listener, client, _):
        async with client.post("/validate", data=body) as answer:
            assert answer.status == (400 if path.parent.name == "refused" else 200)
        assert listener.count("failures", webhook="validate") == 0.0
