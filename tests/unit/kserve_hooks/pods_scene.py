"""Pods of services, PodDisruptionBudgets, and a service as the plan sees it."""

from __future__ import annotations

from wattkeeper.api.meta import LabelSelector, ObjectMeta, OwnerReference
from wattkeeper.cluster.objects import (
    Pod,
    PodCondition,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
    PodSpec,
    PodStatus,
)

NAMESPACE = "llm"


def pod(
    name: str,
    *,
    service: str = "chat-predictor",
    template: str = "t1",
    ready: bool = True,
    phase: str = "Running",
    deleting: bool = False,
    uid: str = "",
    annotations: dict[str, str] | None = None,
) -> Pod:
    """Returns a pod of a Deployment, on a node."""
    owner = OwnerReference(kind="ReplicaSet", name=f"{service}-{template}", uid=f"rs-{template}", controller=True)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=uid or f"uid-{name}",
            labels={"app": service, "pod-template-hash": template},
            annotations=annotations or {},
            owner_references=(owner,),
            deletion_timestamp="2027-01-15T08:00:00Z" if deleting else "",
        ),
        spec=PodSpec(node_name="n1"),
        status=PodStatus(phase=phase, conditions=(PodCondition(type="Ready", status="True" if ready else "False"),)),
    )


def pdb(allowed: int, *, name: str = "chat", app: str = "chat-predictor", seen: bool = True) -> PodDisruptionBudget:
    """Returns a PodDisruptionBudget of a service that allows so many disruptions."""
    return PodDisruptionBudget(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, generation=1),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": app})),
        status=PodDisruptionBudgetStatus(disruptions_allowed=allowed, observed_generation=int(seen)),
    )
