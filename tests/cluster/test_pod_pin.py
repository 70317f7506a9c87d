"""What the chart's own accounts may do to pods: the scaler's takes the gate off, the actuator's sets deletion costs.

The API server refuses whatever else they might do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tests.cluster.backstop import POLICIES, POLICY, install_policies
from tests.cluster.chart import rendered_access
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Account, Bench
from tests.cluster.controlplane.errors import ApiError
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.errors import ConflictError
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import NodeSelectorRequirement, NodeSelectorTerm, Pod

OTHER_GATE = "example.com/other"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
RACK = {"key": "rack", "operator": "In", "values": ["r1"]}
# What the API server gives every pod; only further ones may be added.
TOLERATED = [
    {
        "key": f"node.kubernetes.io/{taint}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for taint in ("not-ready", "unreachable")
]
COST: Object = {"metadata": {"annotations": {DELETION_COST: "7"}}}
OPEN: Object = {"spec": {"schedulingGates": [{"name": POWER_GATE, "$patch": "delete"}]}}


@pytest.fixture
async def account(bench: Bench) -> Account:
    """The scaler's account, with the chart's roles and pinned by its policy."""
    return await pinned_account(bench, "scaler")


@pytest.fixture
async def actuator(bench: Bench) -> Account:
    """The actuator's account, likewise."""
    return await pinned_account(bench, "actuator")


async def pinned_account(bench: Bench, component: str) -> Account:
    access = rendered_access(component, release=bench.namespace, namespace=bench.namespace)
    for item in access:
        await bench.apply(item)
    (name,) = (one["metadata"]["name"] for one in access if one["kind"] == "ServiceAccount")
    await install_policies(bench, "-pod-pin", {})
    made = await bench.account(bench.namespace, name)
    await bench.api.create(pod(bench, "probe"))
    async with Api(made.connection) as api:

        async def pinned() -> bool:
            return bool(await refused(api, bench, {"metadata": {"labels": {"probe": "x"}}}, name="probe", dry=True))

        await bench.wait_for(pinned, what="the API server goes by the pin")
    return made


@pytest.fixture
async def own(account: Account) -> AsyncIterator[Api]:
    """The API server as the scaler's account sees it."""
    async with Api(account.connection) as api:
        yield api


def pod(bench: Bench, name: str = "chat", *, containers: int = 1) -> Object:
    """Returns a pod with our gate and another, and something in every field that could be changed."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": bench.namespace,
            "labels": {"app": "chat"},
            "annotations": {"note": "x"},
        },
        "spec": {
            "schedulingGates": [{"name": OTHER_GATE}, {"name": POWER_GATE}],
            "nodeSelector": {"pool": "h100"},
            "affinity": {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": {"matchExpressions": [RACK]}}]}},
            "containers": [
                {
                    "name": f"server-{number}",
                    "image": "vllm",
                    "env": [{"name": f"NAME_{each}", "value": "x" * 50} for each in range(30)],
                }
                for number in range(containers)
            ],
        },
    }


async def refused(api: Api, bench: Bench, change: Object, *, name: str = "chat", dry: bool = False) -> str:
    """Tries a strategic merge patch, and returns why it was refused; "" where it was not."""
    path = await api.path("v1", "Pod", namespace=bench.namespace, name=name)
    query = {"dryRun": "All"} if dry else None
    try:
        await api.request("PATCH", path, change, content_type="application/strategic-merge-patch+json", query=query)
    except ApiError as error:
        if error.reason != "Forbidden":
            raise
        return str(error)
    return ""


async def spec_of(bench: Bench, name: str = "chat") -> dict[str, Any]:
    return (await bench.api.get("v1", "Pod", name, namespace=bench.namespace))["spec"]


@asynccontextmanager
async def product_of(account: Account) -> AsyncGenerator[KubernetesCluster]:
    """The product's own client, under an account."""
    cluster = KubernetesCluster(
        KubeconfigCredentials(file=account.kubeconfig), registry=CollectorRegistry(), kinds=(Pod,)
    )
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


async def shown(
    bench: Bench, cluster: KubernetesCluster, name: str = "chat", *, where: Callable[[Pod], bool] = bool
) -> Pod:
    """Waits until the view shows a pod as it shall be."""

    async def there() -> Pod | None:
        found = cluster.view.get(Pod, bench.namespace, name)
        return found if found is not None and where(found) else None

    found = await bench.wait_for(there, what="the view shows the pod")
    assert found is not None
    return found


async def test_the_gate_comes_off_and_required_nodes_tighten_as_the_product_does_it(
    bench: Bench, account: Account
) -> None:
    await bench.api.create(pod(bench, containers=30))
    async with product_of(account) as cluster:
        found = await shown(bench, cluster)
        away = NodeSelectorRequirement(key="rack", operator="NotIn", values=("r2",))
        await cluster.open_gate(found, terms=(NodeSelectorTerm(match_expressions=(away,)),))
    spec = await spec_of(bench)
    assert spec["schedulingGates"] == [{"name": OTHER_GATE}]
    assert spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["r2"]}]}
    ]


