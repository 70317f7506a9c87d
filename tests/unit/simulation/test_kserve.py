"""The simulated KServe, and the HPAs that it makes: bounds follow the service, and replicas follow the bounds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.simulation.fixtures import SetClock, deployment, node
from wattkeeper.cluster.kserve import (
    AUTOSCALER_ANNOTATION,
    Component,
    InferenceService,
    InferenceServiceSpec,
    KServeMeta,
)
from wattkeeper.cluster.objects import Deployment, HorizontalPodAutoscaler, ScaledObject
from wattkeeper.simulation.clock import SteppedClock
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.kserve import KServe
from wattkeeper.simulation.measured_hpa import MeasuredHpas


def service(scaler: str = "", *, least: int | None = None, most: int | None = None) -> InferenceService:
    annotations = {AUTOSCALER_ANNOTATION: scaler} if scaler else {}
    return InferenceService(
        metadata=KServeMeta(name="chat", namespace="llm", annotations=annotations),
        spec=InferenceServiceSpec(predictor=Component(min_replicas=least, max_replicas=most)),
    )


class Scene:
    """One InferenceService, the Deployment of its predictor, and what scales it."""

    def __init__(self, wanted: InferenceService, *, replicas: int = 2) -> None:
        self.cluster = TwinCluster(SetClock())
        clock = SteppedClock(1_000.0)
        self.cluster.create(node("n", gpus=64))
        self.cluster.create(deployment("chat-predictor", replicas=replicas))
        self.cluster.create(wanted)
        self.kserve = KServe(self.cluster, clock)
        self.measured: tuple[float, float] | None = None
        self.hpas = MeasuredHpas(self.cluster, clock, lambda _, __: self.measured)
        self.kserve.reconcile()

    def hpa(self) -> HorizontalPodAutoscaler | None:
        return self.cluster.view.get(HorizontalPodAutoscaler, "llm", "chat-predictor")

    def scaled_object(self) -> ScaledObject | None:
        return self.cluster.view.get(ScaledObject, "llm", "chat-predictor")

    def replicas(self) -> int:
        found = self.cluster.view.get(Deployment, "llm", "chat-predictor")
        assert found is not None
        return found.spec.replicas

    def limit(self, most: int) -> None:
        found = self.cluster.view.get(InferenceService, "llm", "chat")
        assert found is not None
        spec = replace(found.spec, predictor=replace(found.spec.predictor, max_replicas=most))
        self.cluster.replace(replace(found, spec=spec))
        self.kserve.reconcile()


@pytest.mark.parametrize("scaler", ["", "hpa"])
def test_class_hpa_and_none_set_have_an_hpa_with_the_bounds_of_the_service(scaler: str) -> None:
    scene = Scene(service(scaler, least=2, most=5))

    found = scene.hpa()
    assert found is not None
    assert (found.spec.scale_target_ref.name, found.spec.min_replicas, found.spec.max_replicas) == (
        "chat-predictor",
        2,
        5,
    )
    assert scene.scaled_object() is None


def test_class_keda_has_a_scaled_object_that_belongs_to_the_service() -> None:
    scene = Scene(service("keda", most=5))

    found = scene.scaled_object()
    assert found is not None
    assert [owner.kind for owner in found.metadata.owner_references] == ["InferenceService"]
    assert (found.spec.min_replica_count, found.spec.max_replica_count) == (1, 5)
    assert scene.hpa() is None


def test_class_external_is_left_to_others() -> None:
    scene = Scene(service("external", most=5))

    assert (scene.hpa(), scene.scaled_object()) == (None, None)


@pytest.mark.parametrize("most", [None, 0, 1])
def test_a_maximum_that_is_unset_or_below_the_minimum_is_the_minimum(most: int | None) -> None:
    found = Scene(service(least=3, most=most)).hpa()

    assert found is not None
    assert found.spec.max_replicas == 3


def test_the_bounds_of_what_scales_follow_the_service() -> None:
    scene = Scene(service(most=5))
    scene.limit(2)

    found = scene.hpa()
    assert found is not None
    assert found.spec.max_replicas == 2


def test_what_somebody_else_writes_into_its_scaled_object_is_reverted() -> None:
    scene = Scene(service("keda", most=5))
    found = scene.scaled_object()
    assert found is not None
    scene.cluster.replace(replace(found, spec=replace(found.spec, max_replica_count=1)))
    scene.kserve.reconcile()

    reverted = scene.scaled_object()
    assert reverted is not None
    assert reverted.spec == found.spec


def test_replicas_come_down_to_a_lower_maximum_at_the_next_sync_whatever_is_measured() -> None:
    scene = Scene(service(most=5), replicas=4)
    scene.measured = (400.0, 100.0)
    scene.hpas.sync()
    scene.limit(2)
    scene.hpas.sync()

    assert scene.replicas() == 2


def test_replicas_follow_what_is_measured_up_to_the_maximum() -> None:
    scene = Scene(service(most=3), replicas=1)
    scene.measured = (900.0, 100.0)
    scene.hpas.sync()

    assert scene.replicas() == 3


def test_nothing_is_scaled_while_nothing_is_measured() -> None:
    scene = Scene(service(most=5))
    scene.hpas.sync()

    assert scene.replicas() == 2


def test_the_hpa_that_keda_made_is_left_to_keda() -> None:
    scene = Scene(service(most=5))
    found = scene.hpa()
    assert found is not None
    owners = tuple(replace(owner, kind="ScaledObject") for owner in found.metadata.owner_references)
    scene.cluster.replace(replace(found, metadata=replace(found.metadata, owner_references=owners)))
    scene.measured = (900.0, 100.0)
    scene.hpas.sync()

    assert scene.replicas() == 2
