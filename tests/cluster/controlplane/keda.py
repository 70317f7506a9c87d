"""KEDA's operator and metrics adapter: command lines, and the objects that make the adapter an API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controlplane.api import Api, Object, holds
from tests.cluster.controlplane.certificates import Authority, KeyPair
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


def write_certificates(folder: Path, authority: Authority) -> KeyPair:
    """Writes ca.crt, tls.crt and tls.key, with which the operator serves and the adapter identifies itself."""
    folder.mkdir(exist_ok=True)
    pair = authority.issue("keda")
    for source, name in ((authority.certificate, "ca.crt"), (pair.certificate, "tls.crt"), (pair.key, "tls.key")):
        target = folder / name
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())
    return KeyPair(certificate=folder / "tls.crt", key=folder / "tls.key")


def _environment() -> dict[str, str]:
    return {"KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "POD_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": ""}


def operator(programs: Mapping[str, Path], certificates: Path, ports: Ports, kubeconfig: Path) -> Command:
    """Returns the operator's command."""
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
    """Returns the namespace, and the Service and APIService through which the API server reaches the adapter.

    A Service of type ExternalName is the way to a loopback address: endpoints on 127.0.0.1 are refused.
    """
    meta = {"name": "keda-adapter", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": ports.adapter}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": EXTERNAL_METRICS},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {**meta, "port": ports.adapter},
            },
        },
    ]


async def ready(api: Api) -> bool:
    """Returns whether the API server reaches the adapter."""
    found = await api.find("apiregistration.k8s.io/v1", "APIService", EXTERNAL_METRICS)
    return found is not None and holds(found, "Available")
