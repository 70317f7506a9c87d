"""Controllers, scheduler and kubelet of the twin."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.simulation.fixtures import SetClock, deployment, groups, node, pods
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import (
    Deployment,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    SchedulingGate,
    Trigger,
)
from wattkeeper.recommender.pods import service_of
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController, victims
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.kubelet import Kubelet, Stage
from wattkeeper.simulation.scheduler import Scheduler


class Bench:
    """Nodes and the twin's Kubernetes, without traffic."""

    def __init__(self, *names: str) -> None:
        self.clock = SetClock()
        self.cluster = TwinCluster(self.clock)
        for name in names:
            self.cluster.create(node(name, zone=name[0]))
        self.kubelet = Kubelet(self.cluster, load_seconds=lambda _: 60.0, grace_seconds=lambda _: 30.0)
        self._controller = ReplicaController(self.cluster, self.kubelet, seed=1)
        self._scheduler = Scheduler(self.cluster)

    def settle(self, after_seconds: float = 0.0) -> None:
        self.clock.time += after_seconds
        self._controller.reconcile(self.clock.time)
        self._scheduler.reconcile()
        self.kubelet.reconcile(self.clock.time)

    def status(self) -> tuple[int, int]:
        found = self.cluster.view.get(Deployment, "llm", "chat")
        assert found is not None
        return found.status.replicas, found.status.ready_replicas


def _pod(
    name: str,
    *,
    on: str = "n",
    ready: bool = True,
    cost: str = "0",
    since: str = "2026-01-01T00:00:00Z",
    created: str = "2026-01-01T00:00:00Z",
) -> Pod:
    condition = PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return Pod(
        metadata=ObjectMeta(name=name, annotations={DELETION_COST: cost}, creation_timestamp=created),
        spec=PodSpec(node_name=on),
        status=PodStatus(phase="Running" if on else "Pending", conditions=(condition,)),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_pod("x", on="", ready=False), _pod("y", ready=False)),
        (_pod("x", ready=False, cost="9"), _pod("y", cost="-9")),
        (_pod("x", cost="-1"), _pod("y", cost="0", created="2026-02-01T00:00:00Z")),
        (_pod("x", since="2026-02-01T00:00:00Z"), _pod("y", created="2026-02-01T00:00:00Z")),
        (_pod("x", created="2026-02-01T00:00:00Z"), _pod("y")),
        (_pod("x"), _pod("y")),
    ],
    ids=["without a node", "not ready", "cheaper", "ready for less time", "newer", "by name"],
)
def test_a_replica_set_deletes_first(first: Pod, second: Pod) -> None:
    assert victims([second, first], 1) == [first]


def test_a_replica_set_deletes_where_most_of_its_pods_are_before_it_deletes_the_newest() -> None:
    lonely = _pod("lonely", on="m", created="2026-02-01T00:00:00Z")

    assert lonely not in victims([lonely, _pod("x"), _pod("y")], 2)


def test_pods_of_a_former_template_count_where_most_pods_are() -> None:
    beside = [_pod("old-1", on="m"), _pod("old-2", on="m")]

    assert [pod.metadata.name for pod in victims([_pod("x"), _pod("y", on="m")], 1, beside=beside)] == ["y"]


def test_pods_load_for_their_time_and_then_are_ready() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=2))
    bench.settle()
    bench.settle(59)
    assert bench.status() == (2, 0)
    bench.settle(1)
    bench.settle()
    assert bench.status() == (2, 2)


async def test_what_is_written_on_a_pod_while_it_loads_stays_when_it_is_ready() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=1))
    bench.settle()
    await bench.cluster.set_deletion_cost(pods(bench.cluster)[0], -5)
    bench.settle(60)
    bench.settle()

    assert bench.status() == (1, 1)
    assert pods(bench.cluster)[0].metadata.annotations[DELETION_COST] == "-5"


def test_pods_name_their_deployment_as_kubernetes_pods_do() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=1))
    bench.settle()

    assert service_of(pods(bench.cluster)[0]) == ("llm", "Deployment", "chat")


