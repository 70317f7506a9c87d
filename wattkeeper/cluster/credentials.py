"""Who we are and where the API server is: the service account of a pod, or a kubeconfig.

A pod's service account is three files and two variables by Kubernetes' own contract
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/), so it is read here: importing kubernetes.aio
for it would add about 75 MB of generated models to every running component, as much as 10,000 watched pods take.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wattkeeper.cluster.errors import ClusterError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What one request needs.

    Attributes:
        server: URL of the API server without a slash at its end.
        tls: None for plain HTTP.
        authorization: value of the Authorization header; None where a client certificate speaks for us.
        proxy: URL of a proxy to go through.
        tls_server_name: the name that the server's certificate must carry, where it is not the URL's.
    """

    server: str
    tls: ssl.SSLContext | None = None
    authorization: str | None = None
    proxy: str | None = None
    tls_server_name: str | None = None

    def __repr__(self) -> str:
        """Leaves the token out: what is printed ends in logs."""
        return f"Access(server={self.server!r})"


class Credentials(Protocol):
    """Where Access comes from. Tokens rotate, so it is asked before every request."""

    async def access(self) -> Access:
        """Returns what is valid now.

        Raises:
            ClusterError: nothing can be read; the message says what to set.
        """
        ...

    async def renew(self, refused: Access) -> Access:
        """Returns other access after the server has refused one (401)."""
        ...


class ServiceAccountCredentials:
    """A pod's service account. The kubelet rotates the token in place, so the file is read for every request."""

    def __init__(self, *, folder: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environment = environment
        self._tls: ssl.SSLContext | None = None

    def present(self) -> bool:
        """Says whether this process runs in a pod with a service account."""
        return bool(self._environment.get("KUBERNETES_SERVICE_HOST")) and (self._folder / "token").is_file()

    async def access(self) -> Access:
        """Returns the server of the pod's environment with the token as it is now."""
        return self._read()

    async def renew(self, refused: Access) -> Access:  # noqa: ARG002 - whatever was refused, the files are read again.
        """Reads the certificate authority again, too."""
        self._tls = None
        return self._read()

    def _read(self) -> Access:
        host = self._environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ClusterError("KUBERNETES_SERVICE_HOST is not set: run inside a cluster, or give a kubeconfig.")
        try:
            token = (self._folder / "token").read_text().strip()
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        except (OSError, ssl.SSLError) as error:
            raise ClusterError(
                f"Cannot read the service account in {self._folder}: {error}. "
                "Check the pod's automountServiceAccountToken."
            ) from error
        address = f"[{host}]" if ":" in host else host
        return Access(server=f"https://{address}:{port}", tls=self._tls, authorization=f"Bearer {token}")


def find_credentials(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """Returns credentials: of the kubeconfig that is named, else of the pod, else of the default kubeconfig.

    Args:
        kubeconfig: a kubeconfig file; None looks at the pod, then at KUBECONFIG and ~/.kube/config.
        context: a context of the kubeconfig; None takes its current one.
    """
    pod = ServiceAccountCredentials()
    if kubeconfig is None and context is None and pod.present():
        return pod
    # Imported only here: it brings the whole kubernetes package with it (see the top of this file).
    from wattkeeper.cluster.kubeconfig import KubeconfigCredentials

    return KubeconfigCredentials(file=kubeconfig, context=context)
