"""One capped InferenceService whose recommendation a test writes itself, and every change that anybody makes to it.

No scaler runs: what the actuator is told is exactly what the test says, when it says it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.gate_watch import following
from tests.cluster.loop import GROUP

KSERVE = "serving.kserve.io/v1beta1"
KEDA = "keda.sh/v1alpha1"
CLASS = "serving.kserve.io/autoscalerClass"
TARGET = "chat-predictor"
RECOMMENDATION = f"deployment-{TARGET}"
ORIGINAL = 6
UPPER = 20
SETTLE_SECONDS = 30.0


@dataclass(kw_only=True)
class History:
    """What a watch has shown of one namespace.

    Attributes:
        maxima: every maxReplicas that the service had, in order.
        scaled_objects: every maxReplicaCount that each ScaledObject had, in order, by UID.
    """

    maxima: list[int | None] = field(default_factory=list["int | None"])
    scaled_objects: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def see_service(self, event: str, item: Object) -> None:
        """Takes one event of the InferenceService."""
        value = item["spec"]["predictor"].get("maxReplicas")
        if event != "DELETED" and self.maxima[-1:] != [value]:
            self.maxima.append(value)

    def see_scaled_object(self, event: str, item: Object) -> None:
        """Takes one event of a ScaledObject."""
        seen = self.scaled_objects.setdefault(item["metadata"]["uid"], [])
        value = item["spec"]["maxReplicaCount"]
        if event != "DELETED" and seen[-1:] != [value]:
            seen.append(value)


class CeilingScene:
    """The service, and what is asked about it."""

    def __init__(self, bench: Bench, history: History) -> None:
        self.bench = bench
        self.history = history

    async def open(self, autoscaler: str) -> None:
        """Makes the service and its policy, and waits for its Deployment. Nothing recommends anything yet."""
        bounds = {"minReplicas": 1, "maxReplicas": ORIGINAL} if autoscaler == "hpa" else {}
        await self.bench.apply(
            {
                "apiVersion": GROUP,
                "kind": "PowerCappingPolicy",
                "metadata": {"name": "chat"},
                "spec": {"selector": {"matchLabels": {"app": "chat"}}, "mode": "Scale", "maxReplicas": UPPER},
            }
        )
        service = inference_service(
            self.bench.namespace, "chat", annotations={CLASS: autoscaler}, predictor=bounds or None
        )
        await self.bench.api.create(service)

        async def there() -> bool:
            found = await self.bench.api.find("apps/v1", "Deployment", TARGET, namespace=self.bench.namespace)
            return found is not None

        await self.bench.wait_for(there, what="KServe has made the Deployment", timeout_seconds=SETTLE_SECONDS)

    async def recommend(self, replicas: int) -> None:
        """Says what the leader of the scaler would, under a budget that binds."""
        meta: Object = {"name": RECOMMENDATION, "namespace": self.bench.namespace}
        reference = {"kind": "Deployment", "name": TARGET}
        head: Object = {"apiVersion": GROUP, "kind": "PowerRecommendation", "metadata": meta}
        await self.bench.api.apply({**head, "spec": {"scaleTargetRef": reference, "policy": "chat"}})
        status = {
            "mode": "Scale",
            "target": {"replicas": replicas},
            "lowerBound": {"replicas": 1},
            "upperBound": {"replicas": UPPER},
            "reason": "BudgetBinds",
        }
        await self.bench.api.apply({**head, "status": status}, sub="status")

    async def release(self) -> None:
        """Deletes the recommendation: everything is to be put back."""
        await self.bench.api.delete(GROUP, "PowerRecommendation", RECOMMENDATION, namespace=self.bench.namespace)

    async def remove_policy(self) -> None:
        """Deletes the policy, so that nothing is enforced any more."""
        await self.bench.api.delete(GROUP, "PowerCappingPolicy", "chat", namespace=self.bench.namespace)

    async def set_maximum(self, value: int) -> None:
        """Writes maxReplicas as a user would, and waits until it is seen."""
        change: Object = {"spec": {"predictor": {"maxReplicas": value}}}
        await self.bench.api.patch(KSERVE, "InferenceService", "chat", change, namespace=self.bench.namespace)
        await self.wait_maximum(value)

    async def status(self) -> Object:
        """Returns the recommendation's status, {} where it is gone."""
        found = await self.bench.api.find(GROUP, "PowerRecommendation", RECOMMENDATION, namespace=self.bench.namespace)
        return (found or {}).get("status", {})

    async def wait_maximum(self, value: int, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until the service's maxReplicas is a number."""

        async def reached() -> bool:
            return self.history.maxima[-1:] == [value]

        await self.bench.wait_for(
            reached, what=f"maxReplicas is {value}, after {self.history.maxima}", timeout_seconds=timeout_seconds
        )

    async def wait_actuated(self, reason: str, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until the condition Actuated gives a reason."""

        async def said() -> bool:
            found = (await self.status()).get("conditions", [])
            return [one["reason"] for one in found if one["type"] == "Actuated"] == [reason]

        await self.bench.wait_for(said, what=f"Actuated says {reason}", timeout_seconds=timeout_seconds)

    async def wait_released(self, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until the recommendation is gone: nothing is left to be put back."""

        async def gone() -> bool:
            return not await self.status()

        await self.bench.wait_for(gone, what="the recommendation is gone", timeout_seconds=timeout_seconds)

    async def wait_no_scaled_object(self) -> None:
        """Waits until the service has no ScaledObject."""

        async def gone() -> bool:
            return not await self.bench.api.list(KEDA, "ScaledObject", namespace=self.bench.namespace)

        await self.bench.wait_for(gone, what="no ScaledObject", timeout_seconds=SETTLE_SECONDS)

    async def told(self, reason: str) -> list[Object]:
        """Returns the events with a reason, waiting for the first one: they follow what they are about."""

        async def found() -> list[Object]:
            return await self.bench.events(reason=reason)

        return await self.bench.wait_for(found, what=f"an event {reason}", timeout_seconds=SETTLE_SECONDS)


@asynccontextmanager
async def ceiling_scene(bench: Bench, autoscaler: str = "hpa") -> AsyncGenerator[CeilingScene]:
    """Opens a scene, and watches it for as long as the context lasts."""
    history = History()

    def of_ours(item: Object) -> bool:
        return item["metadata"]["namespace"] == bench.namespace

    def see_service(event: str, item: Object) -> None:
        if of_ours(item):
            history.see_service(event, item)

    def see_scaled_object(event: str, item: Object) -> None:
        if of_ours(item):
            history.see_scaled_object(event, item)

    api = bench.api
    async with (
        following(api, KSERVE, "InferenceService", see_service),
        following(api, KEDA, "ScaledObject", see_scaled_object),
    ):
        made = CeilingScene(bench, history)
        await made.open(autoscaler)
        yield made
