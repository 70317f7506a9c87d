"""A service with pods on a rack that is nearly used up, a rack beside it, and everybody who scales, places and runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec.structs import replace

from kserve_hooks.service import ActuatorService
from tests.unit.kserve_hooks.world import NAMESPACE, World
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import ActuationRules, Disruption, Mode, PowerCappingPolicy
from wattkeeper.api.power_migration import RESERVING, PodReference, PowerMigration, PowerMigrationSpec, Reservation
from wattkeeper.api.power_recommendation import (
    Amount,
    MovablePod,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    Violation,
)
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.errors import UnreachableError
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import (
    Deployment,
    Node,
    Pod,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from wattkeeper.simulation.controllers import ReplicaController, is_ready
from wattkeeper.simulation.kubelet import Kubelet, Stage

SERVICE: Final = "chat-predictor"
POD_WATTS: Final = 500.0
WRITES: Final = (
    "create_migration",
    "hold_migration",
    "write_migration",
    "set_deletion_cost",
    "evict",
    "hold_recommendation",
    "write_actuation",
    "set_replica_fields",
    "delete",
)
"""Every verb with which the actuator moves a pod."""


class Scene:
    """Three pods on node a1 of rack-a. New ones land where `node` says.

    Attributes:
        demand: how many replicas the traffic asks for.
        reserves: what the leader says about one pod more.
        hot: the leader finds that a pod of rack-a could move.
        least: the fewest ready pods at the end of any turn.
        scales: the autoscaler does its work.
        ceiling: the cap of a service that KServe's HPA scales.
        over: rack-a is over its limit.
        late: how many generations the Deployment controller has not seen yet.
        others_watts: what others draw on rack-a.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        cluster = world.cluster
        self.kubelet = Kubelet(cluster, load_seconds=lambda _: 3.0, grace_seconds=lambda _: 3.0)
        self.controller = ReplicaController(cluster, self.kubelet, 1)
        cluster.disruption.end = lambda pod: self.kubelet.delete(pod, world.clock.now())
        self.autoscaler = "external"
        self.mode: Mode = "Migrate"
        self.demand = 3
        self.reserves: Literal["Reserved", "Refused", ""] = "Reserved"
        self.hot = True
        self.scales = True
        self.node = "a1"
        self.over = False
        self.least = 99
        self.ceiling = 8
        self.others_watts = 0.0
        self.late = 0

    async def open(
        self, autoscaler: str = "external", *, mode: Mode = "Migrate", raises: bool = True, **predictor: Any
    ) -> None:
        """Lets three pods run on rack-a, and the actuator lead for as long as rates need."""
        world, self.autoscaler, self.mode = self.world, autoscaler, mode
        for rack in ("a", "b"):
            labels = {"rack": rack}
            world.cluster.create(Node(metadata=ObjectMeta(name=f"{rack}1", labels=labels)))
            spec = PowerBudgetSpec(limit_watts=2000.0, node_selector=LabelSelector(match_labels=labels))
            world.cluster.create(PowerBudget(metadata=ObjectMeta(name=f"rack-{rack}"), spec=spec))
        world.policy(mode=mode)
        policy = world.get(PowerCappingPolicy, "capped")
        rules = replace(
            policy.spec,
            actuation=ActuationRules(raise_min_replicas=raises),
            disruption=Disruption(max_per_hour=3600),
        )
        world.cluster.replace(replace(policy, spec=rules))
        if autoscaler == "none":
            predictor.setdefault("minReplicas", self.demand)
        world.inference_service(autoscaler, **predictor)
        hot, self.hot = self.hot, False
        self.scale(self.demand)
        await self.turns(6)
        self.hot, self.node, self.least = hot, "b1", 99

    async def turns(self, count: int = 1, *, service: ActuatorService | None = None) -> None:
        """Everybody acts, in turns of two seconds; the actuator last, unless it is dead."""
        for _ in range(count):
            await self.decide()
            if self.scales:
                self.autoscale()
            self.run()
            self.least = min(self.least, sum(is_ready(pod) for pod in self.pods() if not ends(pod)))
            await self.world.wait(2.0)
            if service is not None:
                await service.leadership.renew()
            await (service or self.world.service).act()

    async def until(self, phase: str, *, most: int = 400) -> None:
        """Takes turns until the migration is in a phase."""
        for _ in range(most):
            if self.phase() == phase:
                return
            await self.turns()
        raise AssertionError(f"not {phase}: {[one.status for one in self.migrations()]}")

    async def later(self, seconds: float) -> None:
        """Lets time go by in which nobody does anything: the actuator has to warm up again afterwards."""
        await self.world.clock.forward(seconds)

    async def decide(self) -> None:
        """What the leader of the scaler writes."""
        world = self.world
        granted = self.demand
        for one in list(world.cluster.objects.all(PowerMigration).values()):
            if one.status.phase in RESERVING and self.reserves:
                said = Reservation(
                    state=self.reserves, replicas=self.demand + 1, message="no room" * (not self.reserved)
                )
                await world.cluster.write_status(replace(one, status=replace(one.status, reservation=said)))
                granted += self.reserved
        mine = [pod for pod in self.pods() if pod.spec.node_name == "a1" and is_ready(pod)]
        movable = [
            MovablePod(name=pod.metadata.name, uid=pod.metadata.uid, budget="rack-a", watts=POD_WATTS) for pod in mine
        ]
        meta = ObjectMeta(name=f"deployment-{SERVICE}", namespace=NAMESPACE)
        reference = ScaleTargetRef(kind="Deployment", name=SERVICE)
        spec = PowerRecommendationSpec(scale_target_ref=reference, policy="capped")
        status = PowerRecommendationStatus(
            mode=self.mode,
            target=Amount(replicas=granted if self.autoscaler != "hpa" else self.ceiling),
            lower_bound=Amount(replicas=0),
            upper_bound=Amount(replicas=20),
            reason="DemandMet",
            violations=(Violation(type="Budget", since="2026-01-01T00:00:00Z", budget="rack-a"),) * self.over,
            movable_pods=tuple(movable) if self.hot else (),
        )
        if world.find(PowerRecommendation, meta.name) is None:
            await world.cluster.apply(PowerRecommendation(metadata=meta, spec=spec))
        found = world.recommendation()
        await world.cluster.write_status(replace(found, status=status))
        for rack in ("a", "b"):
            budget = world.get(PowerBudget, f"rack-{rack}", namespace="")
            pods = sum(pod.spec.node_name == f"{rack}1" for pod in self.pods())
            evaluated = PowerBudgetStatus(
                guarded_watts=pods * POD_WATTS + (self.others_watts if rack == "a" else 0.0),
                over_watts=100.0 if self.over and rack == "a" else 0.0,
                last_evaluated=format_instant(world.clock.now()),
            )
            await world.cluster.write_status(replace(budget, status=evaluated))

    @property
    def reserved(self) -> bool:
        return self.reserves == "Reserved"

    def autoscale(self) -> None:
        """What KEDA, the HPA or KServe makes of it."""
        predictor = self.world.get(InferenceService, "chat").spec.predictor
        least = 1 if predictor.min_replicas is None else predictor.min_replicas
        match self.autoscaler:
            case "external":
                self.scale(self.world.recommendation().status.target.replicas)
            case "hpa":
                self.scale(min(max(self.demand, least), predictor.max_replicas or least))
            case _:
                self.scale(least)

    def run(self) -> None:
        """What the Deployment controller, the scheduler and the kubelets do."""
        now = self.world.clock.now()
        self.controller.reconcile(now)
        self.observe()
        for pod in self.pods():
            if not pod.spec.node_name:
                self.world.cluster.replace(replace(pod, spec=replace(pod.spec, node_name=self.node)))
        self.kubelet.reconcile(now)
        for uid, one in list(self.kubelet.running.items()):
            if one.stage is Stage.DRAINING and one.until <= now:
                self.kubelet.exit(uid)
        self.controller.reconcile(now)
        self.observe()

    def observe(self) -> None:
        """What the Deployment controller says it has seen, unless it is late."""
        found = self.world.get(Deployment, SERVICE)
        seen = found.metadata.generation - self.late
        self.world.cluster.replace(replace(found, status=replace(found.status, observed_generation=seen)))

    def scale(self, replicas: int) -> None:
        self.world.cluster.scale(namespace=NAMESPACE, name=SERVICE, replicas=replicas)

    def replicas(self) -> int:
        return self.world.get(Deployment, SERVICE).spec.replicas

    def pods(self) -> list[Pod]:
        return list(self.world.cluster.objects.all(Pod).values())

    def on(self, node: str) -> list[Pod]:
        return [pod for pod in self.pods() if pod.spec.node_name == node]

    def migrations(self) -> list[PowerMigration]:
        return sorted(self.world.cluster.objects.all(PowerMigration).values(), key=lambda one: one.metadata.name)

    def migration(self) -> PowerMigration:
        (one,) = self.migrations()
        return one

    def phase(self) -> str:
        found = self.migrations()
        return found[0].status.phase if found else ""

    def reason(self) -> str:
        """Returns how the migration ended."""
        return next((one.reason for one in self.migration().status.conditions if one.type == "Complete"), "")

    def old(self) -> Pod | None:
        return self.world.cluster.objects.all(Pod).get(self.migration().spec.pod.uid)

    def costs(self) -> list[str]:
        """Returns every deletion cost that any pod has."""
        return [
            one.metadata.annotations[DELETION_COST] for one in self.pods() if DELETION_COST in one.metadata.annotations
        ]

    def kill_pod(self, pod: Pod) -> None:
        """Deletes a pod, as somebody else would."""
        self.kubelet.delete(self.world.cluster.objects.all(Pod)[pod.metadata.uid], self.world.clock.now())

    def roll(self) -> None:
        """Begins a rollout."""
        found = self.world.get(Deployment, SERVICE)
        template = found.spec.template
        meta = replace(template.metadata, annotations={"rolled": str(self.world.clock.now())})
        spec = replace(found.spec, template=replace(template, metadata=meta))
        self.world.cluster.replace(replace(found, spec=spec))

    def protect(self, allowed: int) -> None:
        """Has a PodDisruptionBudget allow so many disruptions."""
        old = self.world.find(PodDisruptionBudget, "chat")
        status = PodDisruptionBudgetStatus(disruptions_allowed=allowed, observed_generation=1)
        if old is not None:
            self.world.cluster.replace(replace(old, status=status))
            return
        spec = PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": SERVICE}))
        self.world.cluster.create(
            PodDisruptionBudget(metadata=ObjectMeta(name="chat", namespace=NAMESPACE), spec=spec, status=status)
        )

    def make(self, pod: Pod, *, name: str = "mine", budget: str = "rack-a") -> PowerMigration:
        """Makes a migration, as a person would."""
        meta = pod.metadata
        return self.world.cluster.create(
            PowerMigration(
                metadata=ObjectMeta(name=name, namespace=NAMESPACE),
                spec=PowerMigrationSpec(
                    scale_target_ref=ScaleTargetRef(kind="Deployment", name=SERVICE),
                    pod=PodReference(name=meta.name, uid=meta.uid, node=pod.spec.node_name),
                    budget=budget,
                ),
            )
        )

    def leaks(self) -> list[str]:
        """Returns what a migration that has ended has left behind."""
        found = [f"deletion cost {cost}" for cost in self.costs()]
        found += [f"finalizer of {one.metadata.name}" for one in self.migrations() if one.metadata.finalizers]
        actuation = self.world.recommendation().status.actuation
        found += [f"note of {one.field}" for one in (() if actuation is None else actuation.fields)]
        return found


def ends(pod: Pod) -> bool:
    return bool(pod.metadata.deletion_timestamp)


class Death:
    """Ends an actuator at one of its writes: before it is made, or after it was made and before anybody knows.

    Attributes:
        writes: how many were made, or tried.
        dead: no write of this replica comes through any more.
    """

    def __init__(self, scene: Scene, *, at: int, after: bool) -> None:
        self.writes = 0
        self.dead = False
        for verb in WRITES:
            do = getattr(scene.world.cluster, verb)
            setattr(scene.world.cluster, verb, self._dying(do, at, after))

    def _dying(self, do: Callable[..., Any], at: int, after: bool) -> Callable[..., Any]:
        async def write(*args: Any, **named: Any) -> None:
            self.writes += not self.dead
            if self.dead or (self.writes == at and not after):
                self.dead = True
                raise UnreachableError("no answer")
            await do(*args, **named)
            if self.writes == at:
                self.dead = True
                raise UnreachableError("no answer")

        return write

    def revive(self) -> None:
        """Lets writes through again: another replica makes them."""
        self.dead, self.writes = False, -10_000
