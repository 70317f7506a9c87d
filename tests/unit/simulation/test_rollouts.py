"""Rollouts of the twin's Deployments."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.simulation.fixtures import SetClock, deployment, node
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Deployment, DeploymentStrategy, Pod, RollingUpdate
from wattkeeper.recommender.pods import service_of
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController, is_ready
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.scheduler import Scheduler


class Bench:
    """A Deployment that serves on one node; pods load for ten seconds and end at once."""

    def __init__(self, replicas: int, strategy: DeploymentStrategy) -> None:
        self.clock = SetClock()
        self.cluster = TwinCluster(self.clock)
        self.cluster.create(node("n", gpus=64))
        new = deployment(replicas=replicas)
        spec = msgspec.structs.replace(new.spec, strategy=strategy)
        self.cluster.create(msgspec.structs.replace(new, spec=spec))
        self._kubelet = Kubelet(self.cluster, load_seconds=lambda _: 10.0, grace_seconds=lambda _: 0.0)
        self._controller = ReplicaController(self.cluster, self._kubelet, seed=1)
        self._scheduler = Scheduler(self.cluster)
        self.step(10)
        self.step(10)

    def step(self, seconds: float = 1.0) -> None:
        self.clock.time += seconds
        self._controller.reconcile(self.clock.time)
        self._scheduler.reconcile()
        self._kubelet.reconcile(self.clock.time)
        for uid, one in list(self._kubelet.running.items()):
            if one.pod.metadata.deletion_timestamp:
                self._kubelet.exit(uid)

    def pods(self) -> list[Pod]:
        return list(self.cluster.view.all(Pod).values())

    def roll(self) -> set[str]:
        """Changes the template. Returns the UIDs of the pods that are there."""
        found = self.cluster.view.get(Deployment, "llm", "chat")
        assert found is not None
        template = msgspec.structs.replace(
            found.spec.template, metadata=ObjectMeta(labels={"app": "chat"}, annotations={"restarted": "now"})
        )
        spec = msgspec.structs.replace(found.spec, template=template)
        self.cluster.replace(msgspec.structs.replace(found, spec=spec))
        return {pod.metadata.uid for pod in self.pods()}

    def follow(self, seconds: int) -> list[tuple[int, int]]:
        """Returns pods and Ready pods of each second."""
        seen: list[tuple[int, int]] = []
        for _ in range(seconds):
            self.step()
            seen.append((len(self.pods()), sum(is_ready(pod) for pod in self.pods())))
        return seen


def rolling(surge: int | str | None = None, unavailable: int | str | None = None) -> DeploymentStrategy:
    return DeploymentStrategy(rolling_update=RollingUpdate(max_surge=surge, max_unavailable=unavailable))


def test_a_rollout_replaces_every_pod_and_is_the_same_service() -> None:
    bench = Bench(4, rolling())
    before = bench.roll()
    bench.follow(100)

    assert len(bench.pods()) == 4
    assert not before & {pod.metadata.uid for pod in bench.pods()}
    assert {service_of(pod) for pod in bench.pods()} == {("llm", "Deployment", "chat")}


@pytest.mark.parametrize(
    ("strategy", "most", "least"),
    [
        (rolling(), 5, 3),
        (rolling(2, 0), 6, 4),
        (rolling(0, 1), 4, 3),
        (rolling("50%", "50%"), 6, 2),
        (DeploymentStrategy(type="Recreate"), 4, 0),
    ],
    ids=["default", "surge", "replace", "shares", "recreate"],
)
def test_a_rollout_stays_within_its_strategy(strategy: DeploymentStrategy, most: int, least: int) -> None:
    bench = Bench(4, strategy)
    bench.roll()
    seen = bench.follow(100)

    assert max(pods for pods, _ in seen) == most
    assert min(ready for _, ready in seen) == least


def test_a_deployment_that_is_scaled_down_while_it_rolls_gives_up_old_pods() -> None:
    bench = Bench(4, rolling(1, 0))
    before = bench.roll()
    bench.follow(3)
    bench.cluster.scale(namespace="llm", name="chat", replicas=2)
    bench.step()

    left = {pod.metadata.uid for pod in bench.pods()}
    assert (len(left & before), len(left - before)) == (2, 1)
