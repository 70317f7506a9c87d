"""What a pod's requests may add up to: LimitRanges of type Pod, and what is left of ResourceQuotas.

Every rule is linear in the containers' requests v: weights . v <= most. A pod's request, as Kubernetes counts it, is
the larger of what runs in the end (containers and native sidecars) and of what each init container needs beside the
sidecars started before it; each of those is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from admission.amounts import Quantities, amount, quantity, ratio
from admission.pod import AdmittedPod, Container
from admission.view import Surroundings
from wattkeeper.api.power_capping_policy import ControlledResource
from wattkeeper.cluster.objects import ResourceQuota, ScopeRequirement

MIN_CHANGE: Final = 0.1
"""A request is changed only where it shall be more than this share larger or smaller: what is about right stays."""

_ROUNDS: Final = 32
"""More than the changes of more than a tenth that lie between any two requests in practice."""

_TOLERANCE: Final = 1e-6
"""Of a millicore or a byte: what floats may be wrong by."""


@dataclass(kw_only=True, slots=True)
class Move:
    """One container's request of one resource, on its way from what it is to what it shall be.

    Attributes:
        container: the container.
        old: the request as it came, 0 for none.
        aim: the request that it shall have, by itself.
        new: the request that it gets.
        limit: the limit as it came, None for none.
        scales: the limit keeps its proportion to the request.
        step: what is set is a multiple of this, unless a bound lies between two.
        why: what holds the aim up or down, "" for usage alone.
        cut: what keeps the request from its aim, "" where it gets there.
    """

    container: Container
    old: int
    aim: int
    new: int
    limit: int | None
    scales: bool
    step: int
    why: str = ""
    cut: str = ""

    def limit_beside(self, request: int) -> int | None:
        """Returns the limit that goes with a request. It is rounded down: no maximum, no ratio is exceeded so."""
        if self.limit is None or not self.scales or request == self.old:
            return self.limit
        return request * self.limit // self.old

    def go(self, start: int, share: float) -> None:
        """Goes a share of the way from a start, rounded towards it; not at all where that is hardly a change."""
        exact = start + (self.new - start) * share
        if self.new > start:
            reached = self.new if share == 1.0 else max(start, int(exact // self.step) * self.step)
        else:
            reached = self.new if share == 1.0 else min(start, -int(-exact // self.step) * self.step)
        self.new = reached if abs(reached - start) > MIN_CHANGE * start else start


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """weights . v <= most; `why` names who says so."""

    weights: tuple[float, ...]
    most: float
    why: str

    def excess(self, values: Sequence[int]) -> float:
        """Returns by how much values break the rule; not above 0 when they keep it."""
        found = sum(weight * value for weight, value in zip(self.weights, values, strict=True)) - self.most
        return found if found > _TOLERANCE else 0.0


def fit(moves: Sequence[Move], rules: Callable[[], Sequence[Rule]]) -> str:
    """Moves requests towards their aims as far as every rule is kept.

    A rule that cuts one move short may leave another rule room again, so it goes on from where it got, as the next
    review of the same pod would.

    Args:
        moves: one per container; their `new` is changed.
        rules: returns the rules for where the moves are now.

    Returns:
        Who forbids every move; "" where some are made, or none is wanted.
    """
    for number in range(_ROUNDS):
        start = [move.new for move in moves]
        refused = _go(moves, start, rules())
        if refused:
            return refused if number == 0 else ""
        if not any(move.cut for move in moves) or [move.new for move in moves] == start:
            break
    return ""


def _go(moves: Sequence[Move], start: Sequence[int], rules: Sequence[Rule]) -> str:
    """Goes once. What relieves a rule goes all the way, what strains it only as far as the rule lets it."""
    for move, begin in zip(moves, start, strict=True):
        move.new, move.cut = move.aim, ""
        move.go(begin, 1.0)
    for rule in rules:
        excess = rule.excess([move.new for move in moves])
        strains = [weight * (move.new - begin) for move, begin, weight in zip(moves, start, rule.weights, strict=True)]
        most = sum(strain for strain in strains if strain > 0)
        if not excess or not most:
            continue
        for move, begin, strain in zip(moves, start, strains, strict=True):
            if strain > 0:
                move.cut = rule.why
                move.go(begin, max(0.0, 1.0 - excess / most))
    for rule in rules:
        # A pod that breaks a rule as it came is refused without us, too: only what we break is undone.
        if rule.excess([move.new for move in moves]) and not rule.excess(start):
            for move, begin in zip(moves, start, strict=True):
                move.new = begin
            return rule.why
    return ""


def rules(
    resource: ControlledResource, pod: AdmittedPod, moves: Sequence[Move], surroundings: Surroundings
) -> list[Rule]:
    """Returns every rule about the sum of one resource."""
    sums = _Sums(resource, pod, moves)
    return [*_of_limit_ranges(resource, sums, surroundings), *_of_quotas(resource, pod, sums, surroundings)]


Term = tuple[tuple[float, ...], float]


class _Sums:
    """A pod's requests and limits as terms (weights, constant).

    Attributes:
        requests, limits: all terms; none may exceed a maximum.
        request, limit: those that are largest now. The sum is never less, so a minimum that these keep is kept.
        scales: some limits follow their requests.
    """

    def __init__(self, resource: ControlledResource, pod: AdmittedPod, moves: Sequence[Move]) -> None:
        overhead = amount(resource, pod.spec.overhead) or 0
        now = [move.new for move in moves]

        def value(term: Term) -> float:
            return sum(weight * one for weight, one in zip(term[0], now, strict=True)) + term[1]

        requests = list(_terms(pod, moves, lambda _: (1.0, 0.0), lambda one: one.amounts.request(resource) or 0))
        limits = list(_terms(pod, moves, _limit_part, lambda one: one.amounts.limit(resource) or 0))
        self.request, self.limit = max(requests, key=value), max(limits, key=value)
        self.requests = [(weights, fixed + overhead) for weights, fixed in requests]
        self.limits = [(weights, fixed + overhead) for weights, fixed in limits]
        self.scales = any(move.scales and move.limit is not None for move in moves)


def _limit_part(move: Move) -> tuple[float, float]:
    """Returns how a container's limit follows its request, and the part that does not."""
    if move.limit is None or not move.scales:
        return 0.0, float(move.limit or 0)
    return move.limit / move.old, 0.0


