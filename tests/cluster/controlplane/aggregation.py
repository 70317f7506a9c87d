"""APIs that the API server passes on to another server on loopback."""

from __future__ import annotations

from tests.cluster.controlplane.api import Api, Object, holds


def objects(*, group: str, version: str, service: str, namespace: str, port: int, bundle: str | None) -> list[Object]:
    """Returns the Service and the APIService through which the API server reaches a server on loopback.

    A Service of type ExternalName is the way to a loopback address: endpoints on 127.0.0.1 are refused.

    Args:
        group: the API's group.
        version: the API's version.
        service: the Service's name.
        namespace: the Service's namespace.
        port: where on loopback the server listens, by TLS.
        bundle: the caBundle to verify `service.namespace.svc` with; None verifies nothing.
    """
    meta = {"name": service, "namespace": namespace}
    trust: Object = {"insecureSkipTLSVerify": True} if bundle is None else {"caBundle": bundle}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {**meta, "port": port},
                **trust,
            },
        },
    ]


async def available(api: Api, name: str) -> bool:
    """Returns whether the API server reaches what is behind an APIService."""
    found = await api.find("apiregistration.k8s.io/v1", "APIService", name)
    return found is not None and holds(found, "Available")
