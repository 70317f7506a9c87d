"""Which of a service's pods leaves the gate first, and what a rollout at full budget makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from scaler.gates import GateKeeper
from scaler.metrics import ScalerMetrics
from tests.unit.scaler.gate_room import Room
from tests.unit.scaler.gated_pods import pod
from tests.unit.scaler.hand_clock import HandClock, settle
from tests.unit.scaler.results import Row, decision
from tests.unit.scaler.samples import NAMESPACE, NOW, recommendation
from tests.unit.simulation.fixtures import deployment, node
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_recommendation import Actuation, Kill
from wattkeeper.cluster.objects import Deployment, DeploymentStrategy, Pod, RollingUpdate, SchedulingGate
from wattkeeper.recommender.templates import template_of
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.controllers import ReplicaController, is_ready
from wattkeeper.simulation.kubelet import Kubelet
from wattkeeper.simulation.scheduler import Scheduler


def of_template(one: Pod, template: str) -> Pod:
    labels = {**one.metadata.labels, "pod-template-hash": template}
    owners = tuple(replace(owner, name=f"llm-{template}") for owner in one.metadata.owner_references)
    return replace(one, metadata=replace(one.metadata, labels=labels, owner_references=owners))


def at(minute: int) -> str:
    return f"2027-01-15T08:{minute:02}:00Z"


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.keeper.stop()


async def test_a_new_pod_goes_before_the_successor_of_an_old_one(room: Room) -> None:
    await room.come(of_template(pod("original", created=at(0), gated=False), "old"))
    await room.come(of_template(pod("successor", created=at(3)), "old"), of_template(pod("new", created=at(4)), "new"))
    await room.decide(Row(gated=True, openings=1))
    assert room.opened == ["new"]


async def test_what_was_old_stays_old_when_its_first_pod_is_gone(room: Room) -> None:
    original = of_template(pod("original", created=at(0), gated=False), "old")
    await room.come(original, of_template(pod("new", created=at(1)), "new"))
    await room.come(of_template(pod("successor", created=at(2)), "old"))
    for gone in ("original", "successor"):
        room.cluster.view.remove(Pod, original.metadata.namespace, gone)
    await room.come(of_template(pod("another", created=at(3)), "old"))
    await room.decide(Row(gated=True, openings=1))
    assert room.opened == ["new"]


async def test_a_new_leader_knows_what_is_old_from_what_the_actuator_has_noted(room: Room) -> None:
    noted = recommendation()
    actuation = Actuation(autoscaler="", kill=Kill(outdated=("old",)))
    room.cluster.view.put(replace(noted, status=replace(noted.status, actuation=actuation)))
    await room.come(of_template(pod("new", created=at(1)), "new"), of_template(pod("successor", created=at(2)), "old"))
    await room.decide(Row(gated=True, openings=1))
    assert room.opened == ["new"]


async def test_an_old_one_goes_where_no_new_one_waits(room: Room) -> None:
    await room.come(of_template(pod("new", created=at(1), gated=False), "new"))
    await room.come(of_template(pod("successor", created=at(2)), "old"))
    await room.decide(Row(gated=True, openings=1))
    assert room.opened == ["successor"]


async def test_of_one_template_the_oldest_goes_first(room: Room) -> None:
    await room.come(pod("young", created=at(2)), pod("old", created=at(1)))
    await room.decide(Row(gated=True, openings=1))
    assert room.opened == ["old"]


class FullBudget:
    """A Deployment without maxUnavailable on the twin, in a budget that carries its replicas and none more.

    Whoever evicts takes one pod of the old template when as many are ready as there shall be, and a new one waits.
    """

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.clock = HandClock(NOW)
        self.cluster = TwinCluster(self.clock)
        self._kubelet = Kubelet(self.cluster, load_seconds=lambda _: 20.0, grace_seconds=lambda _: 0.0)
        self._controller = ReplicaController(self.cluster, self._kubelet, seed=1)
        self._scheduler = Scheduler(self.cluster)
        self.keeper = GateKeeper(
            self.cluster,
            self.clock,
            ScalerMetrics(CollectorRegistry()),
            lambda: True,
            concurrency=4,
            stale_seconds=15.0,
        )
        self.evictions = 0
        self.fewest_ready = replicas
        self.cluster.create(node("n", gpus=64))
        strategy = DeploymentStrategy(rolling_update=RollingUpdate(max_surge=1, max_unavailable=0))
        made = deployment("llm", replicas=replicas)
        gated = replace(made.spec.template.spec, scheduling_gates=(SchedulingGate(name=POWER_GATE),))
        template = replace(made.spec.template, spec=gated)
        spec = replace(made.spec, strategy=strategy, template=template)
        self.cluster.create(replace(made, metadata=replace(made.metadata, namespace=NAMESPACE), spec=spec))

    def pods(self) -> list[Pod]:
        return list(self.cluster.view.all(Pod).values())

    def roll(self) -> None:
        found = self.cluster.view.get(Deployment, NAMESPACE, "llm")
        assert found is not None
        meta = ObjectMeta(labels={"app": "llm"}, annotations={"restarted": "now"})
        template = replace(found.spec.template, metadata=meta)
        self.cluster.replace(replace(found, spec=replace(found.spec, template=template)))

    async def step(self, old: frozenset[str] = frozenset()) -> None:
        await self.clock.forward(10.0)
        now = self.clock.now()
        ending = [uid for uid, one in self._kubelet.running.items() if one.pod.metadata.deletion_timestamp]
        self._controller.reconcile(now)
        self._scheduler.reconcile()
        self._kubelet.reconcile(now)
        for uid in ending:
            self._kubelet.exit(uid)
        drawing = [one for one in self.pods() if one.spec.node_name or not one.spec.scheduling_gates]
        self.keeper.mark()
        result = decision(Row(gated=True, openings=max(self.replicas - len(drawing), 0)), now=now)
        self.keeper.take(result)
        await settle()
        ready = [one for one in self.pods() if is_ready(one) and not one.metadata.deletion_timestamp]
        self.fewest_ready = min(self.fewest_ready, len(ready))
        going = [one for one in ready if template_of(one) in old]
        new_waits = any(one.spec.scheduling_gates and template_of(one) not in old for one in self.pods())
        if going and new_waits and len(ready) == self.replicas == len(drawing):
            self.evictions += 1
            self._evict(going[0], now)

    def _evict(self, gone: Pod, now: float) -> None:
        """Lets a pod go. Its ReplicaSet, which no object stands for here, makes a successor at once."""
        self._kubelet.delete(gone, now)
        meta = ObjectMeta(
            name=f"{gone.metadata.name}-{self.evictions}",
            namespace=gone.metadata.namespace,
            labels=gone.metadata.labels,
            owner_references=gone.metadata.owner_references,
        )
        gates = (SchedulingGate(name=POWER_GATE),)
        self.cluster.create(Pod(metadata=meta, spec=replace(gone.spec, node_name="", scheduling_gates=gates)))


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_rollout_at_full_budget_completes_when_one_old_pod_is_evicted_at_a_time(replicas: int) -> None:
    bench = FullBudget(replicas)
    for _ in range(6):
        await bench.step()
    assert bench.fewest_ready == 0
    bench.fewest_ready = replicas
    old = frozenset(template_of(one) for one in bench.pods())
    bench.roll()
    for _ in range(12 * replicas):
        await bench.step(old)
    assert [is_ready(one) for one in bench.pods()] == [True] * replicas
    assert not {template_of(one) for one in bench.pods()} & old
    assert (bench.evictions, bench.fewest_ready) == (replicas, replicas - 1)
    await bench.keeper.stop()
