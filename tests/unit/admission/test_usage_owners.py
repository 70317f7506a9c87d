from __future__ import annotations

import pytest

from admission.usage_owners import Owner, Owners
from tests.unit.admission.samples import NAMESPACE, SERVICE
from tests.unit.admission.usage_cluster import CAPPED, HASH, pod
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.readings import PodKey, ServiceKey
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.objects import (
    Deployment,
    DeploymentSpec,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    PodTemplate,
)


def deployment(name: str, labels: dict[str, str] = CAPPED) -> Deployment:
    template = PodTemplate(metadata=ObjectMeta(labels=labels))
    return Deployment(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=DeploymentSpec(template=template))


def group(name: str, labels: dict[str, str] = CAPPED) -> LeaderWorkerSet:
    template = LeaderWorkerTemplate(worker_template=PodTemplate(metadata=ObjectMeta(labels=labels)))
    return LeaderWorkerSet(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=LeaderWorkerSetSpec(leader_worker_template=template)
    )


def owner(name: str, *there: Watched, namespace: str = NAMESPACE) -> Owner | None:
    view = MemoryView()
    view.put(*there)
    return Owners(view).owner(PodKey(namespace, name))


def test_a_pod_that_is_there_is_known_by_what_its_controllers_wrote() -> None:
    assert owner(pod().metadata.name, pod()) == Owner(SERVICE, pod().metadata.uid)


def test_a_pod_that_is_gone_is_known_by_its_name() -> None:
    name = f"llm-predictor-{HASH}-b2c4d"
    assert owner(name, deployment("llm-predictor")) == Owner(SERVICE, f"chat/{name}")


@pytest.mark.parametrize("name", ["big-0", "big-12", "big-0-3"])
def test_pods_of_groups_that_are_gone_are_known_by_their_names(name: str) -> None:
    assert owner(name, group("big")) == Owner(ServiceKey("chat", "LeaderWorkerSet", "big"), f"chat/{name}")


def test_a_name_that_allows_two_answers_has_none() -> None:
    assert owner("big-0-1", group("big"), group("big-0")) is None


@pytest.mark.parametrize(
    "name",
    ["llm-predictor", "llm-predictor-0", f"llm-predictor-{HASH}", f"llm-{HASH}-b2c4d", "llm-predictor-aaaa-eeeee", ""],
)
def test_other_names_are_nobodys(name: str) -> None:
    assert owner(name, deployment("llm-predictor")) is None


def test_services_that_nobody_caps_own_nothing() -> None:
    uncapped = {"app": "web"}
    assert owner(f"web-{HASH}-b2c4d", deployment("web", uncapped)) is None
    assert owner("big-0", group("big", uncapped)) is None


def test_a_namesake_in_another_namespace_is_nobodys() -> None:
    assert owner(f"llm-predictor-{HASH}-b2c4d", deployment("llm-predictor"), namespace="other") is None
