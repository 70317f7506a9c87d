"""The simulated LeaderWorkerSet: groups begin and end as a whole, the highest number first."""

from __future__ import annotations

import pytest

from tests.unit.simulation.fixtures import SetClock, groups, node, pods
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import LeaderWorkerSet, Pod
from wattkeeper.recommender.pods import group_of, service_of
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.groups import GroupController
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.scheduler import Scheduler


class Bench:
    """One node, and a LeaderWorkerSet of three groups of two pods."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.cluster = TwinCluster(self.clock)
        self.cluster.create(node("a"))
        self.cluster.create(groups(replicas=3))
        self.kubelet = Kubelet(self.cluster, load_seconds=lambda _: 60.0, grace_seconds=lambda _: 30.0)
        self._controller = GroupController(self.cluster, self.kubelet)
        self._scheduler = Scheduler(self.cluster)
        self.settle()

    def settle(self, after_seconds: float = 0.0) -> None:
        self.clock.time += after_seconds
        self._controller.reconcile(self.clock.time)
        self._scheduler.reconcile()
        self.kubelet.reconcile(self.clock.time)
        self._controller.reconcile(self.clock.time)

    def scale(self, replicas: int) -> None:
        self.cluster.scale(namespace="llm", name="large", replicas=replicas, kind="LeaderWorkerSet")
        self.settle()

    def staying(self) -> list[Pod]:
        return [pod for pod in pods(self.cluster) if not pod.metadata.deletion_timestamp]

    def names(self) -> list[str]:
        return sorted(pod.metadata.name for pod in self.staying())

    def end(self, name: str) -> None:
        found = next(pod for pod in pods(self.cluster) if pod.metadata.name == name)
        self.kubelet.exit(found.metadata.uid)

    def status(self) -> tuple[int, int]:
        found = self.cluster.view.get(LeaderWorkerSet, "llm", "large")
        assert found is not None
        return found.status.replicas, found.status.ready_replicas


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_group_has_a_leader_and_its_workers(bench: Bench) -> None:
    assert bench.names() == ["large-0", "large-0-1", "large-1", "large-1-1", "large-2", "large-2-1"]


def test_pods_of_a_group_are_told_by_their_labels(bench: Bench) -> None:
    found = [(service_of(pod), group_of(pod)) for pod in bench.staying() if pod.metadata.name.startswith("large-1")]

    assert found == [(ServiceKey("llm", "LeaderWorkerSet", "large"), 1)] * 2


def test_the_group_with_the_highest_number_goes_first_and_as_a_whole(bench: Bench) -> None:
    bench.scale(2)

    assert bench.names() == ["large-0", "large-0-1", "large-1", "large-1-1"]


def test_a_group_that_loses_a_pod_ends_as_a_whole(bench: Bench) -> None:
    bench.end("large-1-1")
    bench.settle()

    assert bench.names() == ["large-0", "large-0-1", "large-2", "large-2-1"]


def test_a_group_begins_anew_once_the_last_of_its_pods_has_ended(bench: Bench) -> None:
    bench.end("large-1-1")
    bench.settle()
    bench.end("large-1")
    bench.settle()

    assert "large-1" in bench.names()
    assert "large-1-1" in bench.names()


def test_groups_count_as_ready_once_all_their_pods_are(bench: Bench) -> None:
    assert bench.status() == (3, 0)

    bench.settle(after_seconds=60.0)

    assert bench.status() == (3, 3)


def test_a_group_that_ends_is_none_that_is_there(bench: Bench) -> None:
    bench.settle(after_seconds=60.0)
    bench.end("large-1-1")
    bench.settle()

    assert bench.status() == (2, 2)