def _terms(
    pod: AdmittedPod,
    moves: Sequence[Move],
    part: Callable[[Move], tuple[float, float]],
    of_init: Callable[[Container], int],
) -> Iterator[Term]:
    parts = [part(move) for move in moves]
    yield tuple(weight for weight, _ in parts), sum(fixed for _, fixed in parts)
    started: set[int] = set()
    for container in pod.spec.init_containers or ():
        if container.sidecar:
            started.add(id(container))
            continue
        beside = [one if id(move.container) in started else (0.0, 0.0) for move, one in zip(moves, parts, strict=True)]
        yield tuple(weight for weight, _ in beside), sum(fixed for _, fixed in beside) + of_init(container)


def _at_most(terms: Sequence[Term], most: float, why: str) -> Iterator[Rule]:
    for weights, fixed in terms:
        yield Rule(weights=weights, most=most - fixed, why=why)


def _at_least(term: Term, least: float, why: str) -> Rule:
    weights, fixed = term
    return Rule(weights=tuple(-weight for weight in weights), most=fixed - least, why=why)


def _ratio_kept(limit: Term, request: Term, most: float, why: str) -> Rule:
    weights = tuple(one - most * other for one, other in zip(limit[0], request[0], strict=True))
    return Rule(weights=weights, most=most * request[1] - limit[1], why=why)


def _of_limit_ranges(resource: ControlledResource, sums: _Sums, surroundings: Surroundings) -> Iterator[Rule]:
    for limit_range in surroundings.limit_ranges:
        why = f"LimitRange {limit_range.metadata.name}"
        for item in limit_range.spec.limits:
            if item.type != "Pod":
                continue
            least, most = amount(resource, item.min), amount(resource, item.max)
            if most is not None:
                yield from _at_most([*sums.requests, *(sums.limits if sums.scales else ())], most, why)
            if least is not None:
                yield _at_least(sums.request, least, why)
                if sums.scales:
                    yield _at_least(sums.limit, least, why)
            most_ratio = ratio(resource, item.max_limit_request_ratio)
            if most_ratio:
                yield from (_ratio_kept(limit, sums.request, most_ratio, why) for limit in sums.limits)


def _of_quotas(
    resource: ControlledResource, pod: AdmittedPod, sums: _Sums, surroundings: Surroundings
) -> Iterator[Rule]:
    """The pod itself is not in `used` yet: a quota is charged after every webhook has had its say."""
    for quota in surroundings.quotas:
        if not _counts(quota, pod):
            continue
        why = f"ResourceQuota {quota.metadata.name}"
        hard = quota.status.hard or quota.spec.hard
        names = [(resource, sums.requests), (f"requests.{resource}", sums.requests)]
        names += [(f"limits.{resource}", sums.limits)] if sums.scales else []
        for name, terms in names:
            left = _left(resource, hard, quota.status.used, name)
            if left is not None:
                yield from _at_most(terms, left, why)


def _left(resource: ControlledResource, hard: Quantities, used: Quantities, name: str) -> int | None:
    most = quantity(resource, hard[name]) if name in hard else None
    return None if most is None else most - (quantity(resource, used.get(name, 0)) or 0)


def _counts(quota: ResourceQuota, pod: AdmittedPod) -> bool:
    """Says whether a quota counts the pod, once it has requests."""
    selector = quota.spec.scope_selector
    requirements = list(selector.match_expressions) if selector is not None else []
    requirements += [ScopeRequirement(scope_name=scope, operator="Exists") for scope in quota.spec.scopes]
    return all(_in_scope(requirement, pod) for requirement in requirements)


def _in_scope(requirement: ScopeRequirement, pod: AdmittedPod) -> bool:
    match requirement.scope_name:
        case "BestEffort":
            return False
        case "Terminating":
            return pod.spec.active_deadline_seconds is not None
        case "NotTerminating":
            return pod.spec.active_deadline_seconds is None
        case "PriorityClass":
            return _in_class(requirement, pod.spec.priority_class_name or "")
        case _:
            return True


def _in_class(requirement: ScopeRequirement, name: str) -> bool:
    match requirement.operator:
        case "In":
            return name in requirement.values
        case "NotIn":
            return name not in requirement.values
        case "DoesNotExist":
            return not name
        case _:
            return bool(name)
