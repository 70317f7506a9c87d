"""What the actuator writes on a real API server, and what KServe and KEDA have to say to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.loop import scaled_object
from wattkeeper.cluster.braking import PAUSE, PAUSED_REPLICAS
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.errors import ConflictError, RefusedError
from wattkeeper.cluster.interface import WATCHED_BY_ACTUATOR
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.kubeconfig import KubeconfigCredentials
from wattkeeper.cluster.objects import ScaledObject

KEDA = "keda.sh/v1alpha1"
NOBODY = "127.0.0.1:9"


@pytest.fixture
async def cluster(bench: Bench) -> AsyncIterator[KubernetesCluster]:
    client = KubernetesCluster(
        KubeconfigCredentials(file=bench.plane.kubeconfig), registry=CollectorRegistry(), kinds=WATCHED_BY_ACTUATOR
    )
    await client.start()
    yield client
    await client.stop()


async def shown(bench: Bench, cluster: KubernetesCluster, pause: str) -> ScaledObject:
    async def found() -> ScaledObject | None:
        one = cluster.view.get(ScaledObject, bench.namespace, "llm")
        return one if one is not None and one.metadata.annotations.get(PAUSED_REPLICAS, "") == pause else None

    one = await bench.wait_for(found, what=f"the view shows the pause {pause!r}")
    assert one is not None
    return one


async def brake(bench: Bench, cluster: KubernetesCluster, *, before: str, value: int | None, if_ours: bool) -> None:
    """Sets a pause or takes it off, however often KEDA is quicker."""

    async def done() -> bool:
        one = await shown(bench, cluster, before)
        try:
            await cluster.set_brake(one, {PAUSE: value}, if_ours=if_ours)
        except ConflictError as error:
            if "has been modified" not in str(error):
                raise
            return False
        return True

    await bench.wait_for(done, what="the brake is written")


async def test_the_api_server_remembers_which_pauses_are_the_actuator_s(
    bench: Bench, cluster: KubernetesCluster
) -> None:
    await bench.deploy(bench.deployment("llm", replicas=0), wait=False)
    await bench.apply(scaled_object("llm", NOBODY))
    await brake(bench, cluster, before="", value=0, if_ours=False)
    await brake(bench, cluster, before="0", value=None, if_ours=True)
    await brake(bench, cluster, before="", value=0, if_ours=False)
    await shown(bench, cluster, "0")
    change = {"metadata": {"annotations": {PAUSED_REPLICAS: "3"}}}
    await bench.api.patch(KEDA, "ScaledObject", "llm", change, namespace=bench.namespace)
    with pytest.raises(ConflictError, match="somebody else's"):
        await brake(bench, cluster, before="3", value=None, if_ours=True)


@pytest.mark.usefixtures("kserve")
async def test_what_kserve_s_webhook_denies_is_a_refusal_in_its_words(bench: Bench, cluster: KubernetesCluster) -> None:
    service = inference_service(bench.namespace, "llm")
    service["spec"]["predictor"] |= {"minReplicas": 2, "maxReplicas": 4}
    await bench.api.create(service)

    async def refused() -> bool:
        """Tries until the view is as new as the service, to which KServe writes too."""
        one = cluster.view.get(InferenceService, bench.namespace, "llm")
        if one is None:
            return False
        try:
            with pytest.raises(RefusedError, match="denied the request"):
                await cluster.set_replica_fields(one, {"spec.predictor.maxReplicas": 1})
        except ConflictError:
            return False
        return True

    await bench.wait_for(refused, what="the webhook's refusal")
