"""A small cluster with KServe's services, and an actuator that a test moves pass by pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from kserve_hooks.metrics import ActuatorMetrics
from kserve_hooks.plan import PlanOptions
from kserve_hooks.reverts import RevertOptions
from kserve_hooks.scaled_objects import TriggerOptions
from kserve_hooks.service import ActuatorOptions, ActuatorService
from tests.unit.scaler.hand_clock import HandClock
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition, LabelSelector, ObjectMeta, OwnerReference, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import ActuationRules, Mode, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    Reason,
    Violation,
)
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.errors import ClusterError, UnreachableError
from wattkeeper.cluster.interface import ChangeHandler, View, Watched
from wattkeeper.cluster.kserve import InferenceService, KServeService, LLMInferenceService, ManagedFields
from wattkeeper.cluster.objects import Deployment, DeploymentSpec, Pod, PodTemplate, ScaledObject
from wattkeeper.simulation.cluster import TwinCluster

NOW = 1_800_000_000.0
NAMESPACE = "llm"
CLASS = "serving.kserve.io/autoscalerClass"
OPTIONS = ActuatorOptions(
    namespace="wattkeeper",
    holder="actuator-0",
    pass_seconds=2.0,
    warm_up_seconds=10.0,
    plan=PlanOptions(
        trigger=TriggerOptions(address="wattkeeper.power.svc:9090", tls=True, authentication="wattkeeper"),
        reverts=RevertOptions(limit=3, pause_seconds=600.0),
        raise_seconds=30.0,
    ),
)
T = TypeVar("T", bound=Watched)


class LateView:
    """The cluster's picture, of which a test lets kinds stand still: a watch that is late."""

    def __init__(self, live: View) -> None:
        self._live = live
        self._still: dict[type[Watched], dict[str, Any]] = {}

    def stand_still(self, *kinds: type[Watched]) -> None:
        self._still |= {kind: dict(self._live.all(kind)) for kind in kinds}

    def catch_up(self) -> None:
        self._still.clear()

    def all(self, kind: type[T]) -> Mapping[str, T]:
        return self._still.get(kind, self._live.all(kind))

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        if kind not in self._still:
            return self._live.get(kind, namespace, name)
        named = (one for one in self._still[kind].values() if one.metadata.namespace == namespace)
        return next((one for one in named if one.metadata.name == name), None)

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        self._live.subscribe(kind, handler)

    def synced(self) -> bool:
        return self._live.synced()

    def staleness_seconds(self, now: float) -> float:
        return self._live.staleness_seconds(now)


class FailingCluster(TwinCluster):
    """A cluster whose writes fail as a test says, and which notes what was written.

    Attributes:
        written: verbs, in order.
        failing: what each verb raises.
        most_writes: after so many none comes through, None for no limit.
        late: the view that the actuator has.
    """

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.written: list[str] = []
        self.failing: dict[str, ClusterError] = {}
        self.most_writes: int | None = None
        self.late = LateView(self.objects)

    @property
    def view(self) -> View:
        return self.late

    async def hold_recommendation(self, one: PowerRecommendation, *, held: bool) -> None:
        self._note("hold" if held else "let go")
        await super().hold_recommendation(one, held=held)

    async def write_actuation(self, regarding: PowerRecommendation, **said: Any) -> None:
        self._note("status")
        await super().write_actuation(regarding, **said)

    async def set_replica_fields(self, service: KServeService, fields: Any) -> None:
        self._note("fields")
        await super().set_replica_fields(service, fields)

    async def apply_scaled_object(self, wanted: ScaledObject) -> None:
        self._note("apply")
        await super().apply_scaled_object(wanted)

    async def delete_scaled_object(self, gone: ScaledObject) -> None:
        self._note("delete")
        await super().delete_scaled_object(gone)

    async def set_brake(self, target: Brakeable, fields: Any, *, if_ours: bool = False) -> None:
        self._note("sweep" if if_ours else "brake")
        await super().set_brake(target, fields, if_ours=if_ours)

    async def set_deletion_cost(self, pod: Pod, cost: int | None) -> None:
        self._note("cost")
        await super().set_deletion_cost(pod, cost)

    async def evict(self, pod: Pod) -> None:
        self._note("evict")
        await super().evict(pod)

    def _note(self, verb: str) -> None:
        if self.most_writes is not None and len(self.written) >= self.most_writes:
            raise UnreachableError("no answer")
        if verb in self.failing:
            raise self.failing[verb]
        self.written.append(verb)


