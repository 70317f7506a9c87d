"""KEDA's operator and metrics adapter: command lines, and the objects that make the adapter an API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controlplane import aggregation
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.processes import Command

NAMESPACE = "keda"
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Loopback ports of KEDA's programs."""

    operator_grpc: int
    operator_metrics: int
    operator_health: int
    adapter: int
    adapter_metrics: int


def _environment() -> dict[str, str]:
    return {"KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "POD_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": ""}


def operator(programs: Mapping[str, Path], certificates: Path, ports: Ports, kubeconfig: Path) -> Command:
    """Returns the operator's command; it serves with the certificates, and the adapter identifies itself with them."""
    return Command(
        name="keda-operator",
        arguments=(
            str(programs["keda-operator"]),
            f"--kubeconfig={kubeconfig}",
            f"--cert-dir={certificates}",
            f"--metrics-bind-address=127.0.0.1:{ports.operator_metrics}",
            f"--health-probe-bind-address=127.0.0.1:{ports.operator_health}",
            f"--metrics-service-bind-address=127.0.0.1:{ports.operator_grpc}",
            "--enable-webhook-patching=false",
            "--enable-apiservice-patching=false",
            "--kube-api-qps=200",
            "--kube-api-burst=300",
        ),
        environment=_environment(),
    )


def adapter(programs: Mapping[str, Path], certificates: Path, ports: Ports, kubeconfig: Path) -> Command:
    """Returns the adapter's command."""
    return Command(
        name="keda-adapter",
        arguments=(
            str(programs["keda-adapter"]),
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.adapter}",
            # Its metrics page cannot be told an address: it listens on all of them. A network namespace hides it.
            f"--port={ports.adapter_metrics}",
            f"--metrics-service-address=localhost:{ports.operator_grpc}",
            f"--tls-cert-file={certificates / 'tls.crt'}",
            f"--tls-private-key-file={certificates / 'tls.key'}",
            f"--client-ca-file={certificates / 'ca.crt'}",
            f"--cert-dir={certificates}",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--lister-kubeconfig={kubeconfig}",
            "--kube-api-qps=200",
            "--kube-api-burst=300",
        ),
        environment=_environment(),
    )


def objects(ports: Ports) -> list[Object]:
    """Returns the namespace, and what makes the adapter an API; its certificate names no Service."""
    group, version = "external.metrics.k8s.io", "v1beta1"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *aggregation.objects(
            group=group, version=version, service="keda-adapter", namespace=NAMESPACE, port=ports.adapter, bundle=None
        ),
    ]


async def ready(api: Api) -> bool:
    """Returns whether the API server reaches the adapter."""
    return await aggregation.available(api, EXTERNAL_METRICS)
