"""Events about violations that begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wattkeeper.api.power_recommendation import PowerRecommendation, Violation
from wattkeeper.cluster.interface import EventRecord

_MOST_PODS: Final = 5
_WHAT_IS_WRONG: Final = {
    "Budget": "PowerBudget {0.budget} is over its limit.",
    "Replicas": "More replicas run than are granted.",
    "Slipped": "Pods run that did not pass the admission plugin.",
    "Performance": "Pods generate fewer tokens per joule than the policy asks for.",
}


def events_of_violations(
    before: PowerRecommendation | None, after: PowerRecommendation, *, everyday: bool
) -> Iterator[EventRecord]:
    """Yields what begins and ends, once for each type and budget however many pods begin or end it.

    Args:
        before: as it was published, None for a new one.
        after: as it is published now.
        everyday: replicas that are too many are no news.
    """
    old = {(one.type, one.budget): one for one in (before.status.violations if before is not None else ())}
    new = {(one.type, one.budget): one for one in after.status.violations}
    for key, violation in new.items():
        if key not in old and not (everyday and violation.type == "Replicas"):
            yield violation_began(after, violation)
    for key, violation in old.items():
        if key not in new and not (everyday and violation.type == "Replicas"):
            yield violation_ended(after, violation)


def violation_began(after: PowerRecommendation, violation: Violation) -> EventRecord:
    """Something is not as it should be; names the pods that have to go for it."""
    pods = [f"{pod.name} ({pod.watts:.0f} W)" for pod in violation.pods]
    named = f" To go: {', '.join(pods[:_MOST_PODS])}." if pods else ""
    more = f" And {len(pods) - _MOST_PODS} more." if len(pods) > _MOST_PODS else ""
    return EventRecord(
        regarding=after,
        type="Warning",
        reason=f"{violation.type}Violated",
        action="Correct",
        note=f"{_WHAT_IS_WRONG[violation.type].format(violation)}{named}{more}",
        dedupe_key=f"violated/{violation.type}/{violation.budget}",
    )


def violation_ended(after: PowerRecommendation, violation: Violation) -> EventRecord:
    """A violation is over."""
    return EventRecord(
        regarding=after,
        type="Normal",
        reason="ViolationEnded",
        action="Correct",
        note=f"This is over, which was so since {violation.since}: {_WHAT_IS_WRONG[violation.type].format(violation)}",
        dedupe_key=f"violation-ended/{violation.type}/{violation.budget}",
    )
