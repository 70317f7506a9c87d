"""Alerts on the real control plane, in a real Alertmanager: what is told, until when, and that nothing else changes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.alertmanager import Alert, Alertmanager
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.installation import NAMESPACE, Replica
from tests.cluster.loop import GROUP, Loop
from tests.contract.admission.fake_sink import FakeSink, fake_sink

PLENTY = 1_000_000.0
ALERT_SECONDS = 60.0


@pytest.fixture
async def hook() -> AsyncIterator[FakeSink]:
    async with fake_sink() as sink:
        yield sink


@pytest.fixture
async def told(admission: AdmissionPlugin, alertmanager: Alertmanager, hook: FakeSink) -> AsyncIterator[FakeSink]:
    """The webhook, told beside Alertmanager for as long as a test runs."""
    admission.tell(
        {"name": "oncall", "type": "alertmanager", "url": alertmanager.url, "default": True},
        {"name": "hook", "type": "webhook", "url": hook.url, "default": True},
    )
    yield hook
    admission.tell()


async def wait_alert(bench: Bench, alertmanager: Alertmanager, **labels: str) -> Alert:
    """Waits until Alertmanager has an alert, and returns it."""

    async def there() -> Alert | None:
        return next(iter(await alertmanager.alerts(**labels)), None)

    alert = await bench.wait_for(there, what=f"the alert {labels}", timeout_seconds=ALERT_SECONDS)
    assert alert is not None
    return alert


async def wait_over(bench: Bench, alertmanager: Alertmanager, **labels: str) -> None:
    """Waits until Alertmanager has it no more."""

    async def over() -> bool:
        return await alertmanager.alerts(**labels) == []

    await bench.wait_for(over, what=f"the alert {labels} is over", timeout_seconds=ALERT_SECONDS)


def heard(hook: FakeSink, alertname: str, **labels: str) -> list[str]:
    """Returns what a webhook was told of an alert, in order."""
    wanted = {"alertname": alertname, **labels}
    return [body["status"] for body in hook.bodies if wanted.items() <= body["commonLabels"].items()]


async def shadowed(loop: Loop) -> str:
    """Runs four replicas under a policy in mode Off, and returns the budget over them, which sheds within 2 s."""
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY, shedSeconds=2)
    await loop.service("chat", replicas=4, demand=4, mode="Off")
    await loop.wait_running("chat", 4)
    return budget


async def others(bench: Bench) -> dict[str, Any]:
    """Returns what Wattkeeper must not change: all of it but what its own controllers write on statuses."""
    found: dict[str, Any] = {}
    for api_version, kind in (
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Pod"),
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ):
        for one in await bench.api.list(api_version, kind, namespace=bench.namespace):
            meta: Object = one["metadata"]
            # The autoscalers note when they looked; pods and Deployments are written by nobody while they stand.
            version = meta["resourceVersion"] if kind in {"Deployment", "ReplicaSet", "Pod"} else ""
            found[f"{kind}/{meta['name']}"] = (
                meta["uid"],
                meta.get("generation"),
                meta.get("labels"),
                meta.get("annotations"),
                one["spec"],
                version,
            )
            assert not [by for by in meta["managedFields"] if by["manager"] == "wattkeeper"]
    return found


async def test_a_policy_in_mode_off_alerts_until_its_budget_is_kept_and_nothing_else_changes(
    loop: Loop, admission: AdmissionPlugin, alertmanager: Alertmanager, told: FakeSink
) -> None:
    bench = loop.bench
    budget = await shadowed(loop)
    limit = await loop.limit_for(budget, "chat", 2)
    before = await others(bench)
    assert len(before) == 8, "a Deployment, its ReplicaSet, four pods, a ScaledObject, an HPA"

    await loop.set_limit(budget, limit)
    above = {"alertname": "WattkeeperAboveAdvice", "namespace": bench.namespace, "service": "chat"}
    over = {"alertname": "WattkeeperBudgetOver", "budget": budget}
    alert = await wait_alert(bench, alertmanager, **above)
    assert alert["labels"] == {**above, "severity": "warning", "service_kind": "Deployment"}
    figures: Mapping[str, str] = alert["annotations"]
    assert (figures["budget"], figures["target_replicas"], figures["current_replicas"]) == (budget, "2", "4")
    assert float(figures["over_watts"]) > 0
    assert (await wait_alert(bench, alertmanager, **over))["labels"] == {**over, "severity": "critical"}
    assert await bench.events(reason="WattkeeperAboveAdvice")

    await loop.set_limit(budget, PLENTY)
    await wait_over(bench, alertmanager, **above)
    await wait_over(bench, alertmanager, **over)

    async def resolved() -> bool:
        return heard(told, **above) == heard(told, **over) == ["firing", "resolved"]

    await bench.wait_for(resolved, what="the webhook was told once of each moment")
    assert await bench.events(reason="WattkeeperAboveAdviceResolved")
    assert await others(bench) == before


async def keeper(admission: AdmissionPlugin, bench: Bench) -> Replica:
    """Returns the replica that tells."""

    async def holder() -> Replica | None:
        lease = await bench.api.find("coordination.k8s.io/v1", "Lease", "wattkeeper-admission", namespace=NAMESPACE)
        name = (lease or {}).get("spec", {}).get("holderIdentity")
        return next((one for one in admission.replicas if one.name == name and one.process.alive), None)

    found = await bench.wait_for(holder, what="a replica tells")
    assert found is not None
    return found


async def test_the_next_replica_goes_on_where_one_was_killed_and_tells_nobody_twice(
    loop: Loop, admission: AdmissionPlugin, alertmanager: Alertmanager, told: FakeSink
) -> None:
    bench = loop.bench
    budget = await shadowed(loop)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 2))
    over = {"alertname": "WattkeeperBudgetOver", "budget": budget}
    await wait_alert(bench, alertmanager, **over)

    async def kept() -> bool:
        found = await bench.api.find("v1", "ConfigMap", "wattkeeper-alerts-0", namespace=NAMESPACE)
        state = base64.b64decode((found or {}).get("binaryData", {}).get("state", "")).decode()
        return heard(told, **over) == ["firing"] and f'"{budget}"' in state and '"nothing"' not in state

    await bench.wait_for(kept, what="it is kept who was told")
    killed = await keeper(admission, bench)
    killed.kill()
    assert (await keeper(admission, bench)).name != killed.name
    await loop.set_limit(budget, PLENTY)
    await wait_over(bench, alertmanager, **over)

    async def resolved() -> bool:
        return heard(told, **over) == ["firing", "resolved"]

    await bench.wait_for(resolved, what="the webhook was told once of each moment")
    await admission.start_all(bench.api)


async def test_a_policy_names_who_is_told_and_a_name_that_nobody_has_is_said_on_it(
    loop: Loop, admission: AdmissionPlugin, alertmanager: Alertmanager, hook: FakeSink
) -> None:
    bench = loop.bench
    admission.tell(
        {"name": "oncall", "type": "alertmanager", "url": alertmanager.url, "default": True},
        {"name": "team", "type": "slack", "url": hook.url},
    )
    budget = await shadowed(loop)
    await bench.api.patch(
        GROUP,
        "PowerCappingPolicy",
        "chat",
        {"spec": {"alerts": {"sinks": ["team", "taem"]}}},
        namespace=bench.namespace,
    )
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 2))

    async def told() -> bool:
        texts: list[str] = [body["text"] for body in hook.bodies]
        return any(f"{bench.namespace}/chat runs more replicas" in text for text in texts)

    await bench.wait_for(told, what="the team is told", timeout_seconds=ALERT_SECONDS)
    await wait_alert(bench, alertmanager, alertname="WattkeeperBudgetOver", budget=budget)
    assert await alertmanager.alerts(alertname="WattkeeperAboveAdvice", namespace=bench.namespace) == []
    (said,) = await bench.events(reason="AlertSinkUnknown")
    assert "taem" in said["message"]
    admission.tell()
