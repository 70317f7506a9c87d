"""Access by a kubeconfig, read by the official client: tokens, certificates, exec plugins, OIDC.

The one module that imports the kubernetes package, and all that is used of it. Its requests are not: the generated
client wants its own model classes and turns every answer into them, while our kinds are msgspec structs; and watches of
10,000 pods through it take hundreds of megabytes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from wattkeeper.cluster.credentials import Access
from wattkeeper.cluster.errors import ClusterError


class KubeconfigCredentials:
    """A kubeconfig. It is loaded once, and again when the server refuses what it gave."""

    def __init__(self, *, file: Path | None = None, context: str | None = None) -> None:
        self._file = str(file) if file else os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        self._context = context
        self._access: Access | None = None
        self._loading = asyncio.Lock()

    async def access(self) -> Access:
        """Returns what the kubeconfig says."""
        async with self._loading:
            if self._access is None:
                self._access = await self._load()
            return self._access

    async def renew(self, refused: Access) -> Access:
        """Loads the kubeconfig again, exec plugins and all; once, when all watches are refused at the same time."""
        async with self._loading:
            if self._access is None or self._access is refused:
                self._access = await self._load()
            return self._access

    async def _load(self) -> Access:
        # The package has no types.
        loaded = cast("Any", Configuration())
        if not any(Path(one).expanduser().is_file() for one in self._file.split(os.pathsep)):  # noqa: ASYNC240 - one stat at start.
            raise ClusterError(f"There is no kubeconfig at {self._file}: set KUBECONFIG, or name the file.")
        try:
            await cast("Any", config).load_kube_config(
                config_file=self._file, context=self._context, client_configuration=loaded, persist_config=False
            )
            return _access(loaded)
        # The loader raises whatever a broken file makes it stumble over.
        except (
            ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            raise ClusterError(f"The kubeconfig {self._file} cannot be used: {error}") from error


def _access(loaded: Any) -> Access:
    server = str(loaded.host).rstrip("/")
    tls: ssl.SSLContext | None = None
    if server.startswith("https"):
        tls = ssl.create_default_context(cafile=loaded.ssl_ca_cert)
        if loaded.cert_file:
            tls.load_cert_chain(loaded.cert_file, keyfile=loaded.key_file)
        if not loaded.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
    return Access(
        server=server,
        tls=tls,
        authorization=loaded.api_key.get("BearerToken"),
        proxy=loaded.proxy or None,
        tls_server_name=loaded.tls_server_name or None,
    )
