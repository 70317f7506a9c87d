"""A pod as it comes before the webhook: the fields that decide something, null and absent being the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from admission.amounts import Quantity, amount
from admission.errors import UnreadablePodError
from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.api.power_capping_policy import ControlledResource
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import service_of

RESOURCES: Final[tuple[ControlledResource, ...]] = ("cpu", "memory")


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored."""


class Owner(_Wire, frozen=True, kw_only=True):
    """What made the pod."""

    kind: str = ""
    name: str = ""


class Metadata(_Wire, frozen=True, kw_only=True):
    """The pod's names and marks. A pod at admission may have only generateName."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None


class Resources(_Wire, frozen=True, kw_only=True):
    """Requests and limits."""

    requests: dict[str, Quantity] | None = None
    limits: dict[str, Quantity] | None = None

    def request(self, resource: ControlledResource) -> int | None:
        """Returns the request; where only a limit is set, the API server takes that."""
        own = amount(resource, self.requests)
        return self.limit(resource) if own is None else own

    def limit(self, resource: ControlledResource) -> int | None:
        """Returns the limit."""
        return amount(resource, self.limits)


NO_RESOURCES: Final = Resources()


class Container(_Wire, frozen=True, kw_only=True):
    """A container."""

    name: str = ""
    restart_policy: str | None = None
    resources: Resources | None = None

    @property
    def sidecar(self) -> bool:
        """Says whether an init container goes on running beside the others (native sidecar)."""
        return self.restart_policy == "Always"

    @property
    def amounts(self) -> Resources:
        """Returns its resources, empty ones where it has none."""
        return self.resources or NO_RESOURCES


class Gate(_Wire, frozen=True, kw_only=True):
    """A scheduling gate."""

    name: str = ""


class Spec(_Wire, frozen=True, kw_only=True):
    """The pod's spec."""

    node_name: str | None = None
    priority_class_name: str | None = None
    active_deadline_seconds: int | None = None
    scheduling_gates: tuple[Gate, ...] | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    overhead: dict[str, Quantity] | None = None
    resources: Resources | None = None


class AdmittedPod(_Wire, frozen=True, kw_only=True):
    """A pod on its way in. Without metadata or spec it is none."""

    metadata: Metadata
    spec: Spec

    @property
    def labels(self) -> dict[str, str]:
        """Returns the labels, empty where there are none."""
        return self.metadata.labels or {}

    @property
    def every_container(self) -> Iterator[Container]:
        """Yields init containers and containers."""
        yield from self.spec.init_containers or ()
        yield from self.spec.containers or ()

    def service(self, namespace: str) -> ServiceKey | None:
        """Returns the scale target that the pod belongs to, by the same rule as the recommender's."""
        owners = tuple(
            OwnerReference(kind=owner.kind, name=owner.name, uid="") for owner in self.metadata.owner_references or ()
        )
        return service_of(Pod(metadata=ObjectMeta(namespace=namespace, labels=self.labels, owner_references=owners)))

    def guaranteed(self) -> bool:
        """Says whether its QoS class is Guaranteed: every container's requests are its limits, for CPU and memory."""
        return all(
            (limit := container.amounts.limit(resource)) and container.amounts.request(resource) == limit
            for container in self.every_container
            for resource in RESOURCES
        )


_read = msgspec.json.Decoder(AdmittedPod).decode


def read_pod(raw: bytes) -> AdmittedPod:
    """Reads a pod.

    Raises:
        UnreadablePodError: it has another shape than Kubernetes' own.
    """
    try:
        return _read(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise UnreadablePodError(str(error)) from error
