"""KEDA's operator and the HPA controller: a poll loop and a sync loop for every ScaledObject.

KEDA (2.21 pkg/scaling/executor/scale_scaledobjects.go) wakes a target from zero and takes it there after the cooldown;
between 1 and the maximum the HPA decides, within the bounds of its own object, and KEDA's operator looks each second
whether those are as it would make them. The annotation `autoscaling.keda.sh/paused-replicas` sets replicas and drops
the HPA.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wattkeeper.cluster.braking import PAUSE, read_held
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, ScaledObject
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.hpa import SYNC_SECONDS, Hpa, HpaSpec, parse_behavior
from wattkeeper.simulation.keda import MetricAnswer, MetricSource
from wattkeeper.simulation.keda_hpa import KedaHpas
from wattkeeper.simulation.workloads import Workload, find_workload

KEDA_RANK: Final = 20
OPERATOR_RANK: Final = 21
HPA_RANK: Final = 30
# A watch event reaches KEDA's operator well within a second; the twin moves by seconds.
_OPERATOR_SECONDS: Final = 1.0


@dataclass(kw_only=True, slots=True)
class _Scaled:
    """What KEDA and the HPA remember of one ScaledObject.

    Attributes:
        hpa_uid: of the object that `hpa` is the memory of: a new HPA remembers nothing.
    """

    uid: str
    hpa: Hpa = field(default_factory=Hpa)
    hpa_uid: str = ""
    last_active: float | None = None
    last_answer: MetricAnswer | None = None


class Autoscaler:
    """Scales every workload that a ScaledObject names."""

    def __init__(
        self,
        cluster: TwinCluster,
        clock: SteppedClock,
        source: MetricSource,
        *,
        sync_seconds: float = SYNC_SECONDS,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepares.

        Args:
            cluster: whose workloads are scaled.
            clock: both loops live in its time.
            source: where metrics come from.
            sync_seconds: how often the HPA looks.
            settle: called after each change of replicas, so that controllers act before anybody looks.
        """
        self._cluster = cluster
        self._clock = clock
        self._source = source
        self._sync_seconds = sync_seconds
        self._settle = settle
        self._hpas = KedaHpas(cluster)
        self._scaled: dict[str, _Scaled] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Takes up every ScaledObject that is there now, and each that comes later."""
        self._cluster.objects.subscribe(ScaledObject, self._changed)
        self._tasks.append(self._clock.start(self._operator_loop(), name="keda operator", rank=OPERATOR_RANK))
        self._tasks.append(self._clock.start(self._hpa_loop(), name="hpa", rank=HPA_RANK))

    async def stop(self) -> None:
        """Ends all loops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._source.close()

    def last_answer(self, scaled_object: ScaledObject) -> MetricAnswer | None:
        """Returns what the metric said last, for people."""
        scaled = self._scaled.get(scaled_object.metadata.uid)
        return scaled.last_answer if scaled else None

    def _changed(self, old: ScaledObject | None, new: ScaledObject | None) -> None:
        if old is None and new is not None:
            scaled = self._scaled[new.metadata.uid] = _Scaled(uid=new.metadata.uid)
            task = self._clock.start(self._keda_loop(scaled), name=f"keda {new.metadata.name}", rank=KEDA_RANK)
            self._tasks.append(task)
        elif new is None and old is not None:
            del self._scaled[old.metadata.uid]
            self._hpas.remove(old)

    async def _keda_loop(self, scaled: _Scaled) -> None:
        while (scaled_object := self._object(scaled)) is not None:
            if not self._paused(scaled_object):
                await self._poll(scaled, scaled_object)
            await self._clock.sleep(scaled_object.spec.polling_interval)

    async def _poll(self, scaled: _Scaled, scaled_object: ScaledObject) -> None:
        answer = await self._ask(scaled, scaled_object)
        workload = self._target(scaled_object)
        if workload is None:
            return
        now, spec, replicas = self._clock.now(), scaled_object.spec, workload.spec.replicas
        if answer.active:
            scaled.last_active = now
            if replicas == 0:
                self._scale(scaled_object, max(spec.min_replica_count, 1))
        elif not answer.error:
            cooled = scaled.last_active is None or now - scaled.last_active >= spec.cooldown_period
            if replicas > 0 and spec.min_replica_count == 0 and cooled:
                self._scale(scaled_object, 0)

    async def _ask(self, scaled: _Scaled, scaled_object: ScaledObject) -> MetricAnswer:
        """Polls once. While the scaler answers, the HPA becomes what the ScaledObject says."""
        answer = scaled.last_answer = await self._source.fetch(scaled_object)
        now = self._object(scaled)
        if now is not None and not self._paused(now):
            if answer.value is not None:
                self._hpas.bring(now)
            self._hpas.say(now, polled=answer.value is not None)
        return answer

    def _paused(self, scaled_object: ScaledObject) -> bool:
        """Holds a target at the replicas of a pause, where there is one: KEDA then has no HPA for it."""
        replicas = read_held(scaled_object, PAUSE)
        if replicas is None:
            return False
        self._hpas.remove(scaled_object)
        self._scale(scaled_object, replicas)
        return True

    async def _operator_loop(self) -> None:
        while True:
            await self._clock.sleep(_OPERATOR_SECONDS)
            for scaled in list(self._scaled.values()):
                scaled_object = self._object(scaled)
                if scaled_object is not None and not self._paused(scaled_object) and self._hpas.differs(scaled_object):
                    await self._ask(scaled, scaled_object)

    async def _hpa_loop(self) -> None:
        while True:
            for scaled in list(self._scaled.values()):
                scaled_object = self._object(scaled)
                found = None if scaled_object is None else self._hpas.of(scaled_object)
                if scaled_object is not None and found is not None:
                    await self._sync(scaled, scaled_object, found)
            await self._clock.sleep(self._sync_seconds)

    async def _sync(self, scaled: _Scaled, scaled_object: ScaledObject, found: HorizontalPodAutoscaler) -> None:
        if scaled.hpa_uid != found.metadata.uid:
            scaled.hpa, scaled.hpa_uid = Hpa(), found.metadata.uid
        workload = self._target(scaled_object)
        if workload is None or workload.spec.replicas == 0:
            return
        answer = scaled.last_answer = await self._source.fetch(scaled_object)
        seen = self._object(scaled)
        if seen is not None:
            self._hpas.say(seen, synced=answer.value is not None)
        spec = HpaSpec(
            minimum=found.spec.min_replicas or 1,
            maximum=found.spec.max_replicas,
            target=answer.target,
            behavior=parse_behavior(scaled_object.spec.advanced),
        )
        wanted = scaled.hpa.sync(
            spec,
            answer.value,
            replicas=workload.spec.replicas,
            status_replicas=workload.status.replicas,
            now=self._clock.now(),
        )
        self._scale(scaled_object, wanted)

    def _object(self, scaled: _Scaled) -> ScaledObject | None:
        return self._cluster.objects.all(ScaledObject).get(scaled.uid)

    def _target(self, scaled_object: ScaledObject) -> Workload | None:
        target = scaled_object.spec.scale_target_ref
        return find_workload(self._cluster.objects, target.kind, scaled_object.metadata.namespace, target.name)

    def _scale(self, scaled_object: ScaledObject, replicas: int) -> None:
        workload, target = self._target(scaled_object), scaled_object.spec.scale_target_ref
        if workload is not None and workload.spec.replicas != replicas:
            namespace = scaled_object.metadata.namespace
            self._cluster.scale(namespace=namespace, name=target.name, replicas=replicas, kind=target.kind)
            self._settle()
