"""A cluster whose pods use something."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.unit.admission.samples import NAMESPACE, NOW, SERVICE
from tests.unit.scaler.memory_cluster import MemoryCluster
from wattkeeper.api.admission import CAPPED_LABEL
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.api.readings import PodKey
from wattkeeper.cluster.errors import ClusterError, MetricsMissingError
from wattkeeper.cluster.objects import Pod, PodCondition, PodSpec, PodStatus
from wattkeeper.cluster.usage import ContainerUsage, PodUsage
from wattkeeper.recommender.pods import LWS_NAME_LABEL

GIB = 2.0**30
HASH = "6d4b75cb6d"
CAPPED = {CAPPED_LABEL: "true"}


class UsageCluster(MemoryCluster):
    """A MemoryCluster with a metrics server.

    Attributes:
        usage: what it says, or how it fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.usage: tuple[PodUsage, ...] | Exception = MetricsMissingError("no metrics here")
        self.unreachable_state: ClusterError | None = None

    async def read_usage(self) -> tuple[PodUsage, ...]:
        if isinstance(self.usage, Exception):
            raise self.usage
        return self.usage

    async def read_state(self, *, namespace: str, name: str) -> bytes | None:
        if self.unreachable_state is not None:
            raise self.unreachable_state
        return await super().read_state(namespace=namespace, name=name)


def rfc3339(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def pod(
    name: str = f"{SERVICE.name}-{HASH}-x7k2p",
    *,
    service: str = SERVICE.name,
    uid: str = "",
    labels: dict[str, str] = CAPPED,
    started: float = NOW - 86_400.0,
    ready_since: float | None = NOW - 80_000.0,
    deleted: bool = False,
) -> Pod:
    """A pod of a Deployment; not Ready without `ready_since`."""
    ready = (
        ()
        if ready_since is None
        else (PodCondition(type="Ready", status="True", last_transition_time=rfc3339(ready_since)),)
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=uid or f"uid-of-{name}",
            labels={**labels, "pod-template-hash": HASH},
            owner_references=(
                OwnerReference(api_version="apps/v1", kind="ReplicaSet", name=f"{service}-{HASH}", uid="rs"),
            ),
            deletion_timestamp=rfc3339(NOW) if deleted else "",
        ),
        spec=PodSpec(node_name="node-1"),
        status=PodStatus(phase="Running", start_time=rfc3339(started), conditions=ready),
    )


def group_pod(name: str, group: str) -> Pod:
    """A pod of a LeaderWorkerSet."""
    labels = {**CAPPED, LWS_NAME_LABEL: group}
    return Pod(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, uid=f"uid-of-{name}", labels=labels),
        spec=PodSpec(node_name="node-1"),
    )


def used(
    name: str = f"{SERVICE.name}-{HASH}-x7k2p", *, time: float = NOW, cores: float = 2.0, memory: float = 8 * GIB
) -> PodUsage:
    return PodUsage(
        key=PodKey(NAMESPACE, name),
        timestamp=time,
        window_seconds=30.0,
        containers=(ContainerUsage(name="main", cores=cores, memory_bytes=memory),),
    )
