"""Writes to our own kinds, over real HTTP on loopback."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError, UnreachableError

BUDGET = "/apis/wattkeeper.dev/v1alpha1/powerbudgets/row"
RECOMMENDATION = "/apis/wattkeeper.dev/v1alpha1/namespaces/llm/powerrecommendations/deployment-a"


def budget(*, uid: str = "u1", status: PowerBudgetStatus | None = None) -> PowerBudget:
    return PowerBudget(
        metadata=ObjectMeta(name="row", uid=uid, resource_version="7", labels={"team": "x"}),
        spec=PowerBudgetSpec(limit_watts=0.0),
        status=status or PowerBudgetStatus(),
    )


def recommendation() -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(namespace="llm", name="deployment-a"),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind="Deployment", name="a"), policy="p"),
        status=PowerRecommendationStatus(mode="Scale", target=Amount(replicas=0), reason="BudgetBinds"),
    )


async def test_apply_sends_identity_own_metadata_and_the_whole_spec(api: FakeApi, make_cluster: MakeCluster) -> None:
    await make_cluster().apply(recommendation())
    assert api.asked("PATCH", RECOMMENDATION) == [{"fieldManager": "wattkeeper", "force": "true"}]
    assert api.bodies == [
        (
            "PATCH",
            RECOMMENDATION,
            {
                "apiVersion": "wattkeeper.dev/v1alpha1",
                "kind": "PowerRecommendation",
                "metadata": {"name": "deployment-a", "namespace": "llm"},
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"},
                    "policy": "p",
                },
            },
        )
    ]


async def test_apply_leaves_out_what_the_server_sets(api: FakeApi, make_cluster: MakeCluster) -> None:
    await make_cluster().apply(budget())
    assert api.bodies[0][2]["metadata"] == {"name": "row", "labels": {"team": "x"}}


async def test_a_conflict_of_an_apply_is_tried_again_a_few_times(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.answers["PATCH", RECOMMENDATION].extend([Answer(code=409)] * 2)
    cluster = make_cluster()
    await cluster.apply(recommendation())
    assert len(api.asked("PATCH", RECOMMENDATION)) == 3
    api.answers["PATCH", RECOMMENDATION].extend([Answer(code=409)] * 9)
    with pytest.raises(UnreachableError, match="4 conflicts in a row"):
        await cluster.apply(recommendation())


async def test_a_status_arrives_whole_with_its_zeros(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[RECOMMENDATION] = {"metadata": {"uid": "u"}}
    cluster = make_cluster()
    before = PowerRecommendationStatus(message="old", target=Amount(replicas=3))
    await cluster.write_status(replace(recommendation(), status=before))
    await cluster.write_status(recommendation())
    assert api.objects[RECOMMENDATION]["status"] == {
        "mode": "Scale",
        "target": {"replicas": 0, "watts": 0.0},
        "lowerBound": {"replicas": 0, "watts": 0.0},
        "upperBound": {"replicas": 0, "watts": 0.0},
        "reason": "BudgetBinds",
        "replicaWatts": 0.0,
        "slippedPods": 0,
    }


async def test_what_another_service_says_in_a_status_stays(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await cluster.apply(recommendation())
    await cluster.write_status(recommendation())
    api.objects[RECOMMENDATION]["status"]["theirs"] = 3
    await cluster.write_status(recommendation())
    assert api.objects[RECOMMENDATION]["status"]["theirs"] == 3


async def test_a_status_conflict_does_not_surface(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "u1"}}
    api.answers["PATCH", f"{BUDGET}/status"].append(Answer(code=409))
    await make_cluster().write_status(budget(status=PowerBudgetStatus(nodes=3)))
    assert api.objects[BUDGET]["status"]["nodes"] == 3


async def test_a_status_is_written_on_what_others_have_changed_since(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "u1", "resourceVersion": "8"}}
    await make_cluster().write_status(budget(status=PowerBudgetStatus(nodes=3)))
    assert api.objects[BUDGET]["status"]["nodes"] == 3


async def test_a_status_is_kept_off_a_namesake(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "another"}}
    with pytest.raises(NotFoundError, match="another object by now"):
        await make_cluster().write_status(budget(status=PowerBudgetStatus(nodes=3)))
    assert "status" not in api.objects[BUDGET]


async def test_a_status_that_the_schema_refuses_is_a_refused_error(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "u1"}}
    api.answers["PATCH", f"{BUDGET}/status"].append(Answer(code=422, message="status.nodes: Invalid value"))
    with pytest.raises(RefusedError, match=r"status\.nodes"):
        await make_cluster().write_status(budget())


async def test_a_status_of_what_is_gone_is_a_not_found_error(make_cluster: MakeCluster) -> None:
    with pytest.raises(NotFoundError):
        await make_cluster().write_status(budget())


async def test_delete_takes_this_very_object(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "u1"}}
    cluster = make_cluster()
    await cluster.delete(budget())
    assert BUDGET not in api.objects
    await cluster.delete(budget())


async def test_delete_spares_a_namesake(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "another"}}
    await make_cluster().delete(budget())
    assert BUDGET in api.objects


async def test_delete_without_a_uid_is_refused_here(api: FakeApi, make_cluster: MakeCluster) -> None:
    with pytest.raises(RefusedError, match="no UID"):
        await make_cluster().delete(budget(uid=""))
    assert api.requests == []


async def test_a_conflict_of_another_sort_while_deleting_surfaces(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[BUDGET] = {"metadata": {"uid": "u1"}}
    api.answers["DELETE", BUDGET].append(Answer(code=409, message="being migrated"))
    with pytest.raises(ConflictError, match="being migrated"):
        await make_cluster().delete(budget())


async def test_an_answer_that_is_no_json_keeps_its_text(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.answers["PATCH", BUDGET].append(Answer(code=502, body=b"<html>Bad Gateway \xff</html>"))
    with pytest.raises(UnreachableError, match=r"Bad Gateway.*HTTP 502"):
        await make_cluster().apply(budget())
