"""Deletion costs: which pods a ReplicaSet gives up first when its replicas fall.

Written ahead like fields of users: a cost is set only once the view shows the note of it, and what there was before
comes back in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kserve_hooks.pod_actions import SetDeletionCost
from kserve_hooks.pods import ServicePods, cost_of, ends
from wattkeeper.api.instants import format_instant, parse_instant
from wattkeeper.api.power_recommendation import PodCost
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Pod

LOWEST_COST: Final = -(2**31)
LATE_SECONDS: Final = 30.0
"""Longer than any request of ours lasts, and than a view is late while its watch is alive."""
_WAIT_SECONDS: Final = 10.0
"""How long a lower ceiling waits for costs to show: then the budget matters more than which pods go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What deletion costs of one service shall be.

    Attributes:
        notes: what is set from now on, or not yet put back.
        writes: those of which the note shows, in order.
        awaited: a lower ceiling has to wait until they show.
    """

    notes: tuple[PodCost, ...] = ()
    writes: tuple[SetDeletionCost, ...] = ()
    awaited: bool = False


def weigh(
    named: Sequence[Pod],
    pods: ServicePods,
    service: ServiceKey,
    noted: Sequence[PodCost],
    sent: Mapping[str, float],
    now: float,
    *,
    late_seconds: float = LATE_SECONDS,
) -> Costs:
    """Returns what costs shall be, so that the pods that are named go first, the first one first.

    Args:
        named: pods of the service that shall go.
        pods: of this pass.
        service: whose.
        noted: what the view shows as noted.
        sent: when a cost was last sent in this term, by the pod's UID, in Unix seconds.
        now: Unix seconds.
        late_seconds: for how long what was noted may be set without being shown.
    """
    known = {one.uid: one for one in noted}
    going = {pod.metadata.uid for pod in named} | known.keys()
    staying = (pod for pod in pods.of(service) if pod.metadata.uid not in going and not ends(pod))
    lowest = min((cost_of(pod) for pod in staying), default=0)
    notes: list[PodCost] = []
    writes: list[SetDeletionCost] = []
    awaited = False
    for rank, pod in enumerate(named):
        meta = pod.metadata
        note = known.pop(meta.uid, None)
        if note is None:
            cost = max(min(lowest, 0) - len(named) + rank, LOWEST_COST)
            stamp = format_instant(now)
            notes.append(PodCost(name=meta.name, uid=meta.uid, original=_set(pod), written=cost, since=stamp))
            awaited = True
            continue
        notes.append(note)
        if _set(pod) == note.original != note.written:
            writes.append(SetDeletionCost(pod=pod, cost=note.written))
            awaited |= now - _since(note) < _WAIT_SECONDS
    for note in known.values():
        pod = pods.by_uid(note.uid)
        if pod is None:
            continue
        if _set(pod) == note.written:
            notes.append(note)
            writes.append(SetDeletionCost(pod=pod, cost=note.original))
        elif now - max(_since(note), sent.get(note.uid, 0.0)) < late_seconds:
            notes.append(note)  # It may have been written, and not be shown yet.
    return Costs(notes=tuple(sorted(notes, key=lambda one: one.name)), writes=tuple(writes), awaited=awaited)


def waited(noted: Iterable[PodCost], uid: str, now: float) -> float:
    """Returns for how many seconds a pod has been marked to go first, -1 where it is not."""
    return next((now - _since(one) for one in noted if one.uid == uid), -1.0)


def _set(pod: Pod) -> int | None:
    """Returns a pod's cost, None without one."""
    return cost_of(pod) if DELETION_COST in pod.metadata.annotations else None


def _since(note: PodCost) -> float:
    return parse_instant(note.since) or 0.0
