"""What killing and migrating do to pods, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_hooks.disruptions import Claim
from kserve_hooks.pods import ends
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.interface import Cluster, View
from wattkeeper.cluster.objects import Pod


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDeletionCost:
    """Say how early a pod goes when replicas fall.

    Attributes:
        cost: None to take the annotation away.
    """

    pod: Pod
    cost: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evict:
    """Evict a pod, as far as its PodDisruptionBudget allows."""

    claim: Claim


PodWrite = SetDeletionCost | Evict


def pod_of(action: PodWrite) -> Pod:
    """Returns the pod that an action is about, as it was seen."""
    return action.claim.pod if isinstance(action, Evict) else action.pod


def describe_pod_write(action: PodWrite) -> str:
    """Returns what an action does, as a sentence without its end."""
    meta = pod_of(action).metadata
    name = f"pod {meta.namespace}/{meta.name}"
    match action:
        case Evict():
            return f"evict {name}"
        case SetDeletionCost(cost=None):
            return f"take the deletion cost off {name}"
        case SetDeletionCost(cost=cost):
            return f"set the deletion cost of {name} to {cost}"


def is_pod_write_shown(view: View, action: PodWrite) -> bool:
    """Says whether a view shows what an action was to bring about."""
    found = view.all(Pod).get(pod_of(action).metadata.uid)
    match action:
        case Evict():
            return found is None or ends(found)
        case SetDeletionCost(cost=cost):
            said = None if cost is None else str(cost)
            return found is not None and found.metadata.annotations.get(DELETION_COST) == said


async def send_pod_write(cluster: Cluster, action: PodWrite) -> None:
    """Does it. Raises ClusterError."""
    match action:
        case Evict(claim=claim):
            await cluster.evict(claim.pod)
        case SetDeletionCost(pod=pod, cost=cost):
            await cluster.set_deletion_cost(pod, cost)
