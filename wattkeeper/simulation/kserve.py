"""KServe's controller in Standard mode, as far as replicas go: who scales the predictor of an InferenceService.

As KServe 0.20 does it (docs/designs/0003-actuator.md): class hpa, also where none is set, has an HPA that is named like
the Deployment, and class keda a ScaledObject; both follow the service's bounds within seconds, and what anybody else
writes into their specs is reverted. The Deployment itself is its user's to make here. Others scale class external.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.kserve import AUTOSCALER_ANNOTATION, InferenceService
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    Deployment,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    Metric,
    MetricTarget,
    ResourceMetric,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster

KSERVE_RANK: Final = 15
# The HPA follows a changed maxReplicas within three seconds; the twin moves by seconds.
_SECONDS: Final = 1.0


class KServe:
    """Keeps what scales predictors as their services say."""

    def __init__(self, cluster: TwinCluster, clock: SteppedClock) -> None:
        self._cluster = cluster
        self._clock = clock

    def start(self) -> asyncio.Task[None]:
        """Looks each second from now on."""
        return self._clock.start(self._run(), name="kserve", rank=KSERVE_RANK)

    def reconcile(self) -> None:
        """Makes what is missing, and puts right what differs."""
        for service in list(self._cluster.objects.all(InferenceService).values()):
            meta = service.metadata
            if self._cluster.objects.get(Deployment, meta.namespace, predictor_name(service)) is None:
                continue
            match meta.annotations.get(AUTOSCALER_ANNOTATION, "hpa"):
                case "hpa":
                    self._bring(HorizontalPodAutoscaler(metadata=_owned(service), spec=_hpa_spec(service)))
                case "keda":
                    self._bring(ScaledObject(metadata=_owned(service), spec=_scaled_object_spec(service)))
                case _:
                    continue

    def _bring(self, wanted: HorizontalPodAutoscaler | ScaledObject) -> None:
        meta = wanted.metadata
        found = self._cluster.objects.get(type(wanted), meta.namespace, meta.name)
        if found is None:
            self._cluster.create(wanted)
        elif found.spec != wanted.spec:
            self._cluster.replace(replace(found, spec=wanted.spec))

    async def _run(self) -> None:
        while True:
            self.reconcile()
            await self._clock.sleep(_SECONDS)


def predictor_name(service: InferenceService) -> str:
    """Returns what KServe calls the Deployment of a predictor, and what scales it."""
    return f"{service.metadata.name}-predictor"


def bounds_of(service: InferenceService) -> tuple[int, int]:
    """Returns the least and the most replicas: KServe reads a maximum of 0, and one below the minimum, as the minimum.

    >>> from wattkeeper.cluster.kserve import Component, InferenceServiceSpec, KServeMeta
    >>> spec = InferenceServiceSpec(predictor=Component(min_replicas=2))
    >>> bounds_of(InferenceService(metadata=KServeMeta(name="chat"), spec=spec))
    (2, 2)
    """
    predictor = service.spec.predictor
    least = 1 if predictor.min_replicas is None else predictor.min_replicas
    return least, max(predictor.max_replicas or 0, least, 1)


def _owned(service: InferenceService) -> ObjectMeta:
    meta = service.metadata
    owner = OwnerReference(
        kind="InferenceService",
        name=meta.name,
        uid=meta.uid,
        api_version="serving.kserve.io/v1beta1",
        controller=True,
    )
    return ObjectMeta(name=predictor_name(service), namespace=meta.namespace, owner_references=(owner,))


def _hpa_spec(service: InferenceService) -> HorizontalPodAutoscalerSpec:
    least, most = bounds_of(service)
    cpu = ResourceMetric(name="cpu", target=MetricTarget(type="Utilization"))
    return HorizontalPodAutoscalerSpec(
        scale_target_ref=CrossVersionTarget(kind="Deployment", name=predictor_name(service), api_version="apps/v1"),
        min_replicas=max(least, 1),
        max_replicas=most,
        metrics=(Metric(type="Resource", resource=cpu),),
    )


def _scaled_object_spec(service: InferenceService) -> ScaledObjectSpec:
    least, most = bounds_of(service)
    return ScaledObjectSpec(
        scale_target_ref=ScaledObjectTarget(name=predictor_name(service)),
        min_replica_count=least,
        max_replica_count=most,
        triggers=(Trigger(type="prometheus", metric_type="AverageValue"),),
    )
