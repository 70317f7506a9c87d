"""Deletion costs: which pods a ReplicaSet gives up first when its replicas fall.

Written ahead like fields of users: a cost is set only once the view shows the note of it, and what there was before
comes back in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kserve_hooks.marks import LATE_SECONDS, Marks
from kserve_hooks.pod_actions import SetDeletionCost
from kserve_hooks.pods import ServicePods, cost_of, ends
from kserve_hooks.reverts import RevertOptions, Reverts
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant, parse_instant
from wattkeeper.api.power_recommendation import PodCost
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Pod

LOWEST_COST: Final = -(2**31)
_WAIT_SECONDS: Final = 10.0
"""How long a lower ceiling waits for costs to show: then the budget matters more than which pods go."""
NEVER: Final = Reverts()


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What deletion costs of one service shall be.

    Attributes:
        notes: what is set from now on, or not yet put back.
        writes: those of which the note shows, in order.
        awaited: a lower ceiling has to wait until they show.
        reverts: how often in a row somebody has put them back.
    """

    notes: tuple[PodCost, ...] = ()
    writes: tuple[SetDeletionCost, ...] = ()
    awaited: bool = False
    reverts: Reverts = NEVER


def weigh(
    named: Sequence[Pod],
    pods: ServicePods,
    service: ServiceKey,
    noted: Sequence[PodCost],
    marks: Marks,
    now: float,
    *,
    options: RevertOptions,
    reverts: Reverts = NEVER,
    late_seconds: float = LATE_SECONDS,
) -> Costs:
    """Returns what costs shall be, so that the pods that are named go first, the first one first.

    Args:
        named: pods of the service that shall go.
        pods: of this pass.
        service: whose.
        noted: what the view shows as noted.
        marks: what is remembered of this term.
        now: Unix seconds.
        options: when somebody has put costs back often enough: then nothing is written for a while.
        reverts: how often in a row somebody has put costs of this service back.
        late_seconds: for how long what was noted may be set without being shown.
    """
    known, of_named = {one.uid: one for one in noted}, {pod.metadata.uid for pod in named}
    marked = [(pod, known[pod.metadata.uid]) for pod in named if pod.metadata.uid in known]
    missing = [(pod, note) for pod, note in marked if _is_missing(pod, note, marks, now)]
    reverts = _counted(reverts, named, missing, marks, options, now)
    paused = reverts.paused(options, now)
    writes = [
        SetDeletionCost(pod=pod, cost=note.written)
        for pod, note in missing
        if not paused and not marks.comes(pod, note.written, now)
    ]
    awaited = not paused and any(now - _since(note) < _WAIT_SECONDS for _, note in missing)
    notes = [note for _, note in marked]
    new = _new_notes(named, pods, service, known, now)
    for note in known.values():
        pod = pods.by_uid(note.uid)
        if pod is None or note.uid in of_named:
            continue
        if _set(pod) == note.written:
            notes.append(note)
            writes.append(SetDeletionCost(pod=pod, cost=note.original))
            marks.leaves(note.uid)
        elif now - max(_since(note), marks.sent(note.uid)) < late_seconds:
            notes.append(note)  # It may have been written, and not be shown yet.
    return Costs(
        notes=tuple(sorted((*notes, *new), key=lambda one: one.name)),
        writes=tuple(writes),
        awaited=awaited or (bool(new) and not paused),
        reverts=reverts,
    )


def put_back_finding(service: ServiceKey, reverts: Reverts, options: RevertOptions, now: float) -> Finding:
    """Says that somebody puts deletion costs back, and what to do."""
    message = (
        f"Somebody put back deletion costs of {service.kind} {service.name}'s pods {reverts.times()}: have it leave "
        f"the annotation {DELETION_COST} alone (kubectl get pods -o yaml --show-managed-fields tells who it is)."
    )
    if reverts.paused(options, now):
        message += " The actuator has stopped writing for now: a pod that has to go and stays is evicted instead."
    return Finding(type="Reverted", holds=True, reason="PutBack", message=message)


def _is_missing(pod: Pod, note: PodCost, marks: Marks, now: float) -> bool:
    """Says whether a pod has the cost that it had before ours. Any other is somebody's wish, and left alone."""
    if _set(pod) == note.written:
        marks.shows(note.uid, now)
        return False
    return _set(pod) == note.original


def _counted(
    reverts: Reverts,
    named: Sequence[Pod],
    missing: Sequence[tuple[Pod, PodCost]],
    marks: Marks,
    options: RevertOptions,
    now: float,
) -> Reverts:
    # All of them are asked: what was undone counts once for each pod.
    undone = [marks.undone(pod, note.written, now) for pod, note in missing]
    if any(undone):
        return Reverts(count=reverts.count + 1, at=now)
    if not named or (not missing and reverts.over(options, now)):
        return NEVER
    return reverts


def _new_notes(
    named: Sequence[Pod], pods: ServicePods, service: ServiceKey, known: Mapping[str, PodCost], now: float
) -> list[PodCost]:
    going = {pod.metadata.uid for pod in named} | known.keys()
    staying = (pod for pod in pods.of(service) if pod.metadata.uid not in going and not ends(pod))
    lowest = min((cost_of(pod) for pod in staying), default=0)
    return [
        PodCost(
            name=pod.metadata.name,
            uid=pod.metadata.uid,
            original=_set(pod),
            written=max(min(lowest, 0) - len(named) + rank, LOWEST_COST),
            since=format_instant(now),
        )
        for rank, pod in enumerate(named)
        if pod.metadata.uid not in known
    ]


def waited(noted: Iterable[PodCost], uid: str, now: float) -> float:
    """Returns for how many seconds a pod has been marked to go first, -1 where it is not."""
    return next((now - _since(one) for one in noted if one.uid == uid), -1.0)


def _set(pod: Pod) -> int | None:
    """Returns a pod's cost, None without one."""
    return cost_of(pod) if DELETION_COST in pod.metadata.annotations else None


def _since(note: PodCost) -> float:
    return parse_instant(note.since) or 0.0
