"""Which CPU and memory requests a new pod gets: what its service's containers have used, within everybody's bounds.

Left alone are: what the policy does not control, ordinary init containers, what an HPA divides usage by, every resource
other than CPU and memory, and whatever cannot be changed without breaking a bound or lowering the QoS class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from admission.amounts import STEP, text
from admission.bounds import aim, container_ranges
from admission.estimate import Estimate, Estimates
from admission.patch import Operation, pointer, set_members
from admission.pod import AdmittedPod, Container
from admission.sums import Move, fit, rules
from admission.view import Surroundings
from wattkeeper.api.power_capping_policy import ContainerRequests, ControlledResource, Requests
from wattkeeper.api.readings import ServiceKey

_WHOLE_CPU: Final = 1000
"""Guaranteed pods with whole CPUs may own them (the kubelet's static CPU manager); they go on asking for whole ones."""

_MOST_CONTAINERS: Final = 100
"""Of one pod, init containers included. Nobody has validated it yet, and sums cost the product of both kinds: a pod of
some thousands would keep everybody's reviews waiting for seconds. No pod that runs has as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestPlan:
    """What happens to a pod's requests.

    Attributes:
        operations: the patch.
        notes: what is done and what is left alone, and why; a phrase each.
        estimated: containers of which usage is known.
        unknown: containers of which nothing is known yet.
    """

    operations: tuple[Operation, ...] = ()
    notes: tuple[str, ...] = ()
    estimated: int = 0
    unknown: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slot:
    """A container that runs with the pod, and where it stands in it."""

    path: str
    container: Container
    rule: ContainerRequests
    estimate: Estimate | None

    @property
    def controlled(self) -> bool:
        return self.rule.mode != "Off"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Planned:
    """One resource over all slots.

    Attributes:
        moves: one per slot.
        kept: per slot why its request goes nowhere, "" where nothing held it.
        refused: who forbids all of it.
    """

    moves: tuple[Move, ...]
    kept: tuple[str, ...]
    refused: str


def plan_requests(
    pod: AdmittedPod, service: ServiceKey, policy: Requests, estimates: Estimates, surroundings: Surroundings
) -> RequestPlan:
    """Returns what happens to the requests of a pod. Planning again for the patched pod changes nothing."""
    if not policy.controlled_resources:
        return RequestPlan()
    if len(pod.spec.containers or ()) + len(pod.spec.init_containers or ()) > _MOST_CONTAINERS:
        return RequestPlan(notes=(f"requests left alone: the pod has more than {_MOST_CONTAINERS} containers",))
    guaranteed = pod.guaranteed()
    refusal = _left_alone(pod, policy, guaranteed=guaranteed)
    if refusal:
        return RequestPlan(notes=(refusal,))
    slots = tuple(_slots(pod, service, policy, estimates))
    planned: dict[ControlledResource, _Planned] = {
        resource: _plan(resource, pod, slots, policy, surroundings, guaranteed=guaranteed)
        for resource in dict.fromkeys(policy.controlled_resources)
    }
    moves: list[dict[ControlledResource, Move]] = [
        {resource: one.moves[number] for resource, one in planned.items()} for number in range(len(slots))
    ]
    return RequestPlan(
        operations=tuple(
            operation for slot, own in zip(slots, moves, strict=True) for operation in _operations(slot, own)
        ),
        notes=tuple(_notes(slots, planned)),
        estimated=sum(slot.controlled and slot.estimate is not None for slot in slots),
        unknown=sum(slot.controlled and slot.estimate is None for slot in slots),
    )


def _left_alone(pod: AdmittedPod, policy: Requests, *, guaranteed: bool) -> str:
    """Returns why no request of a pod may change, "" where some may."""
    whole = pod.spec.resources
    if whole is not None and (whole.requests or whole.limits):
        return "requests left alone: the pod sets them for all of its containers together"
    if policy.limits == "Keep" and guaranteed:
        return "requests left alone: the pod's QoS class is Guaranteed and the policy keeps limits"
    return ""


def _slots(pod: AdmittedPod, service: ServiceKey, policy: Requests, estimates: Estimates) -> Iterator[_Slot]:
    named = {rule.name: rule for rule in policy.containers}
    fallback = named.get("*", ContainerRequests(name="*"))
    for folder, containers in (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers)):
        for number, container in enumerate(containers or ()):
            if folder == "containers" or container.sidecar:
                yield _Slot(
                    path=pointer("spec", folder, number),
                    container=container,
                    rule=named.get(container.name, fallback),
                    estimate=estimates.estimate(service, container.name),
                )


def _plan(
    resource: ControlledResource,
    pod: AdmittedPod,
    slots: Sequence[_Slot],
    policy: Requests,
    surroundings: Surroundings,
    *,
    guaranteed: bool,
) -> _Planned:
    ranges = container_ranges(resource, surroundings)
    moves: list[Move] = []
    kept: list[str] = []
    for slot in slots:
        move = _standing(resource, slot.container, policy, guaranteed=guaranteed)
        moves.append(move)
        if slot.estimate is None or not slot.controlled:
            kept.append("")
            continue
        kept.append(aim(resource, move, slot.estimate, slot.rule, surroundings.autoscalers, ranges))
    refused = ""
    if any(move.aim != move.old for move in moves):
        refused = fit(moves, lambda: rules(resource, pod, moves, surroundings))
    return _Planned(moves=tuple(moves), kept=tuple(kept), refused=refused)


def _standing(resource: ControlledResource, container: Container, policy: Requests, *, guaranteed: bool) -> Move:
    """Returns a request that stays where it is."""
    old = container.amounts.request(resource) or 0
    limit = container.amounts.limit(resource)
    owns_cpus = guaranteed and resource == "cpu" and old % _WHOLE_CPU == 0
    return Move(
        container=container,
        old=old,
        aim=old,
        new=old,
        limit=limit,
        scales=policy.limits == "Scale" and old > 0,
        step=_WHOLE_CPU if owns_cpus else STEP[resource],
    )


def _operations(slot: _Slot, moves: Mapping[ControlledResource, Move]) -> list[Operation]:
    changed: dict[ControlledResource, Move] = {
        resource: move for resource, move in moves.items() if move.new != move.old
    }
    requests: dict[str, object] = {resource: text(resource, move.new) for resource, move in changed.items()}
    resources = slot.container.resources
    if resources is None:
        return set_members(slot.path + pointer("resources"), None, {"requests": requests}) if requests else []
    limits: dict[str, object] = {
        resource: text(resource, limit)
        for resource, move in changed.items()
        if move.scales and (limit := move.limit_beside(move.new)) is not None
    }
    return [
        *set_members(slot.path + pointer("resources", "requests"), resources.requests, requests),
        *set_members(slot.path + pointer("resources", "limits"), resources.limits, limits),
    ]


def _notes(slots: Sequence[_Slot], planned: Mapping[ControlledResource, _Planned]) -> Iterator[str]:
    for resource, one in planned.items():
        if one.refused:
            yield f"{resource} left alone: {one.refused} leaves no room"
    for number, slot in enumerate(slots):
        if not slot.controlled:
            yield f"{slot.container.name}: left alone, as the policy says"
        elif slot.estimate is None:
            yield f"{slot.container.name}: no usage known yet"
        else:
            said = [_said(resource, one.moves[number], one.kept[number]) for resource, one in planned.items()]
            yield f"{slot.container.name}: {', '.join(said)}"


def _said(resource: ControlledResource, move: Move, kept: str) -> str:
    kept = kept or move.cut
    if move.new == move.old:
        return f"{resource} left alone ({kept})" if kept else f"{resource} kept"
    before, why = text(resource, move.old) if move.old else "none", move.cut or move.why
    said = f"{resource} {before} -> {text(resource, move.new)}{f' ({why})' if why else ''}"
    limit = move.limit_beside(move.new)
    if move.limit is None or limit is None or limit == move.limit:
        return said
    return f"{said} and limit {text(resource, move.limit)} -> {text(resource, limit)}"
