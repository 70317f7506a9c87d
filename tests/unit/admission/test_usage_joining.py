from __future__ import annotations

from collections import Counter

import pytest

from admission.usage_joining import joined
from admission.usage_model import Sample
from tests.unit.admission.samples import NOW, SERVICE
from tests.unit.admission.usage_cluster import CAPPED, GIB, group_pod, pod, used
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.admission import INFERENCE_SERVICE_LABEL, LLM_INFERENCE_SERVICE, PART_OF_LABEL
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.cluster.usage import PodUsage


def joining(usage: PodUsage, *pods: Pod) -> tuple[list[Sample], dict[str, int]]:
    view, unjoined = MemoryView(), Counter[str]()
    view.put(*pods)
    return joined([usage], view, unjoined), dict(unjoined)


def loading(there: Pod, *, time: float = NOW) -> bool:
    ((one,), _) = joining(used(time=time), there)
    return one.loading


def test_a_sample_says_whose_container_it_is() -> None:
    ((one,), unjoined) = joining(used(), pod())
    assert one == Sample(SERVICE, "main", pod().metadata.uid, NOW, 2.0, 8 * GIB, False)
    assert unjoined == {}


@pytest.mark.parametrize("labels", [CAPPED, {INFERENCE_SERVICE_LABEL: "llm"}, {PART_OF_LABEL: LLM_INFERENCE_SERVICE}])
def test_pods_that_come_before_the_webhook_count(labels: dict[str, str]) -> None:
    assert len(joining(used(), pod(labels=labels))[0]) == 1


def test_pods_that_nobody_caps_are_passed_over() -> None:
    assert joining(used(), pod(labels={"app": "web"})) == ([], {})


def test_a_pod_of_a_group_counts_for_its_leader_worker_set() -> None:
    ((one,), _) = joining(used("big-0-1"), group_pod("big-0-1", "big"))
    assert one.service == ServiceKey("chat", "LeaderWorkerSet", "big")


def test_usage_of_a_pod_that_is_not_there_is_counted() -> None:
    assert joining(used()) == ([], {"unknown_pod": 1})


def test_usage_of_a_pod_that_nobody_owns_is_counted() -> None:
    assert joining(used(), pod(service="else", labels=CAPPED))[0][0].service.name == "else"
    bare = group_pod("bare", "")
    assert joining(used("bare"), bare) == ([], {"no_service": 1})


def test_usage_from_before_a_pod_began_is_its_predecessors() -> None:
    assert joining(used(time=NOW), pod(started=NOW + 5.0)) == ([], {"predecessor": 1})


def test_a_pod_that_is_not_ready_is_loading() -> None:
    assert loading(pod(ready_since=None))


def test_a_pod_that_is_ready_is_not() -> None:
    assert not loading(pod())


def test_a_sample_from_before_a_pod_was_ready_is_of_its_loading() -> None:
    assert loading(pod(ready_since=NOW + 10.0))


def test_a_pod_that_ends_is_not_loading() -> None:
    assert not loading(pod(ready_since=None, deleted=True))
