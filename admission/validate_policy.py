"""What is wrong with a PowerCappingPolicy that is being written, and with workloads that two policies select.

A target that is claimed twice gets the stricter of each figure, so nothing contradicts itself: its owner is warned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from admission.amounts import quantity
from admission.nearest import nearest
from admission.problem import Problem
from admission.view import Workload
from wattkeeper.api.power_capping_policy import ControlledResource, PowerCappingPolicy
from wattkeeper.cluster.objects import Deployment

_RESOURCES: Final[tuple[ControlledResource, ...]] = ("cpu", "memory")
_MOST_NAMES: Final = 3
_MOST_COMPARISONS: Final = 10_000
"""Of a selector with a target's labels, so that no write waits for more than some milliseconds. What is overlooked, the
leader says on both policies."""


def policy_problems(
    new: PowerCappingPolicy,
    old: PowerCappingPolicy | None,
    others: Collection[PowerCappingPolicy],
    workloads: Collection[Workload],
    annotated: Callable[[Workload], str],
    sinks: Collection[str],
) -> Iterator[Problem]:
    """Yields problems.

    Args:
        new: as it shall be.
        old: as it is, None where it is being created.
        others: the policies of its namespace, this one included or not.
        workloads: all Deployments and LeaderWorkerSets of its namespace.
        annotated: returns the policy that an annotation names for one of these, "" without one.
        sinks: names of the alert sinks that there are.
    """
    before = {} if old is None else dict(_crossed_bounds(old))
    for field, message in _crossed_bounds(new):
        yield Problem(field=field, message=message, refuses=field not in before)
    for name in () if new.spec.alerts is None else new.spec.alerts.sinks:
        if name not in sinks:
            meant = nearest(name, sinks)
            message = f"no alert sink is called {name}, so nobody is told there."
            yield Problem(field="spec.alerts.sinks", message=f"{message} Did you mean {meant}?" if meant else message)
    # As the leader chooses: an annotation goes before selectors, unless it names no policy.
    names = {new.metadata.name, *(other.metadata.name for other in others)}
    named = [(one, annotated(one)) for one in workloads]
    selected = [one for one, name in named if name not in names and new.spec.selector.matches(one.metadata.labels)]
    if not selected and not any(name == new.metadata.name for _, name in named):
        message = (
            "no Deployment or LeaderWorkerSet of the namespace has these labels now or names this policy in an "
            "annotation, so nothing is capped."
        )
        yield Problem(field="spec.selector", message=message)
    claims = _claimed_too(new, others, selected)
    if claims:
        (name, example), *more = claims.items()
        message = (
            f"{_named(example)} is selected by PowerCappingPolicy {name}{' and others' if more else ''}, too: the "
            "stricter figures hold. Narrow one of the selectors."
        )
        yield Problem(field="spec.selector", message=message)


def claim_problems(
    labels: dict[str, str], annotated: str, policies: Collection[PowerCappingPolicy]
) -> Iterator[Problem]:
    """Yields what policies make of a workload with these labels, for which an annotation names a policy or "" none."""
    if any(one.metadata.name == annotated for one in policies):
        return
    names = sorted(one.metadata.name for one in policies if one.spec.selector.matches(labels))
    if len(names) > 1:
        message = f"PowerCappingPolicies {_listed(names)} all select this: the stricter figures hold."
        yield Problem(field="metadata.labels", message=message)


def _crossed_bounds(policy: PowerCappingPolicy) -> Iterator[tuple[str, str]]:
    requests = policy.spec.requests
    for place, rule in enumerate(() if requests is None else requests.containers):
        for resource in _RESOURCES:
            least, most = getattr(rule.min_allowed, resource), getattr(rule.max_allowed, resource)
            if least is None or most is None:
                continue
            low, high = quantity(resource, least), quantity(resource, most)
            if low is not None and high is not None and low > high:
                field = f"spec.requests.containers[{place}].minAllowed.{resource}"
                yield field, f"{least} is above maxAllowed ({most}): lower it, or raise maxAllowed."


def _claimed_too(
    new: PowerCappingPolicy,
    others: Collection[PowerCappingPolicy],
    selected: Sequence[Workload],
) -> dict[str, Workload]:
    """Returns other policies that select some of the same targets, each with one of these; two of them are enough.

    Policies stand under a label that they ask for: a target meets only those whose label it has.
    """
    by_label: dict[tuple[str, str] | None, list[PowerCappingPolicy]] = defaultdict(list)
    for other in others:
        if other.metadata.name != new.metadata.name:
            by_label[next(iter(other.spec.selector.match_labels.items()), None)].append(other)
    found: dict[str, Workload] = {}
    comparisons = 0
    for target in selected:
        labels = target.metadata.labels
        for label in (None, *labels.items()):
            for other in by_label.get(label, ()):
                if other.spec.selector.matches(labels):
                    found.setdefault(other.metadata.name, target)
                comparisons += 1
                if len(found) > 1 or comparisons >= _MOST_COMPARISONS:
                    return found
    return found


def _named(workload: Workload) -> str:
    kind = "Deployment" if isinstance(workload, Deployment) else "LeaderWorkerSet"
    return f"{kind} {workload.metadata.name}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
