"""The real API server takes good objects of our kinds, fills in defaults, and refuses bad ones by the field's name."""

from __future__ import annotations

import copy

import msgspec
import pytest

from tests.cluster.controlplane.api import Api, Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import ApiError
from wattkeeper.api.crds import definitions
from wattkeeper.api.meta import API_VERSION
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy

BUDGET: Object = {
    "apiVersion": API_VERSION,
    "kind": "PowerBudget",
    "metadata": {"name": "rack-a"},
    "spec": {"limitWatts": 12000},
}
POLICY: Object = {
    "apiVersion": API_VERSION,
    "kind": "PowerCappingPolicy",
    "metadata": {"name": "chat", "namespace": "default"},
    "spec": {"selector": {"matchLabels": {"app": "chat"}}},
}
RECOMMENDATION: Object = {
    "apiVersion": API_VERSION,
    "kind": "PowerRecommendation",
    "metadata": {"name": "deployment-chat", "namespace": "default"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "chat"}},
}


def with_spec(item: Object, **spec: object) -> Object:
    changed = copy.deepcopy(item)
    changed["spec"] |= spec
    return changed


async def dry_run(api: Api, item: Object) -> Object:
    path = await api.path(item["apiVersion"], item["kind"], namespace=item["metadata"].get("namespace"))
    return await api.request("POST", path, item, query={"dryRun": "All", "fieldValidation": "Strict"})


GOOD: dict[str, Object] = {
    "a budget of nothing but watts": BUDGET,
    "a budget with everything": with_spec(
        BUDGET,
        nodeSelector={
            "matchLabels": {"topology.kubernetes.io/rack": "a"},
            "matchExpressions": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        },
        meter="wall",
        meterQuery="sum(pdu_watts{rack='a'})",
        reservedWatts=500.5,
        shedSeconds=120,
        parentRef={"name": "row-1"},
        namespacePriorities=[{"namespace": "*", "maxPriority": 0}, {"namespace": "chat", "maxPriority": 100}],
    ),
    "a budget that allows nothing": with_spec(BUDGET, limitWatts=0),
    "a policy of nothing but a selector": POLICY,
    "a policy with everything": with_spec(
        POLICY,
        mode="Scale",
        priority=-5,
        minReplicas=1,
        maxReplicas=40,
        demand={"metric": "PromQL", "query": "sum(queue)", "targetPerReplica": 0.5, "stabilizationSeconds": 0},
        wattsPerReplica=2800.5,
    ),
    "a policy for everything that changes nothing": with_spec(POLICY, selector={}, mode="Off"),
    "a recommendation": RECOMMENDATION,
}