class World:
    """The cluster, its clock, and one replica of the actuator."""

    def __init__(self, options: ActuatorOptions = OPTIONS) -> None:
        self.clock = HandClock(NOW)
        self.cluster = FailingCluster(self.clock)
        self.registry = CollectorRegistry()
        self.scaler_answers = True
        self.service = self.replica(options, registry=self.registry)

    def replica(self, options: ActuatorOptions, *, registry: CollectorRegistry | None = None) -> ActuatorService:
        metrics = ActuatorMetrics(registry or CollectorRegistry())
        return ActuatorService(
            cluster=self.cluster,
            clock=self.clock,
            metrics=metrics,
            options=options,
            scaler_answers=self.answers,
        )

    async def answers(self) -> bool:
        return self.scaler_answers

    async def start(self) -> None:
        """Leads, with warm caches."""
        await self.cluster.start()
        self.cluster.create(
            PowerBudget(
                metadata=ObjectMeta(name="hall"),
                spec=PowerBudgetSpec(limit_watts=1e6),
                status=PowerBudgetStatus(last_evaluated=format_instant(NOW)),
            )
        )
        await self.service.leadership.renew()
        await self.service.act()
        await self.wait(OPTIONS.warm_up_seconds)

    async def passes(self, count: int = 1, *, service: ActuatorService | None = None) -> None:
        """Makes passes, two seconds apart, with fresh decisions."""
        for _ in range(count):
            await self.wait(2.0)
            await (service or self.service).act()

    async def wait(self, seconds: float) -> None:
        """Lets time go by while the leader decides and renews."""
        while seconds > 0:
            await self.clock.forward(min(seconds, 5.0))
            seconds -= 5.0
            found = self.get(PowerBudget, "hall", namespace="")
            fresh = replace(found.status, last_evaluated=format_instant(self.clock.now()))
            await self.cluster.write_status(replace(found, status=fresh))
            await self.service.leadership.renew()

    def get(self, kind: type[T], name: str, *, namespace: str = NAMESPACE) -> T:
        found = self.cluster.objects.get(kind, namespace, name)
        assert found is not None, f"{kind.__name__} {name}"
        return found

    def find(self, kind: type[T], name: str) -> T | None:
        return self.cluster.objects.get(kind, NAMESPACE, name)

    def policy(self, *, mode: Mode = "Scale", lower: bool = False, name: str = "capped") -> None:
        self.cluster.create(
            PowerCappingPolicy(
                metadata=ObjectMeta(name=name, namespace=NAMESPACE),
                spec=PowerCappingPolicySpec(
                    selector=LabelSelector(match_labels={"app": "chat"}),
                    mode=mode,
                    actuation=ActuationRules(lower_min_replicas=lower),
                ),
            )
        )

    def inference_service(self, autoscaler: str = "hpa", **predictor: Any) -> InferenceService:
        """Creates an InferenceService with its predictor's Deployment, and a policy's recommendation for 8 replicas."""
        raw: dict[str, Any] = {
            "metadata": {"name": "chat", "namespace": NAMESPACE, "annotations": {CLASS: autoscaler}},
            "spec": {"predictor": predictor},
        }
        service = self.cluster.create(msgspec.convert(raw, InferenceService))
        self.workload("chat-predictor", service)
        return service

    def llm(self, *, part: str = "chat-kserve", **spec: Any) -> LLMInferenceService:
        raw: dict[str, Any] = {"metadata": {"name": "chat", "namespace": NAMESPACE}, "spec": spec}
        service = self.cluster.create(msgspec.convert(raw, LLMInferenceService))
        self.workload(part, service)
        return service

    def workload(
        self, name: str, service: KServeService | None = None, *, annotations: dict[str, str] | None = None
    ) -> None:
        """Creates a Deployment, of KServe's where a service is given."""
        owners: tuple[OwnerReference, ...] = ()
        if service is not None:
            kind, meta = type(service).__name__, service.metadata
            group = "serving.kserve.io/v1beta1"
            owners = (OwnerReference(api_version=group, kind=kind, name=meta.name, uid=meta.uid, controller=True),)
        labels = {"app": name}
        meta = ObjectMeta(name=name, namespace=NAMESPACE, owner_references=owners, annotations=annotations or {})
        template = PodTemplate(metadata=ObjectMeta(labels=labels))
        spec = DeploymentSpec(selector=LabelSelector(match_labels=labels), template=template)
        self.cluster.create(Deployment(metadata=meta, spec=spec))

    async def recommend(
        self,
        target: int,
        *,
        name: str = "chat-predictor",
        reason: Reason = "BudgetBinds",
        mode: str = "Scale",
        floor: int = 0,
        upper: int = 20,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        """Writes what the leader would."""
        meta = ObjectMeta(name=f"deployment-{name}", namespace=NAMESPACE)
        reference = ScaleTargetRef(kind="Deployment", name=name)
        spec = PowerRecommendationSpec(scale_target_ref=reference, policy="capped")
        status = PowerRecommendationStatus(
            mode=mode,
            target=Amount(replicas=target),
            lower_bound=Amount(replicas=floor),
            upper_bound=Amount(replicas=upper),
            reason=reason,
            violations=violations,
        )
        one = PowerRecommendation(metadata=meta, spec=spec, status=status)
        await self.cluster.apply(PowerRecommendation(metadata=meta, spec=spec))
        await self.cluster.write_status(one)

    def recommendation(self, name: str = "chat-predictor") -> PowerRecommendation:
        return self.get(PowerRecommendation, f"deployment-{name}")

    def condition(self, type_: str = "Actuated", name: str = "chat-predictor") -> Condition | None:
        found = self.recommendation(name).status.conditions
        return next((one for one in found if one.type == type_), None)

    def reason(self, name: str = "chat-predictor") -> tuple[str, str]:
        found = self.condition(name=name)
        return ("", "") if found is None else (found.status, found.reason)

    def bounds(self) -> tuple[int | None, int | None]:
        """Returns the predictor's minReplicas and maxReplicas."""
        predictor = self.get(InferenceService, "chat").spec.predictor
        return predictor.min_replicas, predictor.max_replicas

    def edit(self, *, manager: str = "argocd", **predictor: int | None) -> None:
        """Changes the predictor as somebody else would."""
        found = self.get(InferenceService, "chat")
        changed = replace(found.spec.predictor, **predictor)
        fields: dict[str, Any] = {"f:spec": {"f:predictor": {"f:maxReplicas": {}, "f:minReplicas": {}}}}
        managed = msgspec.convert([{"manager": manager, "fieldsV1": fields}], tuple[ManagedFields, ...])
        self.cluster.replace(
            replace(
                found,
                spec=replace(found.spec, predictor=changed),
                metadata=replace(found.metadata, managed_fields=managed),
            )
        )

    def events(self) -> list[str]:
        return [seen.record.reason for seen in self.cluster.events]
