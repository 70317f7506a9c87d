"""How far one container's request may go: the policy, its own limit, what loading takes, LimitRanges, autoscalers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from admission.amounts import amount, quantity, ratio, text, whole
from admission.estimate import Estimate, Range
from admission.sums import Move
from admission.view import Surroundings
from wattkeeper.api.power_capping_policy import ContainerRequests, ControlledResource, ResourceBound
from wattkeeper.cluster.objects import HorizontalPodAutoscaler

_NO_CEILING: Final = 2**53


class _Bound(NamedTuple):
    value: int
    why: str


class ContainerRange(NamedTuple):
    """What one LimitRange entry says about one resource of every container: 0 or None where it says nothing."""

    why: str
    least: int
    most: int | None
    ratio: float


def container_ranges(resource: ControlledResource, surroundings: Surroundings) -> tuple[ContainerRange, ...]:
    """Returns what a namespace's LimitRanges say about each container."""
    return tuple(
        ContainerRange(
            f"LimitRange {limit_range.metadata.name}",
            amount(resource, item.min) or 0,
            amount(resource, item.max),
            ratio(resource, item.max_limit_request_ratio),
        )
        for limit_range in surroundings.limit_ranges
        for item in limit_range.spec.limits
        if item.type == "Container"
    )


def aim(
    resource: ControlledResource,
    move: Move,
    estimate: Estimate,
    rule: ContainerRequests,
    autoscalers: Sequence[HorizontalPodAutoscaler],
    ranges: Sequence[ContainerRange],
) -> str:
    """Sets where a request shall go.

    Returns:
        Why it shall stay, for people; "" where it has an aim.
    """
    usage = estimate.cpu if resource == "cpu" else estimate.memory
    target = whole(resource, usage.target)
    if not target:
        return "no usage known yet"
    for autoscaler in autoscalers:
        if scales_on(autoscaler, resource, move.container.name):
            return f"HorizontalPodAutoscaler {autoscaler.metadata.name} scales on it"
    least = max(_floors(resource, move, estimate, rule.min_allowed, ranges))
    most = min(_ceilings(resource, move, rule.max_allowed, ranges))
    if least.value > most.value:
        return f"{least.why} wants {text(resource, least.value)}, {most.why} allows {text(resource, most.value)}"
    if target < move.old and not _above(resource, move.old, usage):
        if least.value <= move.old <= most.value:
            return "usage may reach it yet"
        target = move.old
    wanted = -(-max(target, least.value) // move.step) * move.step
    if wanted > most.value:
        move.aim, move.why = max(most.value // move.step * move.step, least.value), most.why
    else:
        move.aim, move.why = wanted, least.why if least.value > target else ""
    return ""


def _above(resource: ControlledResource, request: int, usage: Range) -> bool:
    """Says whether a request is higher than usage can turn out to be.

    Only such a request is lowered. What was seen so far may be a quiet hour, or a model half loaded; the upper bound
    comes down to the target as confidence grows. By the same bound the Vertical Pod Autoscaler decides whether a
    running pod asks for too much (kubernetes/autoscaler, vertical-pod-autoscaler/pkg/updater/priority).
    """
    highest = whole(resource, usage.upper)
    return highest is not None and request > highest


def scales_on(autoscaler: HorizontalPodAutoscaler, resource: ControlledResource, container: str) -> bool:
    """Says whether an HPA divides a container's usage of a resource by its request."""
    for metric in autoscaler.spec.metrics:
        if metric.type == "Resource":
            found = metric.resource
        elif metric.type == "ContainerResource":
            found = metric.container_resource
            if found is not None and found.container != container:
                continue
        else:
            continue
        if found is not None and found.name == resource and found.target.type == "Utilization":
            return True
    return False


def _floors(
    resource: ControlledResource,
    move: Move,
    estimate: Estimate,
    allowed: ResourceBound,
    ranges: Sequence[ContainerRange],
) -> Iterator[_Bound]:
    yield _Bound(1, "")
    own = _allowed(resource, allowed)
    if own is not None:
        yield _Bound(own, "minAllowed")
    if resource == "memory":
        yield _Bound(whole(resource, estimate.load_peak_bytes) or 0, "loading")
    for one in ranges:
        yield _Bound(one.least, one.why)
        if one.ratio and move.limit is not None and not move.scales:
            yield _Bound(-int(-move.limit // one.ratio), one.why)


def _ceilings(
    resource: ControlledResource, move: Move, allowed: ResourceBound, ranges: Sequence[ContainerRange]
) -> Iterator[_Bound]:
    yield _Bound(_NO_CEILING, "")
    own = _allowed(resource, allowed)
    if own is not None:
        yield _Bound(own, "maxAllowed")
    if move.limit is not None and not move.scales:
        yield _Bound(move.limit, "its limit")
    for one in ranges:
        if one.most is not None:
            follows = move.scales and move.limit
            yield _Bound(one.most * move.old // follows if follows else one.most, one.why)


def _allowed(resource: ControlledResource, bound: ResourceBound) -> int | None:
    given = bound.cpu if resource == "cpu" else bound.memory
    return None if given is None else quantity(resource, given)
