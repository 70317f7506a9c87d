"""The patch that takes the power gate off, against the API server's own rules for gated pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.controlplane.bench import Bench
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import LabelSelector
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.errors import NotFoundError, RefusedError
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import Node, NodeSelectorRequirement, NodeSelectorTerm, Pod
from wattkeeper.recommender.affinity import avoiding

POOL = {"key": "pool", "operator": "In", "values": ["h100"]}
PREFERRED = {"weight": 1, "preference": {"matchExpressions": [POOL]}}


@pytest.fixture
async def cluster(bench: Bench) -> AsyncIterator[KubernetesCluster]:
    client = KubernetesCluster(
        KubeconfigCredentials(file=bench.plane.kubeconfig), registry=CollectorRegistry(), kinds=(Pod, Node)
    )
    await client.start()
    yield client
    await client.stop()


async def gated(bench: Bench, cluster: KubernetesCluster, affinity: dict[str, Any] | None = None) -> Pod:
    """Makes a pod with our gate beside another, and returns it as the view shows it."""
    spec: dict[str, Any] = {
        "schedulingGates": [{"name": "example.com/other"}, {"name": POWER_GATE}],
        "containers": [{"name": "main", "image": "none"}],
    }
    if affinity is not None:
        spec["affinity"] = {"nodeAffinity": affinity}
    meta = {"name": "gated", "namespace": bench.namespace}
    await bench.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    async def there() -> Pod | None:
        return cluster.view.get(Pod, bench.namespace, "gated")

    found = await bench.wait_for(there, what="the view shows the pod")
    assert found is not None
    return found


async def spec_of(bench: Bench) -> dict[str, Any]:
    return (await bench.api.get("v1", "Pod", "gated", namespace=bench.namespace))["spec"]


@pytest.mark.parametrize(
    "affinity",
    [
        None,
        {"preferredDuringSchedulingIgnoredDuringExecution": [PREFERRED]},
        {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [POOL]}, {"matchExpressions": [{**POOL, "values": ["l4"]}]}]
            }
        },
    ],
    ids=["none", "preferred", "required"],
)
async def test_gate_and_affinity_change_at_once(
    bench: Bench, cluster: KubernetesCluster, affinity: dict[str, Any] | None
) -> None:
    pod = await gated(bench, cluster, affinity)
    racks = [LabelSelector(match_labels={"rack": name}) for name in ("r1", "r2")]
    both = LabelSelector(match_labels={"row": "7", "pool": "h100"})
    (node,) = await bench.add_nodes(1, labels={"row": "7", "pool": "h100"})

    async def known() -> bool:
        return cluster.view.get(Node, "", node) is not None

    await bench.wait_for(known, what="the view shows the node")
    terms = avoiding(pod.spec, [*racks, both], cluster.view.all(Node).values())
    await cluster.open_gate(pod, terms=terms)
    spec = await spec_of(bench)
    assert spec["schedulingGates"] == [{"name": "example.com/other"}]
    now = spec["affinity"]["nodeAffinity"]
    required = now["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert len(required) == 2
    expected = {"key": "rack", "operator": "NotIn", "values": ["r1", "r2"]}
    assert all(expected in one["matchExpressions"] for one in required)
    if affinity is not None:
        assert affinity.keys() <= now.keys()


async def test_the_gate_stays_where_the_affinity_is_refused(bench: Bench, cluster: KubernetesCluster) -> None:
    pod = await gated(
        bench,
        cluster,
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [POOL]}]}},
    )
    other = NodeSelectorRequirement(key="rack", operator="NotIn", values=("r1",))
    with pytest.raises(RefusedError, match="nodeAffinity"):
        await cluster.open_gate(pod, terms=(NodeSelectorTerm(match_expressions=(other,)),))
    assert {"name": POWER_GATE} in (await spec_of(bench))["schedulingGates"]


async def test_opening_twice_succeeds_and_a_pod_that_is_gone_is_not_found(
    bench: Bench, cluster: KubernetesCluster
) -> None:
    pod = await gated(bench, cluster)
    await cluster.open_gate(pod, terms=None)
    await cluster.open_gate(pod, terms=None)
    await bench.api.delete("v1", "Pod", "gated", namespace=bench.namespace)
    with pytest.raises(NotFoundError):
        await cluster.open_gate(pod, terms=None)
