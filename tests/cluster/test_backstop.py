"""The API server refuses replicas above the grant, with none of Wattkeeper's processes there."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.backstop import (
    BINDING,
    GROUP,
    POLICIES,
    POLICY,
    install_backstop,
    install_policies,
    recommend,
    scaled,
    wait_free,
    wait_refused,
)
from tests.cluster.chart import CHART, helm
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.kubectl import kubectl
from tests.cluster.controlplane.workloads import leader_worker_set


async def service(bench: Bench, name: str = "chat", *, replicas: int, cap: int) -> Object:
    """Makes a service and its recommendation, and waits until the API server goes by that."""
    made = bench.deployment(name, replicas=replicas, gpus=0)
    await bench.deploy(made, wait=False)
    await recommend(bench, name, cap=cap)
    await wait_refused(bench, name, max(replicas, cap) + 1)
    return made


@pytest.mark.parametrize(("replicas", "cap"), [(3, 5), (7, 5), (3, 0)])
async def test_scale_refuses_what_exceeds_both_the_cap_and_what_is_there(bench: Bench, replicas: int, cap: int) -> None:
    await install_backstop(bench)
    await service(bench, replicas=replicas, cap=cap)
    most = max(replicas, cap)
    assert [bool(await scaled(bench, "chat", asked, dry=True)) for asked in range(most + 4)] == [
        asked > most for asked in range(most + 4)
    ]


async def test_kubectl_says_which_cap_budget_and_way_out(bench: Bench) -> None:
    name = await install_backstop(bench)
    await service(bench, replicas=3, cap=5)
    said = await kubectl(bench.plane, "scale", "deployment/chat", "--replicas=8", f"--namespace={bench.namespace}")
    print(said.text)
    assert said.status == 1
    for words in (
        "Deployment chat is capped at 5 replicas and was asked to go from 3 to 8.",
        "PowerBudget rack-a lacks 900 W for the rest.",
        "See PowerRecommendation deployment-chat and PowerBudget rack-a.",
        f"kubectl delete validatingadmissionpolicybinding {name}",
    ):
        assert words in said.text
    assert await bench.replicas("chat") == 3


async def test_kubectl_may_scale_down_from_above_the_cap(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=7, cap=5)
    said = await kubectl(bench.plane, "scale", "deployment/chat", "--replicas=6", f"--namespace={bench.namespace}")
    assert (said.status, await bench.replicas("chat")) == (0, 6)


async def test_an_hpa_cannot_write_above_the_cap_and_says_why(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=5, cap=5)
    # Below its minReplicas an HPA scales up whatever its metrics say.
    await bench.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "chat"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
                "minReplicas": 6,
                "maxReplicas": 9,
            },
        }
    )

    async def refused() -> Object | None:
        hpa = await bench.api.get("autoscaling/v2", "HorizontalPodAutoscaler", "chat", namespace=bench.namespace)
        conditions = hpa.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["reason"] == "FailedUpdateScale"), None)

    condition = await bench.wait_for(refused, what="the HPA says that it could not scale")
    assert condition is not None
    assert (condition["type"], condition["status"]) == ("AbleToScale", "False")
    assert "Deployment chat is capped at 5 replicas" in condition["message"]
    assert await bench.replicas("chat") == 5


async def test_applying_a_whole_deployment_above_the_cap_is_refused(bench: Bench) -> None:
    await install_backstop(bench)
    made = await service(bench, replicas=3, cap=5)
    made["spec"]["replicas"] = 8
    with pytest.raises(ApiError, match="from 3 to 8"):
        await bench.api.apply(made)


async def test_applying_a_whole_deployment_within_the_cap_passes(bench: Bench) -> None:
    await install_backstop(bench)
    made = await service(bench, replicas=3, cap=5)
    made["spec"]["replicas"] = 5
    await bench.api.apply(made)
    assert await bench.replicas("chat") == 5


async def test_a_rollout_above_the_cap_passes_while_replicas_stay(bench: Bench) -> None:
    await install_backstop(bench)
    made = await service(bench, replicas=7, cap=5)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm:next"
    applied = await bench.api.apply(made)
    assert applied["metadata"]["generation"] == 2


async def test_an_apply_that_leaves_replicas_out_passes(bench: Bench) -> None:
    await install_backstop(bench)
    made = await service(bench, replicas=5, cap=3)
    del made["spec"]["replicas"]
    await bench.api.apply(made)
    assert await bench.replicas("chat") == 5


async def test_a_service_that_is_made_anew_is_held_to_the_cap_that_is_left(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=5, cap=5)
    await bench.api.delete("apps/v1", "Deployment", "chat", namespace=bench.namespace)
    with pytest.raises(ApiError, match="from 0 to 6"):
        await bench.api.create(bench.deployment("chat", replicas=6, gpus=0))
    await bench.api.create(bench.deployment("chat", replicas=5, gpus=0))


@pytest.mark.parametrize("said", [{"mode": "Off"}, {"mode": "Initial"}, {"mode": ""}, {"reason": "Uncapped"}], ids=str)
async def test_services_that_nothing_caps_are_free(bench: Bench, said: dict[str, str]) -> None:
    await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    await recommend(bench, "chat", cap=3, **said)
    await wait_free(bench, "chat", 30)


async def test_a_service_without_a_recommendation_is_free_beside_one_that_has_one(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    await bench.deploy(bench.deployment("web", replicas=0, gpus=0), wait=False)
    assert await scaled(bench, "web", 30, dry=True) == ""


async def test_a_leader_worker_sets_recommendation_caps_no_deployment_of_its_name(bench: Bench) -> None:
    await install_backstop(bench)
    await bench.deploy(bench.deployment("chat", replicas=0, gpus=0), wait=False)
    await recommend(bench, "chat", cap=0, kind="LeaderWorkerSet")
    await service(bench, "other", replicas=0, cap=0)
    assert await scaled(bench, "chat", 30, dry=True) == ""


async def test_a_namespace_of_others_is_free(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    other = bench.deployment("chat", replicas=0, gpus=0)
    other["metadata"]["namespace"] = "default"
    await bench.api.create(other)
    try:
        change: Object = {"spec": {"replicas": 4}}
        await bench.api.patch("apps/v1", "Deployment", "chat", change, namespace="default", sub="scale")
    finally:
        await bench.api.delete("apps/v1", "Deployment", "chat", namespace="default")


async def test_a_recommendation_that_goes_takes_its_cap_along(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    await bench.api.delete(GROUP, "PowerRecommendation", "deployment-chat", namespace=bench.namespace)
    await wait_free(bench, "chat", 4)


async def test_without_its_binding_everything_passes(bench: Bench) -> None:
    name = await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    said = await kubectl(bench.plane, "delete", "validatingadmissionpolicybinding", name)
    assert said.status == 0, said.text
    await wait_free(bench, "chat", 30)


async def test_an_upgrade_puts_the_binding_back(bench: Bench) -> None:
    release = bench.namespace  # Unique, because policies are named like the release.
    flags = "crds.install=false,admission.enabled=false,keda.triggerAuthentication=false,backstop.enabled=true"
    place = (f"--namespace={release}", f"--set={flags}")
    name = f"{release}-wattkeeper-backstop"
    helm("install", release, str(CHART), *place, kubeconfig=bench.plane.kubeconfig)
    try:
        await bench.api.delete(POLICIES, BINDING, name)
        helm("upgrade", release, str(CHART), *place, kubeconfig=bench.plane.kubeconfig)
        assert await bench.api.find(POLICIES, BINDING, name) is not None
    finally:
        # Nothing runs here that could put anything back.
        helm("uninstall", release, f"--namespace={release}", "--no-hooks", kubeconfig=bench.plane.kubeconfig)


async def test_a_trial_warns_and_refuses_nothing(bench: Bench) -> None:
    await install_backstop(bench)
    await service(bench, replicas=3, cap=3)
    await install_policies(bench, "-backstop", {"backstop": {"enabled": True, "validationActions": ["Warn"]}})
    await wait_free(bench, "chat", 4)
    said = await kubectl(bench.plane, "scale", "deployment/chat", "--replicas=4", f"--namespace={bench.namespace}")
    assert said.status == 0
    assert "Warning: Validation failed" in said.text
    assert "capped at 3 replicas" in said.text


async def test_a_leader_worker_set_is_held_to_its_cap(bench: Bench, lws: None) -> None:
    await install_backstop(bench)
    made = leader_worker_set(bench.namespace, "batch", groups=2, size=2, gpus=0)
    await bench.api.create(made)
    await recommend(bench, "batch", cap=3, kind="LeaderWorkerSet")
    await service(bench, "other", replicas=0, cap=0)
    where = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "batch")

    async def scale(replicas: int, sub: str | None) -> None:
        await bench.api.patch(*where, {"spec": {"replicas": replicas}}, namespace=bench.namespace, sub=sub)

    for sub in ("scale", None):
        with pytest.raises(ApiError, match="LeaderWorkerSet batch is capped at 3 replicas"):
            await scale(4, sub)
    await scale(3, "scale")
    await scale(1, None)


async def test_among_hundreds_of_services_each_is_held_to_its_own_cap(bench: Bench) -> None:
    await install_backstop(bench)
    await asyncio.gather(*(recommend(bench, f"service-{number}", cap=number) for number in range(300)))
    await service(bench, replicas=3, cap=5)
    assert [bool(await scaled(bench, "chat", asked, dry=True)) for asked in (5, 6)] == [False, True]


async def test_its_expressions_fit_the_types_that_they_are_about(bench: Bench) -> None:
    name = await install_backstop(bench)

    async def checked() -> Object | None:
        policy = await bench.api.get(POLICIES, POLICY, name)
        return policy if policy.get("status", {}).get("observedGeneration") else None

    policy = await bench.wait_for(checked, what="the API server has checked the policy's types")
    assert policy is not None
    assert policy["status"].get("typeChecking", {}).get("expressionWarnings", []) == []
