"""The Kubernetes client on a real API server: what a scripted one cannot vouch for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.errors import ForbiddenError, NotFoundError, RefusedError
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import LeaderWorkerSet, Node, Pod

GROUP = "wattkeeper.dev/v1alpha1"


@pytest.fixture
async def cluster(bench: Bench) -> AsyncIterator[KubernetesCluster]:
    client = KubernetesCluster(
        KubeconfigCredentials(file=bench.plane.kubeconfig), registry=CollectorRegistry(), instance="tests"
    )
    await client.start()
    yield client
    await client.stop()


def recommendation(bench: Bench, status: PowerRecommendationStatus, *, uid: str = "") -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(namespace=bench.namespace, name="deployment-llm", uid=uid),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name="llm"), policy="p"),
        status=status,
    )


async def seen(bench: Bench, cluster: KubernetesCluster) -> PowerRecommendation:
    async def found() -> PowerRecommendation | None:
        return cluster.view.get(PowerRecommendation, bench.namespace, "deployment-llm")

    one = await bench.wait_for(found, what="the view shows the recommendation")
    assert one is not None
    return one


async def test_the_view_follows_nodes_and_pods(bench: Bench, cluster: KubernetesCluster) -> None:
    assert cluster.server_minor >= 30
    assert cluster.view.synced()
    sets = cluster.view.all(LeaderWorkerSet).values()
    assert [one for one in sets if one.metadata.namespace == bench.namespace] == []
    (node,) = await bench.add_nodes(1, gpus=4)
    await bench.deploy(bench.deployment("llm", replicas=2))

    def pods() -> list[Pod]:
        return [one for one in cluster.view.all(Pod).values() if one.metadata.namespace == bench.namespace]

    async def ready() -> bool:
        return [one.spec.node_name for one in pods() if one.status.phase == "Running"] == [node, node]

    async def none() -> bool:
        return not pods()

    await bench.wait_for(ready, what="the view shows both pods running")
    there = cluster.view.get(Node, "", node)
    assert there is not None
    assert there.status.capacity["nvidia.com/gpu"] == "4"
    await bench.scale("llm", 0)
    await bench.wait_for(none, what="the view shows them gone")


async def test_a_watch_survives_the_restart_of_the_api_server(bench: Bench, cluster: KubernetesCluster) -> None:
    await bench.plane.restart("kube-apiserver")
    (name,) = await bench.add_nodes(1)

    async def there() -> bool:
        return cluster.view.get(Node, "", name) is not None and cluster.view.synced()

    await bench.wait_for(there, what="the view shows a node that was added afterwards")


async def test_an_applied_object_appears_and_a_second_apply_takes_away_what_is_no_longer_wanted(
    bench: Bench, cluster: KubernetesCluster
) -> None:
    name = bench.namespace
    first = PowerBudget(
        metadata=ObjectMeta(name=name, labels={"row": "1", "old": "x"}),
        spec=PowerBudgetSpec(limit_watts=0.0, node_selector=LabelSelector(match_labels={"a": "b"}), meter_query="m"),
    )
    await cluster.apply(first)
    await cluster.apply(
        PowerBudget(metadata=ObjectMeta(name=name, labels={"row": "1"}), spec=PowerBudgetSpec(limit_watts=5.5))
    )
    raw = await bench.api.get(GROUP, "PowerBudget", name)
    assert raw["metadata"]["labels"] == {"row": "1"}
    assert raw["spec"]["limitWatts"] == 5.5
    assert raw["spec"]["reservedWatts"] == 0
    assert "nodeSelector" not in raw["spec"]
    assert not raw["spec"].get("meterQuery")

    async def there() -> PowerBudget | None:
        found = cluster.view.get(PowerBudget, "", name)
        return found if found is not None and found.spec.limit_watts == 5.5 else None

    budget = await bench.wait_for(there, what="the view shows the budget")
    assert budget is not None
    await cluster.delete(budget)
    await cluster.delete(budget)
    assert await bench.api.find(GROUP, "PowerBudget", name) is None


async def test_a_selector_can_be_widened_to_everything(bench: Bench, cluster: KubernetesCluster) -> None:
    for selector in (LabelSelector(match_labels={"a": "b"}), LabelSelector()):
        policy = PowerCappingPolicy(
            metadata=ObjectMeta(namespace=bench.namespace, name="p"), spec=PowerCappingPolicySpec(selector=selector)
        )
        await cluster.apply(policy)
    raw = await bench.api.get(GROUP, "PowerCappingPolicy", "p", namespace=bench.namespace)
    assert raw["spec"]["selector"] == {"matchExpressions": []}


async def test_a_status_is_replaced_whole_and_leaves_the_spec(bench: Bench, cluster: KubernetesCluster) -> None:
    condition = Condition(
        type="CapUnachievable", status="True", reason="R", last_transition_time="2026-01-01T00:00:00Z"
    )
    full = PowerRecommendationStatus(
        mode="Scale",
        target=Amount(replicas=3, watts=900.0),
        uncapped_target=Amount(replicas=9),
        reason="BudgetBinds",
        message="row 1 binds",
        binding_budget="row-1",
        conditions=(condition,),
    )
    await cluster.apply(recommendation(bench, full))
    await cluster.write_status(recommendation(bench, full))
    await cluster.write_status(recommendation(bench, PowerRecommendationStatus(mode="Scale", reason="DemandMet")))
    raw = await bench.api.get(GROUP, "PowerRecommendation", "deployment-llm", namespace=bench.namespace)
    assert raw["spec"]["policy"] == "p"
    assert raw["status"] == {
        "mode": "Scale",
        "target": {"replicas": 0, "watts": 0},
        "lowerBound": {"replicas": 0, "watts": 0},
        "upperBound": {"replicas": 0, "watts": 0},
        "reason": "DemandMet",
        "replicaWatts": 0,
        "slippedPods": 0,
    }


async def test_what_another_manager_says_in_a_status_stays(bench: Bench, cluster: KubernetesCluster) -> None:
    def condition(type_: str) -> Object:
        return {"type": type_, "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    ready = Condition(type="Ready", status="True", reason="R", last_transition_time="2026-01-01T00:00:00Z")
    ours = PowerRecommendationStatus(mode="Scale", reason="DemandMet", conditions=(ready,))
    await cluster.apply(recommendation(bench, ours))
    await cluster.write_status(recommendation(bench, ours))
    theirs: Object = {
        "apiVersion": GROUP,
        "kind": "PowerRecommendation",
        "metadata": {"namespace": bench.namespace, "name": "deployment-llm"},
        "status": {"message": "theirs", "conditions": [condition("Theirs")]},
    }
    await bench.api.apply(theirs, sub="status")
    await cluster.write_status(recommendation(bench, PowerRecommendationStatus(mode="Scale", reason="DemandMet")))
    raw = await bench.api.get(GROUP, "PowerRecommendation", "deployment-llm", namespace=bench.namespace)
    assert raw["status"]["message"] == "theirs"
    assert [one["type"] for one in raw["status"]["conditions"]] == ["Theirs"]


async def test_a_namesake_is_neither_overwritten_nor_deleted(bench: Bench, cluster: KubernetesCluster) -> None:
    await cluster.apply(recommendation(bench, PowerRecommendationStatus()))
    one = await seen(bench, cluster)
    stranger = recommendation(bench, PowerRecommendationStatus(mode="Off"), uid="00000000-0000-4000-8000-000000000000")
    with pytest.raises(NotFoundError, match="another object by now"):
        await cluster.write_status(stranger)
    await cluster.delete(stranger)
    raw = await bench.api.get(GROUP, "PowerRecommendation", "deployment-llm", namespace=bench.namespace)
    assert raw["metadata"]["uid"] == one.metadata.uid
    assert "mode" not in raw.get("status", {})


async def test_a_status_without_its_object_is_a_not_found_error(bench: Bench, cluster: KubernetesCluster) -> None:
    with pytest.raises(NotFoundError):
        await cluster.write_status(recommendation(bench, PowerRecommendationStatus()))


async def test_what_the_api_server_refuses_is_told_with_its_words(bench: Bench, cluster: KubernetesCluster) -> None:
    bad = PowerBudget(
        metadata=ObjectMeta(name=bench.namespace, labels={"bad label": "x"}), spec=PowerBudgetSpec(limit_watts=1.0)
    )
    with pytest.raises(RefusedError, match=r"metadata\.labels"):
        await cluster.apply(bad)


async def test_a_lease_is_taken_renewed_taken_over_and_given_up(bench: Bench, cluster: KubernetesCluster) -> None:
    async def hold(holder: str, now: float) -> bool:
        return await cluster.hold_lease(
            namespace=bench.namespace, name="leader", holder=holder, duration_seconds=15, now=now
        )

    now = 1_800_000_000.25
    assert await hold("a", now)
    assert await hold("a", now + 5)
    assert not await hold("b", now + 6)
    assert await hold("b", now + 21)
    assert not await hold("a", now + 22)
    raw = await bench.api.get("coordination.k8s.io/v1", "Lease", "leader", namespace=bench.namespace)
    assert raw["spec"]["leaseTransitions"] == 1
    assert raw["spec"]["renewTime"] == "2027-01-15T08:00:21.250000Z"
    await cluster.release_lease(namespace=bench.namespace, name="leader", holder="b")
    assert await hold("a", now + 23)


async def test_an_event_shows_up_where_its_object_lives(bench: Bench, cluster: KubernetesCluster) -> None:
    await cluster.apply(recommendation(bench, PowerRecommendationStatus()))
    event = EventRecord(
        regarding=await seen(bench, cluster),
        type="Warning",
        reason="CapUnachievable",
        action="Cap",
        note="€" * 2_000,
        dedupe_key="k",
    )
    await cluster.record(event)
    await cluster.record(event)
    (raw,) = await bench.events(reason="CapUnachievable")
    assert raw.get("note", raw.get("message")) == "€" * 341


async def test_state_of_three_shards_comes_back_and_shrinks(bench: Bench, cluster: KubernetesCluster) -> None:
    large = random.Random(1).randbytes(1_200_000)
    for state in (large, b"small"):
        await cluster.write_state(namespace=bench.namespace, name="learned", state=state)
        assert await cluster.read_state(namespace=bench.namespace, name="learned") == state
    found = await bench.api.list("v1", "ConfigMap", namespace=bench.namespace)
    assert [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith("learned")] == ["learned-0"]


async def test_missing_rights_end_the_start_and_name_the_resource(bench: Bench) -> None:
    account = await bench.service_account("poor", [])
    client = KubernetesCluster(KubeconfigCredentials(file=account.kubeconfig), registry=CollectorRegistry())
    with pytest.raises(ForbiddenError, match="cannot list resource"):
        await client.start()