def test_pods_spread_over_zones_and_then_over_nodes() -> None:
    bench = Bench("a1", "a2", "b1", "b2")
    bench.cluster.create(deployment(replicas=4))
    bench.settle()

    assert sorted(pod.spec.node_name for pod in pods(bench.cluster)) == ["a1", "a2", "b1", "b2"]


def test_a_pod_that_fits_nowhere_stays_pending_and_starts_when_there_is_room() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=3, gpus=4))
    bench.settle()
    assert sorted(pod.spec.node_name for pod in pods(bench.cluster)) == ["", "a1", "a1"]

    bench.cluster.create(node("a2"))
    bench.settle()

    assert all(pod.spec.node_name for pod in pods(bench.cluster))


async def test_a_gated_pod_is_looked_at_when_its_gate_is_gone() -> None:
    bench = Bench("a1")
    pod = bench.cluster.create(
        Pod(
            metadata=ObjectMeta(name="gated", namespace="llm"),
            spec=PodSpec(scheduling_gates=(SchedulingGate(name=POWER_GATE),)),
        )
    )
    bench.settle()
    assert bench.kubelet.running == {}
    await bench.cluster.open_gate(pod, terms=None)
    bench.settle()
    assert list(bench.kubelet.running) == [pod.metadata.uid]


def test_pods_land_only_where_their_selector_allows() -> None:
    bench = Bench("a1", "b1")
    bench.cluster.create(deployment(replicas=3, node_selector={"zone": "b"}))
    bench.settle()

    assert {pod.spec.node_name for pod in pods(bench.cluster)} == {"b1"}


def test_a_deleted_pod_holds_its_gpus_until_its_containers_have_exited() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=2, gpus=4))
    bench.settle()
    bench.settle(60)
    bench.cluster.scale(namespace="llm", name="chat", replicas=1)
    bench.settle()
    draining = [uid for uid, one in bench.kubelet.running.items() if one.stage is Stage.DRAINING]
    assert len(draining) == 1
    assert bench.status() == (1, 1)

    bench.cluster.create(deployment("code", gpus=4))
    bench.settle()
    waiting = [pod for pod in pods(bench.cluster) if not pod.spec.node_name]
    assert len(waiting) == 1

    bench.kubelet.exit(draining[0])
    bench.settle()
    assert all(pod.spec.node_name for pod in pods(bench.cluster))


def test_a_deleted_pod_says_when_its_grace_period_ends() -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment(replicas=1))
    bench.settle()
    bench.cluster.scale(namespace="llm", name="chat", replicas=0)
    bench.settle()

    assert pods(bench.cluster)[0].metadata.deletion_timestamp == "1970-01-01T00:17:10Z"


def _scaled(minimum: int = 0, target: str = "chat", triggers: int = 1) -> ScaledObject:
    return ScaledObject(
        metadata=ObjectMeta(name="so", namespace="llm"),
        spec=ScaledObjectSpec(
            scale_target_ref=ScaledObjectTarget(name=target),
            min_replica_count=minimum,
            triggers=(Trigger(type="external"),) * triggers,
        ),
    )


@pytest.mark.parametrize(
    ("impossible", "why"),
    [
        (node(""), "needs a name"),
        (node("a1"), "exists"),
        (deployment(), "exists"),
        (deployment("huge", gpus=9), "largest node has 8"),
        (deployment("none", replicas=-1), "asks for -1"),
        (msgspec.structs.replace(deployment("x"), metadata=ObjectMeta(name="x")), "needs a namespace"),
        (Pod(metadata=ObjectMeta(name="p", namespace="llm"), spec=PodSpec(node_name="gone")), "not there"),
        (_scaled(target="gone"), "not there"),
        (_scaled(minimum=101), "above maxReplicaCount"),
        (_scaled(triggers=2), "exactly one trigger"),
        (groups("huge", gpus=9), "largest node has 8"),
        (groups("none", size=0), "of 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_no_cluster_could_hold_is_refused(impossible: Pod, why: str) -> None:
    bench = Bench("a1")
    bench.cluster.create(deployment())

    with pytest.raises(ImpossibleFixtureError, match=why):
        bench.cluster.create(impossible)
