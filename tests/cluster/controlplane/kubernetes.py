"""Command lines of etcd, the API server, the controller manager and the scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controlplane.certificates import Authority, KeyPair, write_signing_key
from tests.cluster.controlplane.processes import Command

HPA_SYNC_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Loopback ports of Kubernetes' own programs."""

    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Certificates and keys of one API server."""

    authority: Authority
    front_proxy: Authority
    serving: KeyPair
    proxy_client: KeyPair
    signing: KeyPair
    tokens: Path


def write_identity(folder: Path, admin_token: str) -> Identity:
    """Makes the certificates and keys, and the file that makes one token the administrator's."""
    authority = Authority(folder)
    front_proxy = Authority(folder, "front-proxy-ca")
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f'{admin_token},admin,admin,"system:masters"\n')
    return Identity(
        authority=authority,
        front_proxy=front_proxy,
        serving=authority.issue("apiserver", dns_names=("kubernetes", "kubernetes.default.svc")),
        proxy_client=front_proxy.issue("front-proxy-client", common_name="front-proxy"),
        signing=write_signing_key(folder),
        tokens=tokens,
    )


def etcd(programs: Mapping[str, Path], folder: Path, ports: Ports) -> Command:
    """Returns etcd's command; it does not wait for the disk, since nothing outlives the run."""
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    return Command(
        name="etcd",
        arguments=(
            str(programs["etcd"]),
            "--name=tests",
            f"--data-dir={folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=tests={peer}",
        ),
    )


def api_server(programs: Mapping[str, Path], folder: Path, ports: Ports, identity: Identity) -> Command:
    """Returns the API server's command: RBAC, service-account tokens, and the aggregation that KEDA's adapter needs."""
    return Command(
        name="kube-apiserver",
        arguments=(
            str(programs["kube-apiserver"]),
            f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.api}",
            # Without a default route there is no address to advertise; nothing ever connects to this one.
            "--advertise-address=192.0.2.1",
            f"--cert-dir={folder}",
            f"--tls-cert-file={identity.serving.certificate}",
            f"--tls-private-key-file={identity.serving.key}",
            f"--client-ca-file={identity.authority.certificate}",
            f"--token-auth-file={identity.tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={identity.signing.certificate}",
            f"--service-account-signing-key-file={identity.signing.key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            # KWOK's pods mount no token, and waiting for each namespace's default account makes tests slow.
            "--disable-admission-plugins=ServiceAccount",
            # Without these the config map that KEDA's adapter reads at its start is never made.
            f"--requestheader-client-ca-file={identity.front_proxy.certificate}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={identity.proxy_client.certificate}",
            f"--proxy-client-key-file={identity.proxy_client.key}",
        ),
    )


def controller_manager(
    programs: Mapping[str, Path], folder: Path, ports: Ports, identity: Identity, kubeconfig: Path
) -> Command:
    """Returns the controller manager's command.

    The node lifecycle controller stays on: only it takes the not-ready taint off a new node.
    """
    return Command(
        name="kube-controller-manager",
        arguments=(
            str(programs["kube-controller-manager"]),
            f"--kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.controller_manager}",
            f"--cert-dir={folder / 'controller-manager'}",
            f"--service-account-private-key-file={identity.signing.key}",
            f"--root-ca-file={identity.authority.certificate}",
            "--leader-elect=false",
            "--controllers=*,-nodeipam",
            f"--horizontal-pod-autoscaler-sync-period={HPA_SYNC_SECONDS}s",
            # Tests delete many namespaces and scale often; the default of 20 requests a second is felt.
            "--kube-api-qps=200",
            "--kube-api-burst=300",
        ),
    )


def scheduler(programs: Mapping[str, Path], folder: Path, ports: Ports, kubeconfig: Path) -> Command:
    """Returns the scheduler's command."""
    return Command(
        name="kube-scheduler",
        arguments=(
            str(programs["kube-scheduler"]),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.scheduler}",
            f"--cert-dir={folder / 'scheduler'}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=300",
        ),
    )
