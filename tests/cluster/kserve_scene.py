"""The actuator beside KServe's own controllers: where it runs in tests, and what they ask about one service."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from tests.cluster.actuator import Actuators
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.installation import Installation
from tests.cluster.installed import installed
from tests.cluster.loop import GROUP, SETTLE_SECONDS, Loop

KSERVE: Final = "serving.kserve.io/v1beta1"
LLM: Final = "serving.kserve.io/v1alpha2"
KEDA: Final = "keda.sh/v1alpha1"
CLASS: Final = "serving.kserve.io/autoscalerClass"
LABEL: Final = "serving.kserve.io/inferenceservice"
LLM_LABEL: Final = "app.kubernetes.io/name"
TARGET: Final = "chat-predictor"
PLENTY_WATTS: Final = 60_000.0
NOTHING_WATTS: Final = 1.0


@contextmanager
def running_actuators(plane: Plane, installation: Installation) -> Generator[Actuators]:
    """Runs the actuator as the chart installs it."""
    with installed(plane, Actuators(plane, installation.address)) as made:
        yield made


class Scene:
    """A budget over a test's own nodes, and what is asked about one service."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.bench = loop.bench
        self.budget = ""
        self._rules: Object = {}

    async def open(self) -> None:
        await self.loop.nodes(2)
        self.budget = await self.loop.budget("rack", PLENTY_WATTS)

    async def inference_service(self, autoscaler: str, **predictor: object) -> None:
        await self.bench.api.create(
            inference_service(
                self.bench.namespace, "chat", annotations={CLASS: autoscaler}, predictor=predictor or None
            )
        )

    async def policy(self, labels: Mapping[str, str] | None = None, *, lower: bool = False, floor: int = 0) -> None:
        """Applies a policy that asks for no measured demand."""
        rules: Object = {"lowerMinReplicas": lower}
        self._rules = {"labels": labels or {LABEL: "chat"}, "demand": None, "actuation": rules}
        await self.loop.policy("chat", floor=floor, **self._rules)

    async def remove_policy(self) -> None:
        await self.bench.api.delete(GROUP, "PowerCappingPolicy", "chat", namespace=self.bench.namespace)

    async def hold_at(self, replicas: int, *, target: str = TARGET, kind: str = "deployment") -> None:
        """Grants so many of the replicas that there are, whatever they draw: the policy's floor, under no budget."""
        await self._wait_decided(target, kind)
        await self.loop.policy("chat", floor=replicas, **self._rules)
        await self.loop.set_limit(self.budget, NOTHING_WATTS)

        async def granted() -> bool:
            return (await self.loop.status(target, kind=kind))["target"]["replicas"] == replicas

        await self.bench.wait_for(granted, what=f"{target} is granted {replicas}", timeout_seconds=SETTLE_SECONDS)

    async def cut_to(self, replicas: int, *, target: str = TARGET, kind: str = "deployment") -> None:
        """Sets the budget so that it carries so many replicas, and waits for the recommendation."""
        await self._wait_decided(target, kind)
        await self._allow(replicas, target, kind)

        async def granted() -> bool:
            status = await self.loop.status(target, kind=kind)
            if status["target"]["replicas"] == replicas:
                return True
            # Pods that were on their way when the budget was set have gone or come meanwhile.
            await self._allow(replicas, target, kind)
            return False

        await self.bench.wait_for(granted, what=f"{target} is granted {replicas}", timeout_seconds=SETTLE_SECONDS)

    async def _wait_decided(self, target: str, kind: str) -> None:
        async def decided() -> bool:
            return (await self.loop.status(target, kind=kind)).get("reason") not in (None, "WarmingUp")

        await self.bench.wait_for(decided, what=f"{target} has a recommendation", timeout_seconds=SETTLE_SECONDS)

    async def _allow(self, replicas: int, target: str, kind: str) -> None:
        """Sets the budget to what is guarded now and what so many replicas are more or fewer than are granted."""
        watts = await self.loop.replica_watts(target, kind=kind)
        guarded = await self.loop.settled_sum(self.budget)
        granted = (await self.loop.status(target, kind=kind))["target"]["replicas"]
        await self.loop.set_limit(self.budget, guarded + (replicas - granted + 0.5) * watts)

    async def predictor(self) -> Object:
        found = await self.bench.api.get(KSERVE, "InferenceService", "chat", namespace=self.bench.namespace)
        return found["spec"]["predictor"]

    async def wait_predictor(self, **bounds: int | None) -> None:
        async def reached() -> bool:
            found = await self.predictor()
            return {name: found.get(name) for name in bounds} == bounds

        await self.bench.wait_for(reached, what=f"the predictor has {bounds}", timeout_seconds=SETTLE_SECONDS)

    async def pods(self) -> set[str]:
        """Returns the UIDs of the namespace's pods that are not ending."""
        found = await self.bench.pods()
        return {one["metadata"]["uid"] for one in found if "deletionTimestamp" not in one["metadata"]}

    async def wait_pods(self, count: int) -> set[str]:
        async def there() -> set[str] | None:
            found = await self.bench.ready_pods()
            whole = len(found) == count and len(await self.pods()) == count
            return {one["metadata"]["uid"] for one in found} if whole else None

        found = await self.bench.wait_for(there, what=f"{count} ready pods", timeout_seconds=SETTLE_SECONDS)
        assert found is not None
        return found

    async def wait_scaled_object(self, name: str, *, there: bool = True) -> None:
        async def as_wanted() -> bool:
            found = await self.bench.api.find(KEDA, "ScaledObject", name, namespace=self.bench.namespace)
            if found is None:
                return not there
            # From then on KEDA knows how many replicas it has to put back.
            return there and "originalReplicaCount" in found.get("status", {})

        what = f"ScaledObject {name} is {'there' if there else 'gone'}"
        await self.bench.wait_for(as_wanted, what=what, timeout_seconds=SETTLE_SECONDS)

    async def wait_actuated(self, reason: str, *, target: str = TARGET, kind: str = "deployment") -> Object:
        """Waits until the condition Actuated gives a reason, and returns the status."""

        async def said() -> Object | None:
            status = await self.loop.status(target, kind=kind)
            reasons = [one["reason"] for one in status.get("conditions", []) if one["type"] == "Actuated"]
            return status if reasons == [reason] else None

        found = await self.bench.wait_for(said, what=f"Actuated says {reason}", timeout_seconds=SETTLE_SECONDS)
        assert found is not None
        return found

    async def wait_no_recommendation(self, target: str = TARGET, *, kind: str = "deployment") -> None:
        async def gone() -> bool:
            return not await self.loop.recommendation(target, kind=kind)

        await self.bench.wait_for(gone, what=f"no recommendation for {target}", timeout_seconds=SETTLE_SECONDS)
