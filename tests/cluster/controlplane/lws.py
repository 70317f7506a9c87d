"""LeaderWorkerSet's controller with its webhooks, as a part of the control plane that tests ask for."""

from __future__ import annotations

import functools

import yaml

from tests.cluster.controlplane import webhooks
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.build import Built
from tests.cluster.controlplane.plane import Part, Plane
from tests.cluster.controlplane.processes import Command, free_ports

NAMESPACE = "lws-system"
PROCESS = "lws"
# Its last webhook to be registered but one; all of them come in one go.
_PROBED = "/mutate--v1-pod"


async def start(plane: Plane, built: Built) -> None:
    """Installs LeaderWorkerSet and returns when its controller and webhooks work.

    Raises:
        ControlPlaneError: it does not start; the message carries its log's tail.
    """
    config = built.folders["lws-config"]
    (port,) = free_ports(1)
    async with Api(plane.connection) as api:
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await api.install_definitions((config / "crd" / "bases").glob("*.yaml"))
        await plane.add(_part(plane, built, port))
        items = webhooks.read_objects(config / "webhook" / "manifests.yaml")
        for item, patch in zip(items, ("mutating-patch.yaml", "validating-patch.yaml"), strict=True):
            # As its installation does: the webhook of pods, the second one, is called for the pods of its sets alone.
            (change,) = yaml.safe_load((config / "webhook" / patch).read_text())
            item["webhooks"][1] = change["value"]
            item["metadata"]["name"] = f"lws-{item['metadata']['name']}"
            await api.apply(webhooks.by_url(item, port, plane.authority))


def _part(plane: Plane, built: Built, port: int) -> Part:
    folder = plane.folder / PROCESS
    plane.authority.issue_folder(PROCESS, folder)
    configuration: Object = {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(folder)},
        "leaderElection": {"leaderElect": False},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": "0"},
        "internalCertManagement": {"enable": False},
    }
    file = folder / "configuration.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return Part(
        command=Command(
            name=PROCESS,
            arguments=(str(built.programs["lws"]), f"--config={file}", f"--kubeconfig={plane.kubeconfig}"),
        ),
        serves=functools.partial(webhooks.serves, _PROBED, port, plane.authority),
    )
