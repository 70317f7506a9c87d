"""Pods at the power gate, as their controllers make them."""

from __future__ import annotations

from tests.unit.scaler.samples import NAMESPACE
from wattkeeper.api.admission import ADMISSION_ANNOTATION, INFERENCE_SERVICE_LABEL, POWER_GATE
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.objects import Affinity, Pod, PodSpec, SchedulingGate

_GATES = (SchedulingGate(name=POWER_GATE),)


def pod(
    name: str,
    *,
    of: str = "llm",
    created: str = "2027-01-15T08:00:00Z",
    gated: bool = True,
    admitted: bool = True,
    namespace: str = NAMESPACE,
    affinity: Affinity | None = None,
    node_selector: dict[str, str] | None = None,
) -> Pod:
    """Returns a Deployment's pod; its UID is its name."""
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=name,
            creation_timestamp=created,
            labels={"pod-template-hash": "abc", INFERENCE_SERVICE_LABEL: of},
            annotations={ADMISSION_ANNOTATION: "gate"} if admitted else {},
            owner_references=(OwnerReference(kind="ReplicaSet", name=f"{of}-abc", uid=f"rs-{of}", controller=True),),
        ),
        spec=PodSpec(scheduling_gates=_GATES if gated else (), affinity=affinity, node_selector=node_selector or {}),
    )


def group_pod(group: int, worker: int, *, of: str = "big", gated: bool = True) -> Pod:
    """Returns a LeaderWorkerSet's pod; worker 0 is its group's leader."""
    name = f"{of}-{group}" if worker == 0 else f"{of}-{group}-{worker}"
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=name,
            creation_timestamp="2027-01-15T08:00:00Z",
            labels={
                "leaderworkerset.sigs.k8s.io/name": of,
                "leaderworkerset.sigs.k8s.io/group-index": str(group),
                "leaderworkerset.sigs.k8s.io/worker-index": str(worker),
            },
            annotations={ADMISSION_ANNOTATION: "gate"},
        ),
        spec=PodSpec(scheduling_gates=_GATES if gated else ()),
    )
