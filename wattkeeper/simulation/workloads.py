"""What can be scaled in the twin, by its kind."""

from __future__ import annotations

from typing import Final

from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet

Workload = Deployment | LeaderWorkerSet
_KINDS: Final[dict[str, type[Workload]]] = {"Deployment": Deployment, "LeaderWorkerSet": LeaderWorkerSet}


def find_workload(view: View, kind: str, namespace: str, name: str) -> Workload | None:
    """Returns a Deployment or a LeaderWorkerSet, None where there is none, or it is of another kind."""
    found = _KINDS.get(kind)
    return None if found is None else view.get(found, namespace, name)
