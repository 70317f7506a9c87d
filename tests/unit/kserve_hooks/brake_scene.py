"""A plain service above its cap, with a user's ScaledObject and KEDA's HPA, while the scaler is silent."""

from __future__ import annotations

from msgspec.structs import replace

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.world import NAMESPACE, World
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.braking import PAUSED_REPLICAS
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    Deployment,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectStatus,
    ScaledObjectTarget,
    Trigger,
)

OURS = Trigger(type="external", metadata={"scalerAddress": "wattkeeper.power.svc:9090"})


class Scene:
    """A plain service with a user's own ScaledObject, KEDA's HPA for it, and 12 replicas under a cap of 12."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def open(self, *triggers: Trigger, owner: OwnerReference | None = None, pause: str = "") -> None:
        world = self.world
        world.policy()
        world.workload("chat-predictor")
        self.scale(12)
        scaled = world.cluster.create(
            ScaledObject(
                metadata=ObjectMeta(
                    name="mine",
                    namespace=NAMESPACE,
                    annotations={f"autoscaling.keda.sh/{pause}": "12"} if pause else {},
                    owner_references=() if owner is None else (owner,),
                ),
                spec=ScaledObjectSpec(
                    scale_target_ref=ScaledObjectTarget(name="chat-predictor"),
                    min_replica_count=3,
                    max_replica_count=20,
                    triggers=(OURS,),
                ),
            )
        )
        if triggers:
            # The twin runs one trigger; here nothing runs.
            scaled = world.cluster.replace(replace(scaled, spec=replace(scaled.spec, triggers=triggers)))
        meta = ObjectMeta(
            name="keda-hpa-mine",
            namespace=NAMESPACE,
            owner_references=(OwnerReference(kind="ScaledObject", name="mine", uid=scaled.metadata.uid),),
        )
        target = CrossVersionTarget(kind="Deployment", name="chat-predictor")
        spec = HorizontalPodAutoscalerSpec(scale_target_ref=target, min_replicas=3, max_replicas=20)
        world.cluster.create(HorizontalPodAutoscaler(metadata=meta, spec=spec))
        await world.recommend(12)
        await self.ask(True, 8)

    def scale(self, replicas: int) -> None:
        found = self.world.get(Deployment, "chat-predictor")
        self.world.cluster.replace(replace(found, spec=replace(found.spec, replicas=replicas)))

    async def ask(self, answers: bool, count: int, *, service: ActuatorService | None = None) -> None:
        """Lets the scaler answer or not, for so many passes of two seconds."""
        self.world.scaler_answers = answers
        for _ in range(count):
            await (service or self.world.service).ask_scaler()
            await self.world.passes(service=service)

    def bounds(self) -> tuple[int | None, int]:
        spec = self.world.get(HorizontalPodAutoscaler, "keda-hpa-mine").spec
        return spec.min_replicas, spec.max_replicas

    def change_bounds(self, minimum: int, maximum: int) -> None:
        found = self.world.get(HorizontalPodAutoscaler, "keda-hpa-mine")
        self.world.cluster.replace(replace(found, spec=replace(found.spec, min_replicas=minimum, max_replicas=maximum)))

    def pause(self) -> str | None:
        return self.world.get(ScaledObject, "mine").metadata.annotations.get(PAUSED_REPLICAS)

    def annotate(self, value: str | None) -> None:
        found = self.world.get(ScaledObject, "mine")
        annotations = {} if value is None else {PAUSED_REPLICAS: value}
        self.world.cluster.replace(replace(found, metadata=replace(found.metadata, annotations=annotations)))

    def say(self, status: ScaledObjectStatus) -> None:
        self.world.cluster.replace(replace(self.world.get(ScaledObject, "mine"), status=status))

    def braked(self) -> tuple[str, str]:
        found = self.world.condition("Braked")
        return ("", "") if found is None else (found.status, found.reason)

    async def follow(self, other: ActuatorService, *, answers: bool) -> None:
        """Lets another leader act for a while."""
        self.world.scaler_answers = answers
        for _ in range(16):
            await self.world.wait(2.0)
            await other.leadership.renew()
            await other.ask_scaler()
            await other.act()
