"""The HPA objects that KEDA makes, and what KEDA says of its ScaledObjects.

As measured on KEDA 2.21 (docs/designs/0003-actuator.md): an HPA can be made, changed or put back only while the scaler
answers GetMetricSpec; one that is there goes on as it stands; a pause removes it.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    Metric,
    ScaledObject,
    ScaledObjectCondition,
)
from wattkeeper.simulation.cluster import TwinCluster

_READY: Final = ScaledObjectCondition(type="Ready", status="True", reason="ScaledObjectReady")
_TRIGGER_ERROR: Final = ScaledObjectCondition(type="Ready", status="False", reason="TriggerError")
_ACTIVE: Final = ScaledObjectCondition(type="HPAActive", status="True", reason="ValidMetricFound")
_METRIC_FAILED: Final = ScaledObjectCondition(type="HPAActive", status="False", reason="FailedGetExternalMetric")


class KedaHpas:
    """Makes HPAs, and removes them."""

    def __init__(self, cluster: TwinCluster) -> None:
        self._cluster = cluster

    def of(self, scaled: ScaledObject) -> HorizontalPodAutoscaler | None:
        """Returns the HPA of a ScaledObject, None where there is none (any more, or yet)."""
        meta = scaled.metadata
        found = self._cluster.objects.get(HorizontalPodAutoscaler, meta.namespace, hpa_name(scaled))
        owned = found is not None and any(owner.uid == meta.uid for owner in found.metadata.owner_references)
        return found if owned else None

    def differs(self, scaled: ScaledObject) -> bool:
        """Says whether the HPA is not as KEDA would make it."""
        found = self.of(scaled)
        return found is None or found.spec != wanted_spec(scaled)

    def bring(self, scaled: ScaledObject) -> None:
        """Makes the HPA, or puts it back to what the ScaledObject says."""
        found = self.of(scaled)
        if found is not None:
            self._cluster.objects.update(replace(found, spec=wanted_spec(scaled)))
            return
        meta = scaled.metadata
        owner = OwnerReference(
            kind="ScaledObject", name=meta.name, uid=meta.uid, api_version="keda.sh/v1alpha1", controller=True
        )
        made = ObjectMeta(name=hpa_name(scaled), namespace=meta.namespace, owner_references=(owner,))
        self._cluster.create(HorizontalPodAutoscaler(metadata=made, spec=wanted_spec(scaled)))

    def remove(self, scaled: ScaledObject) -> None:
        """Removes the HPA: its ScaledObject is paused, or gone."""
        found = self.of(scaled)
        if found is not None:
            self._cluster.objects.remove(found)

    def say(self, scaled: ScaledObject, *, polled: bool | None = None, synced: bool | None = None) -> None:
        """Says in the status how the last poll, or the HPA's last sync, went."""
        said = {one.type: one for one in scaled.status.conditions}
        for condition in (
            None if polled is None else (_READY if polled else _TRIGGER_ERROR),
            None if synced is None else (_ACTIVE if synced else _METRIC_FAILED),
        ):
            if condition is not None:
                said[condition.type] = condition
        status = replace(scaled.status, conditions=tuple(said.values()))
        self._cluster.objects.update(replace(scaled, status=status))


def hpa_name(scaled: ScaledObject) -> str:
    """Returns what KEDA calls the HPA of a ScaledObject."""
    return f"keda-hpa-{scaled.metadata.name}"


def wanted_spec(scaled: ScaledObject) -> HorizontalPodAutoscalerSpec:
    """Returns the HPA's spec as KEDA makes it: an HPA cannot go below 1."""
    target = scaled.spec.scale_target_ref
    return HorizontalPodAutoscalerSpec(
        scale_target_ref=CrossVersionTarget(kind=target.kind, name=target.name, api_version="apps/v1"),
        min_replicas=max(scaled.spec.min_replica_count, 1),
        max_replicas=scaled.spec.max_replica_count,
        metrics=tuple(Metric(type="External") for _ in scaled.spec.triggers),
    )
