"""One test's place on the control plane: a namespace, nodes of its own, and the usual things to do there."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from tests.cluster.controlplane.api import Api, Connection, Object, holds
from tests.cluster.controlplane.draw import GPU_RESOURCE
from tests.cluster.controlplane.exporter_client import ExporterClient
from tests.cluster.controlplane.kwok import EXIT_DELAY, LOAD_DELAY, UNREADY
from tests.cluster.controlplane.plane import Plane
from tests.cluster.controlplane.processes import Command, Process
from tests.cluster.controlplane.waiting import wait_for

POOL = "tests.wattkeeper.dev/pool"
RBAC = "rbac.authorization.k8s.io/v1"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Account:
    """A service account with a token from the TokenRequest API, as a program in the cluster would have it."""

    connection: Connection
    kubeconfig: Path


class Bench:
    """What a test works with.

    Attributes:
        plane: the control plane, for its processes and addresses.
        api: the administrator's client.
        exporter: controls of the fake Kepler, DCGM and vLLM.
        namespace: the test's own.
    """

    def __init__(self, plane: Plane, api: Api, exporter: ExporterClient, namespace: str) -> None:
        self.plane = plane
        self.api = api
        self.exporter = exporter
        self.namespace = namespace
        self.nodes: list[str] = []
        self._numbers = itertools.count()
        self._cluster_objects: list[Object] = []
        self._processes: list[Process] = []

    async def open(self) -> None:
        """Makes the namespace."""
        await self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    async def close(self) -> None:
        """Takes everything away again, without waiting for the namespace to be empty, and mends the control plane."""
        for process in reversed(self._processes):
            process.stop()
        await self.plane.revive()
        await self.exporter.recover()
        for item in reversed(self._cluster_objects):
            await self.api.delete(item["apiVersion"], item["kind"], item["metadata"]["name"])
        # By themselves: one was left behind by its namespace's deletion at times, and the next module's leader saw it.
        await self.api.delete_all("wattkeeper.dev/v1alpha1", "PowerCappingPolicy", namespace=self.namespace)
        await self.api.delete("v1", "Namespace", self.namespace)
        await self.api.delete_all("v1", "Pod", namespace=self.namespace, grace_seconds=0)
        await self.api.delete_all("v1", "Node", selector=f"{POOL}={self.namespace}")

    async def wait_for(self, probe: Callable[[], Awaitable[T]], *, what: str, timeout_seconds: float = 30.0) -> T:
        """Asks until the answer is truthy and returns it; see `waiting.wait_for`."""
        return await wait_for(probe, what=what, timeout_seconds=timeout_seconds)

    def run(self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Process:
        """Starts a program that ends with the test; its log is in the control plane's folder, named after the test."""
        command = Command(name=f"{self.namespace}-{name}", arguments=arguments, environment=environment or {})
        process = self.plane.run(command)
        self._processes.append(process)
        return process

    async def apply(self, item: Object) -> Object:
        """Applies an object, in the test's namespace unless it names another; cluster-wide ones go with the test."""
        collection = await self.api.path(item["apiVersion"], item["kind"], namespace=self.namespace)
        if f"/namespaces/{self.namespace}/" in collection:
            item = {**item, "metadata": {"namespace": self.namespace, **item["metadata"]}}
        else:
            self._cluster_objects.append(item)
        return await self.api.apply(item)

    async def add_nodes(
        self,
        count: int,
        *,
        gpus: int = 8,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Adds nodes to the test's pool and waits until the scheduler may use them.

        Args:
            count: how many.
            gpus: GPUs of each.
            labels: such as a rack's or a feed's, for all of these nodes.
            annotations: figures of draw.NODE_*, for all of these nodes.

        Returns:
            Their names.
        """
        names = [f"{self.namespace}-{next(self._numbers)}" for _ in range(count)]
        capacity = {"cpu": "64", "memory": "512Gi", "pods": "110", GPU_RESOURCE: str(gpus)}
        for name in names:
            await self.api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {
                        "name": name,
                        "labels": {"kubernetes.io/hostname": name, **(labels or {}), POOL: self.namespace},
                        "annotations": dict(annotations or {}),
                    },
                    "status": {"capacity": capacity, "allocatable": capacity},
                }
            )
        self.nodes += names

        async def usable() -> bool:
            found = await self.api.list("v1", "Node", selector=f"{POOL}={self.namespace}")
            fresh = [one for one in found if one["metadata"]["name"] in names]
            return len(fresh) == count and all(is_ready(one) and not one["spec"].get("taints") for one in fresh)

        await self.wait_for(usable, what=f"nodes {', '.join(names)} are Ready and without taints")
        return names

    async def set_node_ready(self, name: str, *, ready: bool) -> None:
        """Makes a node report NotReady as a kubelet in trouble does, or lets it be Ready again."""
        mark: Object = {"metadata": {"annotations": {UNREADY: None if ready else "true"}}}
        await self.api.patch("v1", "Node", name, mark)
        if not ready:
            node = await self.api.get("v1", "Node", name)
            conditions = [
                {**one, "status": "False"} if one["type"] == "Ready" else one for one in node["status"]["conditions"]
            ]
            await self.api.patch("v1", "Node", name, {"status": {"conditions": conditions}}, sub="status")

    def deployment(
        self,
        name: str,
        *,
        replicas: int = 1,
        gpus: int = 1,
        load_delay: str = "200ms",
        exit_delay: str = "1s",
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        pod: Mapping[str, object] | None = None,
    ) -> Object:
        """Returns a Deployment of fake inference pods on the test's own nodes, labelled app=NAME.

        Args:
            name: its name, and that of the service whose demand its pods share.
            replicas: how many pods.
            gpus: GPUs that each requests.
            load_delay: from its containers' start to readiness, a Go duration.
            exit_delay: from its deletion to its containers' end, a Go duration.
            annotations: further annotations of the pods, such as draw.LOAD_WATTS.
            labels: further labels of the Deployment and its pods.
            pod: further fields of the pods' spec.
        """
        labels = {**(labels or {}), "app": name}
        resources = {"limits": {GPU_RESOURCE: str(gpus)}} if gpus else {}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": {LOAD_DELAY: load_delay, EXIT_DELAY: exit_delay, **(annotations or {})},
                    },
                    "spec": {
                        "nodeSelector": {POOL: self.namespace},
                        "containers": [{"name": "server", "image": "vllm", "resources": resources}],
                        **(pod or {}),
                    },
                },
            },
        }

    async def deploy(self, deployment: Object, *, wait: bool = True) -> Object:
        """Creates a Deployment, and by default waits until all of its pods are ready."""
        created = await self.api.create(deployment)
        if wait:
            await self.wait_ready(deployment["metadata"]["name"], deployment["spec"]["replicas"])
        return created

    async def wait_ready(self, name: str, count: int, *, timeout_seconds: float = 30.0) -> None:
        """Waits until a Deployment has exactly that many pods, all ready and none terminating."""

        async def settled() -> bool:
            found = await self.pods(name)
            return len(found) == count and all(
                is_ready(one) and "deletionTimestamp" not in one["metadata"] for one in found
            )

        await self.wait_for(settled, what=f"{name} has {count} ready pods", timeout_seconds=timeout_seconds)

    async def scale(self, name: str, replicas: int) -> None:
        """Sets a Deployment's replicas."""
        change: Object = {"spec": {"replicas": replicas}}
        await self.api.patch("apps/v1", "Deployment", name, change, namespace=self.namespace, sub="scale")

    async def replicas(self, name: str) -> int:
        """Returns a Deployment's spec.replicas."""
        found = await self.api.get("apps/v1", "Deployment", name, namespace=self.namespace)
        return cast("int", found["spec"]["replicas"])

    async def wait_replicas(self, name: str, count: int, *, timeout_seconds: float = 30.0) -> None:
        """Waits until a Deployment's spec.replicas is a number."""

        async def reached() -> bool:
            return await self.replicas(name) == count

        await self.wait_for(reached, what=f"spec.replicas of {name} is {count}", timeout_seconds=timeout_seconds)

    async def pods(self, name: str | None = None) -> list[Object]:
        """Returns the namespace's pods, or those labelled app=NAME, terminating ones too."""
        return await self.api.list("v1", "Pod", namespace=self.namespace, selector=name and f"app={name}")

    async def ready_pods(self, name: str | None = None) -> list[Object]:
        """Returns the pods that are ready and not terminating."""
        return [one for one in await self.pods(name) if is_ready(one) and "deletionTimestamp" not in one["metadata"]]

    async def events(self, *, reason: str | None = None) -> list[Object]:
        """Returns the namespace's events, or those with a reason."""
        found = await self.api.list("v1", "Event", namespace=self.namespace)
        return [one for one in found if reason is None or one["reason"] == reason]

    async def service_account(self, name: str, rules: Sequence[Object], *, cluster_wide: bool = True) -> Account:
        """Makes a service account with exactly these rules (of RBAC) and returns how to connect as it."""
        unique = f"{self.namespace}-{name}"
        kind = "ClusterRole" if cluster_wide else "Role"
        meta: Object = {"name": unique if cluster_wide else name}
        await self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
        await self.apply({"apiVersion": RBAC, "kind": kind, "metadata": meta, "rules": list(rules)})
        await self.apply(
            {
                "apiVersion": RBAC,
                "kind": f"{kind}Binding",
                "metadata": meta,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": meta["name"]},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
            }
        )
        return await self.account(self.namespace, name)

    async def account(self, namespace: str, name: str) -> Account:
        """Returns how to connect as a service account that is there already."""
        connection = Connection(
            server=self.plane.connection.server,
            authority=self.plane.connection.authority,
            token=await self.api.token(namespace, name),
        )
        file = self.plane.write_kubeconfig(f"{namespace}-{name}", connection)
        return Account(connection=connection, kubeconfig=file)


def is_ready(item: Object) -> bool:
    """Returns whether a pod's or node's Ready condition is True."""
    return holds(item, "Ready")
