"""A small cluster for tests: a clock that tests set, nodes with GPUs, Deployments."""

from __future__ import annotations

from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.cluster.objects import (
    Container,
    Deployment,
    DeploymentSpec,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    Node,
    NodeStatus,
    Pod,
    PodSpec,
    PodTemplate,
    Resources,
)
from wattkeeper.simulation.cluster import TwinCluster


class SetClock:
    """A clock that moves when a test says so."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


def node(name: str, *, gpus: int = 8, zone: str = "a") -> Node:
    resources = {"nvidia.com/gpu": str(gpus)}
    return Node(
        metadata=ObjectMeta(name=name, labels={"topology.kubernetes.io/zone": zone, "zone": zone}),
        status=NodeStatus(capacity=resources, allocatable=resources),
    )


def deployment(
    name: str = "chat", *, replicas: int = 1, gpus: int = 1, node_selector: dict[str, str] | None = None
) -> Deployment:
    requests: dict[str, str | int] = {"nvidia.com/gpu": gpus}
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="llm", labels={"app": name}),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels={"app": name}),
            template=PodTemplate(
                metadata=ObjectMeta(labels={"app": name}),
                spec=PodSpec(
                    node_selector=node_selector or {}, containers=(Container(resources=Resources(requests=requests)),)
                ),
            ),
        ),
    )


def groups(name: str = "large", *, replicas: int = 1, size: int = 2, gpus: int = 1) -> LeaderWorkerSet:
    requests: dict[str, str | int] = {"nvidia.com/gpu": gpus}
    template = PodTemplate(
        metadata=ObjectMeta(labels={"app": name}),
        spec=PodSpec(containers=(Container(resources=Resources(requests=requests)),)),
    )
    return LeaderWorkerSet(
        metadata=ObjectMeta(name=name, namespace="llm", labels={"app": name}),
        spec=LeaderWorkerSetSpec(
            replicas=replicas, leader_worker_template=LeaderWorkerTemplate(size=size, worker_template=template)
        ),
    )


def pods(cluster: TwinCluster) -> list[Pod]:
    return sorted(cluster.view.all(Pod).values(), key=lambda pod: pod.metadata.uid)
