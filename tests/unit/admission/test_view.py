"""Lookups follow the cluster's changes."""

from __future__ import annotations

from admission.view import AdmissionView, Surroundings
from tests.unit.admission.samples import (
    NAMESPACE,
    SERVICE,
    budget,
    cluster,
    deployment,
    group,
    namespace,
    policy,
    recommendation,
)
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    LimitRange,
    Namespace,
    ResourceQuota,
)

GROUP = ServiceKey(NAMESPACE, "LeaderWorkerSet", "llm-kserve-mn")


def autoscaler(target: str, name: str = "hpa") -> HorizontalPodAutoscaler:
    reference = CrossVersionTarget(kind="Deployment", name=target)
    return HorizontalPodAutoscaler(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=HorizontalPodAutoscalerSpec(scale_target_ref=reference),
    )


def test_policies_come_by_namespace_sorted_by_name() -> None:
    view = AdmissionView(cluster(policy("b"), policy("a"), policy("c", namespace="other")))
    assert [one.metadata.name for one in view.policies(NAMESPACE)] == ["a", "b"]


def test_what_is_added_changed_and_deleted_later_is_seen() -> None:
    caches = cluster()
    view = AdmissionView(caches)
    caches.put(policy("a", mode="Off"))
    caches.put(policy("a", mode="Scale"), policy("b"))
    assert [one.spec.mode for one in view.policies(NAMESPACE)] == ["Scale", "Scale"]
    caches.remove(PowerCappingPolicy, NAMESPACE, "a")
    caches.remove(PowerCappingPolicy, NAMESPACE, "b")
    assert view.policies(NAMESPACE) == ()


def test_an_autoscaler_that_turns_to_another_target_is_found_there_alone() -> None:
    caches = cluster(autoscaler("llm-predictor"))
    view = AdmissionView(caches)
    caches.put(autoscaler("other"))
    assert view.surroundings(SERVICE).autoscalers == ()
    assert view.surroundings(SERVICE._replace(name="other")).autoscalers != ()


def test_a_service_finds_its_workload_recommendation_and_budget() -> None:
    view = AdmissionView(
        cluster(deployment(), group(), recommendation(), recommendation("LeaderWorkerSet", GROUP.name), budget())
    )
    for service in (SERVICE, GROUP):
        workload, found = view.workload(service), view.recommendation(service)
        assert workload is not None
        assert found is not None
        assert (workload.metadata.name, found.spec.scale_target_ref.kind) == (service.name, service.kind)
    assert view.budget("row-a") is not None
    assert view.budget("") is None


def test_limit_ranges_and_quotas_are_of_the_namespace() -> None:
    mine = ObjectMeta(name="one", namespace=NAMESPACE)
    caches = cluster(LimitRange(metadata=mine), ResourceQuota(metadata=mine))
    view = AdmissionView(caches)
    around = view.surroundings(SERVICE)
    assert (len(around.limit_ranges), len(around.quotas)) == (1, 1)
    assert view.surroundings(ServiceKey("other", "Deployment", "llm-predictor")) == Surroundings()


def test_a_namespace_is_opted_out_once_it_is_seen_without_the_label() -> None:
    caches = cluster()
    view = AdmissionView(caches)
    assert not view.opted_out(NAMESPACE)
    caches.put(namespace(enabled=False))
    assert view.opted_out(NAMESPACE)
    caches.put(namespace(enabled=True))
    assert not view.opted_out(NAMESPACE)
    caches.remove(Namespace, "", NAMESPACE)
    assert not view.opted_out(NAMESPACE)
