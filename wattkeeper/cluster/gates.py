"""Takes the power gate off pods: the one thing of a pod that is ever changed after its creation."""

from __future__ import annotations

from typing import Final

import msgspec

from wattkeeper.api.admission import POWER_GATE
from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import JSON_PATCH, Connection
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError
from wattkeeper.cluster.objects import NodeSelectorTerm, Pod
from wattkeeper.cluster.resources import RESOURCES
from wattkeeper.cluster.writes import FIELD_MANAGER

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


class GateOpener:
    """Opens gates."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open(self, pod: Pod, terms: tuple[NodeSelectorTerm, ...] | None) -> None:
        """Takes the gate off, and tightens the affinity, in one patch (see wattkeeper.cluster.interface.Cluster).

        Kubernetes checks an affinity against the pod as it was, still gated: both may change at once (kubernetes 1.36
        pkg/apis/core/validation/validation.go, ValidatePodUpdate).
        """
        index = gate_index(pod)
        if index is None:
            return
        meta = pod.metadata
        gate = f"/spec/schedulingGates/{index}"
        operations: list[dict[str, object]] = [
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "test", "path": gate, "value": {"name": POWER_GATE}},
            {"op": "remove", "path": gate},
        ]
        if terms is not None:
            operations.append(_affinity(pod, terms))
        path = RESOURCES[Pod].item(meta.namespace, meta.name)
        try:
            await self._connection.request(
                "PATCH",
                path,
                query={"fieldManager": FIELD_MANAGER},
                body=msgspec.json.encode(operations),
                content_type=JSON_PATCH,
            )
        except (RefusedError, ConflictError) as error:
            # The API server answers a failed test like an invalid object: look which it was.
            now = read_answer(await self._connection.request("GET", path), Pod)
            if now.metadata.uid != meta.uid:
                raise NotFoundError(
                    f"Pod {meta.namespace}/{meta.name} is another one by now: its gate stays."
                ) from error
            if gate_index(now) is None:
                return
            if now.spec.scheduling_gates != pod.spec.scheduling_gates:
                raise ConflictError(f"the gates of pod {meta.namespace}/{meta.name} have changed: {error}") from error
            raise


def gate_index(pod: Pod) -> int | None:
    """Returns where the power gate stands among a pod's gates, None where it does not."""
    for index, gate in enumerate(pod.spec.scheduling_gates):
        if gate.name == POWER_GATE:
            return index
    return None


def _affinity(pod: Pod, terms: tuple[NodeSelectorTerm, ...]) -> dict[str, object]:
    """Returns the operation that puts terms where they belong; a patch cannot add into what is not there."""
    required: dict[str, object] = {"nodeSelectorTerms": written(terms)}
    affinity = pod.spec.affinity
    if affinity is None:
        return {"op": "add", "path": "/spec/affinity", "value": {"nodeAffinity": {_REQUIRED: required}}}
    if affinity.node_affinity is None:
        return {"op": "add", "path": "/spec/affinity/nodeAffinity", "value": {_REQUIRED: required}}
    return {"op": "add", "path": f"/spec/affinity/nodeAffinity/{_REQUIRED}", "value": required}