REFUSED: dict[str, tuple[Object, str]] = {
    "an image": ({"spec": {"containers": [{"name": "server-0", "image": "evil"}]}}, "nothing of a pod's spec"),
    "an image as the gate comes off": (
        {"spec": {**OPEN["spec"], "containers": [{"name": "server-0", "image": "evil"}]}},
        "nothing of a pod's spec",
    ),
    "a toleration": (
        {"spec": {"tolerations": [*TOLERATED, {"key": "gpu", "operator": "Exists"}]}},
        "nothing of a pod's spec",
    ),
    "a deadline": ({"spec": {"activeDeadlineSeconds": 1}}, "nothing of a pod's spec"),
    "a node selector": ({"spec": {"nodeSelector": {"rack": "r1"}}}, "nothing of a pod's spec"),
    "a label": ({"metadata": {"labels": {"app": "other"}}}, "no label, owner or finalizer"),
    "a label that is new": ({"metadata": {"labels": {"new": "x"}}}, "no label, owner or finalizer"),
    "an annotation": ({"metadata": {"annotations": {"note": None}}}, "no annotation of a pod"),
    "an annotation's value": ({"metadata": {"annotations": {"note": "y"}}}, "no annotation of a pod"),
    "an annotation that is new": ({"metadata": {"annotations": {"new": "y"}}}, "no annotation of a pod"),
    "a gate of somebody else": (
        {"spec": {"schedulingGates": [{"name": OTHER_GATE, "$patch": "delete"}]}},
        "its own gate",
    ),
    "every gate": ({"spec": {"schedulingGates": None}}, "its own gate"),
    "required nodes while the gate stays": (
        {"spec": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [RACK]}]}}}}},
        "the nodes that a pod requires",
    ),
    "preferred nodes as the gate comes off": (
        {"spec": {**OPEN["spec"], "affinity": {"nodeAffinity": {PREFERRED: None}}}},
        "the nodes that a pod requires",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_the_scalers_account_may_not_change(bench: Bench, own: Api, what: str) -> None:
    await bench.api.create(pod(bench))
    change, why = REFUSED[what]
    before = await spec_of(bench)
    assert why in await refused(own, bench, change)
    assert await spec_of(bench) == before


async def test_the_scalers_account_may_not_say_which_pods_go(bench: Bench, own: Api) -> None:
    await bench.api.create(pod(bench))
    assert "no annotation of a pod" in await refused(own, bench, COST)


@pytest.mark.parametrize("annotations", [{}, {"note": "x"}], ids=["without annotations", "with another annotation"])
async def test_a_deletion_cost_comes_and_goes_as_the_product_does_it(
    bench: Bench, actuator: Account, annotations: dict[str, str]
) -> None:
    made = pod(bench)
    made["metadata"]["annotations"] = annotations
    await bench.api.create(made)
    async with product_of(actuator) as cluster:
        await cluster.set_deletion_cost(await shown(bench, cluster), -100)
        found = await shown(bench, cluster, where=lambda one: DELETION_COST in one.metadata.annotations)
        assert found.metadata.annotations == {**annotations, DELETION_COST: "-100"}
        await cluster.set_deletion_cost(found, None)
        found = await shown(bench, cluster, where=lambda one: DELETION_COST not in one.metadata.annotations)
        assert found.metadata.annotations == annotations


async def test_a_deletion_cost_that_somebody_has_written_meanwhile_stays(bench: Bench, actuator: Account) -> None:
    made = pod(bench)
    del made["metadata"]["annotations"]
    await bench.api.create(made)
    async with product_of(actuator) as cluster:
        found = await shown(bench, cluster)
        assert await refused(bench.api, bench, COST) == ""
        with pytest.raises(ConflictError):
            await cluster.set_deletion_cost(found, -100)
        with pytest.raises(ConflictError):
            await cluster.set_deletion_cost(replace(found, metadata=replace(found.metadata, annotations={"a": "b"})), 1)
    meta = (await bench.api.get("v1", "Pod", "chat", namespace=bench.namespace))["metadata"]
    assert meta["annotations"] == {DELETION_COST: "7"}


@pytest.mark.parametrize("what", ["an image", "a label", "an annotation that is new", "an annotation's value"])
async def test_the_actuators_account_may_not_change(bench: Bench, actuator: Account, what: str) -> None:
    await bench.api.create(pod(bench))
    change, why = REFUSED[what]
    async with Api(actuator.connection) as api:
        assert why in await refused(api, bench, change)


async def test_the_actuators_account_may_not_take_the_gate_off(bench: Bench, actuator: Account) -> None:
    await bench.api.create(pod(bench))
    async with Api(actuator.connection) as api:
        assert "its own gate" in await refused(api, bench, OPEN)


async def test_others_are_not_pinned(bench: Bench, own: Api) -> None:
    await bench.api.create(pod(bench))
    change: Object = {"metadata": {"labels": {"app": "other"}}}
    assert await refused(bench.api, bench, change, dry=True) == ""
    assert await refused(own, bench, change, dry=True) != ""


async def test_its_expressions_fit_the_types_that_they_are_about(bench: Bench, account: Account) -> None:
    async def checked() -> Object | None:
        (policy,) = [
            one for one in await bench.api.list(POLICIES, POLICY) if one["metadata"]["name"].startswith(bench.namespace)
        ]
        return policy if policy.get("status", {}).get("observedGeneration") else None

    policy = await bench.wait_for(checked, what="the API server has checked the policy's types")
    assert policy is not None
    assert policy["status"].get("typeChecking", {}).get("expressionWarnings", []) == []
