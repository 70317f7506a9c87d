"""A small cluster as the admission plugin sees it, and pods as the API server sends them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from admission.decide import Decision, decide
from admission.estimate import Estimate, Range
from admission.patch import Operation
from admission.pod import AdmittedPod, read_pod
from admission.view import AdmissionView
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.meta import LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import Mode, PowerCappingPolicy, PowerCappingPolicySpec, Requests
from wattkeeper.api.power_recommendation import (
    Amount,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import (
    Deployment,
    DeploymentSpec,
    LeaderWorkerSet,
    LeaderWorkerSetSpec,
    LeaderWorkerTemplate,
    Namespace,
)

NOW = 1_800_000_000.0
NAMESPACE = "chat"
SERVICE = ServiceKey(NAMESPACE, "Deployment", "llm-predictor")
MIB = 2**20
GIB = 2**30


class KnownUsage:
    """Estimates that a test states."""

    def __init__(self, by_container: Mapping[str, Estimate] | None = None) -> None:
        self._by_container = dict(by_container or {})

    def estimate(self, service: ServiceKey, container: str) -> Estimate | None:
        return self._by_container.get(container) if service.namespace == NAMESPACE else None


def usage(*, cores: float = 2.0, memory: float = 8.0 * GIB, loading: float = 0.0, doubt: float = 0.5) -> Estimate:
    """Returns what is known of a container: targets, and by which share of them usage may yet be higher."""

    def around(target: float) -> Range:
        return Range(target=target, lower=target * 0.8, upper=target * (1.0 + doubt))

    return Estimate(cpu=around(cores), memory=around(memory), load_peak_bytes=loading, confidence_days=8.0)


def container(
    name: str = "main",
    *,
    requests: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if requests is not None:
        resources["requests"] = dict(requests)
    if limits is not None:
        resources["limits"] = dict(limits)
    return {"name": name, "resources": resources, **more}


def pod(*containers: dict[str, Any], spec: Mapping[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A predictor's pod as its ReplicaSet creates it."""
    labels = {"serving.kserve.io/inferenceservice": "llm", "app": "isvc.llm-predictor", "pod-template-hash": "7c9d"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "llm-predictor-7c9d-",
            "labels": labels,
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llm-predictor-7c9d", "uid": "r-1"}
            ],
            **metadata,
        },
        "spec": {
            "containers": list(containers) or [container(requests={"cpu": "4", "memory": "16Gi"})],
            **(spec or {}),
        },
    }


def read(given: Mapping[str, Any]) -> AdmittedPod:
    return read_pod(json.dumps(given).encode())


def policy(
    name: str = "capped",
    *,
    mode: Mode = "Scale",
    labels: Mapping[str, str] | None = None,
    requests: Requests | None = None,
    namespace: str = NAMESPACE,
) -> PowerCappingPolicy:
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=PowerCappingPolicySpec(
            selector=LabelSelector(match_labels=dict(labels or {})), mode=mode, requests=requests
        ),
    )


def deployment(name: str = "llm-predictor", *, replicas: int = 4, **labels: str) -> Deployment:
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels=labels), spec=DeploymentSpec(replicas=replicas)
    )


def group(name: str = "llm-kserve-mn", *, size: int = 4) -> LeaderWorkerSet:
    return LeaderWorkerSet(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=LeaderWorkerSetSpec(leader_worker_template=LeaderWorkerTemplate(size=size)),
    )


def recommendation(
    kind: Any = "Deployment",
    name: str = "llm-predictor",
    *,
    replica_watts: float = 712.4,
    target: int = 4,
    budget: str = "",
    of_policy: str = "capped",
) -> PowerRecommendation:
    return PowerRecommendation(
        metadata=ObjectMeta(name=f"{kind.lower()}-{name}", namespace=NAMESPACE),
        spec=PowerRecommendationSpec(scale_target_ref=ScaleTargetRef(kind=kind, name=name), policy=of_policy),
        status=PowerRecommendationStatus(
            target=Amount(replicas=target), replica_watts=replica_watts, binding_budget=budget
        ),
    )


def budget(name: str = "row-a", *, over: float = 0.0, evaluated: str = "2027-01-15T08:00:00.000000Z") -> PowerBudget:
    return PowerBudget(
        metadata=ObjectMeta(name=name),
        spec=PowerBudgetSpec(limit_watts=10_000.0),
        status=PowerBudgetStatus(over_watts=over, last_evaluated=evaluated),
    )


def namespace(*, enabled: bool = True) -> Namespace:
    labels = {"wattkeeper.dev/admission": "enabled"} if enabled else {}
    return Namespace(metadata=ObjectMeta(name=NAMESPACE, labels=labels))


def cluster(*objects: Any) -> MemoryView:
    view = MemoryView()
    view.put(*objects)
    return view


def decided(
    given: Mapping[str, Any], view: MemoryView, estimates: KnownUsage | None = None, *, now: float = NOW
) -> Decision:
    return decide(read(given), NAMESPACE, AdmissionView(view), estimates or KnownUsage(), now)


def patched(given: Mapping[str, Any], operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Applies a patch as the API server does (RFC 6902, the operations that are used)."""
    document: Any = copy.deepcopy(dict(given))
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation.path.split("/")[1:]]
        parent: Any = document
        for part in way:
            parent = parent[int(part)] if part.isdigit() else parent[part]
        if last == "-":
            assert operation.op == "add"
            parent.append(operation.value)
            continue
        assert operation.op == "add" or last in parent, f"{operation.path} is not there to be replaced"
        parent[last] = operation.value
    return document