SELECTOR = {"matchLabels": {"app": "chat"}}
BAD: dict[str, tuple[Object, str]] = {
    "a budget without watts": ({**BUDGET, "spec": {}}, "spec.limitWatts"),
    "negative watts": (with_spec(BUDGET, limitWatts=-1), "spec.limitWatts"),
    "watts as text": (with_spec(BUDGET, limitWatts="12kW"), "spec.limitWatts"),
    "watts beyond any site": (with_spec(BUDGET, limitWatts=1e12), "spec.limitWatts"),
    "more reserved than there is": (with_spec(BUDGET, reservedWatts=12001), "spec.reservedWatts"),
    "an unknown meter": (with_spec(BUDGET, meter="rack"), "spec.meter"),
    "no time to shed": (with_spec(BUDGET, shedSeconds=0), "spec.shedSeconds"),
    "a budget that is its own parent": (with_spec(BUDGET, parentRef={"name": "rack-a"}), "spec.parentRef.name"),
    "a parent without a name": (with_spec(BUDGET, parentRef={"name": ""}), "spec.parentRef.name"),
    "a namespace named twice": (
        with_spec(
            BUDGET,
            namespacePriorities=[{"namespace": "a", "maxPriority": 0}, {"namespace": "a", "maxPriority": 1}],
        ),
        "spec.namespacePriorities[1]",
    ),
    "In without values": (
        with_spec(BUDGET, nodeSelector={"matchExpressions": [{"key": "rack", "operator": "In"}]}),
        "spec.nodeSelector.matchExpressions[0].values",
    ),
    "Exists with values": (
        with_spec(POLICY, selector={"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
        "spec.selector.matchExpressions[0].values",
    ),
    "a misspelt field": (with_spec(BUDGET, limitWats=1), "spec.limitWats"),
    "a policy without a selector": ({**POLICY, "spec": {"mode": "Off"}}, "spec.selector"),
    "a policy that would cap a whole namespace": (with_spec(POLICY, mode="Scale", selector={}), "spec.selector"),
    "an unknown mode": (with_spec(POLICY, mode="On"), "spec.mode"),
    "a floor above the ceiling": (with_spec(POLICY, minReplicas=3, maxReplicas=2), "spec.maxReplicas"),
    "a floor above the default ceiling": (with_spec(POLICY, minReplicas=101), "spec.maxReplicas"),
    "no replicas at all": (with_spec(POLICY, maxReplicas=0), "spec.maxReplicas"),
    "half a replica": (with_spec(POLICY, maxReplicas=1.5), "spec.maxReplicas"),
    "a priority out of range": (with_spec(POLICY, priority=1_000_001), "spec.priority"),
    "demand without a target": (with_spec(POLICY, demand={"metric": "Requests"}), "spec.demand.targetPerReplica"),
    "a target of nothing": (with_spec(POLICY, demand={"targetPerReplica": 0}), "spec.demand.targetPerReplica"),
    "PromQL without a query": (
        with_spec(POLICY, demand={"metric": "PromQL", "targetPerReplica": 1}),
        "spec.demand.query",
    ),
    "a query that nothing reads": (
        with_spec(POLICY, demand={"metric": "Requests", "targetPerReplica": 1, "query": "up"}),
        "spec.demand.query",
    ),
    "a query of a novel's length": (
        with_spec(POLICY, demand={"metric": "PromQL", "targetPerReplica": 1, "query": "x" * 4097}),
        "spec.demand.query",
    ),
    "a replica that draws nothing": (with_spec(POLICY, wattsPerReplica=0), "spec.wattsPerReplica"),
    "a target of another kind": (
        with_spec(RECOMMENDATION, scaleTargetRef={"kind": "StatefulSet", "name": "chat"}),
        "spec.scaleTargetRef.kind",
    ),
    "a target without a name": (
        with_spec(RECOMMENDATION, scaleTargetRef={"kind": "Deployment", "name": ""}),
        "spec.scaleTargetRef.name",
    ),
}


async def test_every_definition_is_established_without_complaint(api: Api) -> None:
    found = await api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    ours = {one["metadata"]["name"]: one for one in found if one["metadata"]["name"] in definitions()}
    assert set(ours) == set(definitions())
    for one in ours.values():
        assert holds(one, "Established")
        assert holds(one, "NamesAccepted")
        assert not holds(one, "NonStructuralSchema")


@pytest.mark.parametrize("name", GOOD)
async def test_good_objects_are_taken(api: Api, name: str) -> None:
    assert await dry_run(api, GOOD[name])


@pytest.mark.parametrize("name", BAD)
async def test_bad_objects_are_refused_by_the_name_of_the_field(api: Api, name: str) -> None:
    item, field = BAD[name]
    with pytest.raises(ApiError) as refused:
        await dry_run(api, item)
    assert field in str(refused.value)


async def test_the_server_fills_in_the_defaults_that_the_structs_have(api: Api) -> None:
    budget = await dry_run(api, BUDGET)
    read = msgspec.convert(budget, PowerBudget)
    assert read.spec == PowerBudget(metadata=read.metadata, spec=type(read.spec)(limit_watts=12000.0)).spec
    assert budget["spec"] == {
        "limitWatts": 12000,
        "meter": "node",
        "oversubscribed": False,
        "reservedWatts": 0,
        "shedSeconds": 300,
    }
    policy = await dry_run(api, with_spec(POLICY, demand={"targetPerReplica": 4}, gate={}))
    assert msgspec.convert(policy, PowerCappingPolicy).spec.demand is not None
    assert policy["spec"] == {
        "selector": SELECTOR,
        "mode": "Off",
        "priority": 0,
        "rollout": "Surge",
        "minReplicas": 0,
        "maxReplicas": 100,
        "demand": {"metric": "Requests", "targetPerReplica": 4, "stabilizationSeconds": 300},
        "gate": {"deadlineSeconds": 600},
    }


@pytest.fixture
async def budget(bench: Bench) -> str:
    """A stored budget of 1,000 W, 500 W of them reserved."""
    item = with_spec(BUDGET, limitWatts=1000, reservedWatts=500)
    item["metadata"] = {"name": bench.namespace}
    await bench.apply(item)
    return bench.namespace


async def test_a_cut_below_what_is_reserved_passes(api: Api, budget: str) -> None:
    await api.patch(API_VERSION, "PowerBudget", budget, {"spec": {"limitWatts": 200}})
    # And what is then odd can still be edited elsewhere.
    await api.patch(API_VERSION, "PowerBudget", budget, {"spec": {"shedSeconds": 60}})


async def test_no_more_can_be_reserved_than_the_limit(api: Api, budget: str) -> None:
    with pytest.raises(ApiError, match="lower reservedWatts or raise limitWatts"):
        await api.patch(API_VERSION, "PowerBudget", budget, {"spec": {"reservedWatts": 1001}})


async def test_a_status_is_written_only_through_its_subresource(api: Api, budget: str) -> None:
    change: Object = {"status": {"guardedWatts": 700.0}}
    assert "status" not in await api.patch(API_VERSION, "PowerBudget", budget, change)
    written = await api.patch(API_VERSION, "PowerBudget", budget, change, sub="status")
    assert written["status"] == {"guardedWatts": 700.0}


async def test_the_target_of_a_recommendation_cannot_change(bench: Bench) -> None:
    item = with_spec(RECOMMENDATION)
    item["metadata"] = {"name": "deployment-chat"}
    await bench.apply(item)
    item["spec"] = {"scaleTargetRef": {"kind": "Deployment", "name": "other"}}
    with pytest.raises(ApiError, match=r"spec\.scaleTargetRef.*delete this recommendation"):
        await bench.apply(item)


async def test_people_find_the_kinds_by_short_names_and_category(api: Api) -> None:
    found = await api.request("GET", f"/apis/{API_VERSION}")
    kinds = {one["kind"]: one for one in found["resources"] if "/" not in one["name"]}
    assert {name: one["shortNames"] for name, one in kinds.items()} == {
        "PowerBudget": ["pb"],
        "PowerCappingPolicy": ["pcp"],
        "PowerRecommendation": ["prec"],
        "PowerMigration": ["pm"],
    }
    assert all(one["categories"] == ["wattkeeper"] for one in kinds.values())
    assert not kinds["PowerBudget"]["namespaced"]
