"""The webhook for objects that people write: it refuses what contradicts itself, and warns of what does nothing.

Our own kinds may be refused; anybody else's objects never. Whatever cannot be judged (caches that are not complete, an
object that cannot be read, another version) is let through: the leader says on statuses what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Final, TypeVar

import msgspec

from admission.problem import Problem
from admission.review import Answer, Review
from admission.validate_budget import budget_problems
from admission.validate_marks import bears_marks, mark_problems
from admission.validate_policy import claim_problems, policy_problems
from admission.view import AdmissionView
from wattkeeper.api.marks import POLICY_ANNOTATION
from wattkeeper.api.meta import GROUP, VERSION
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy

_UNPROCESSABLE: Final = 422
_MOST_MARKS: Final = 8
"""Wrong labels and annotations that are told of: each search for the right name takes some 40 microseconds, an object
has room for tens of thousands, and everybody's reviews would wait."""
_WORKLOADS: Final = (("apps", "Deployment"), ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"))

T = TypeVar("T", PowerBudget, PowerCappingPolicy)


class _Owner(msgspec.Struct, frozen=True):
    controller: bool | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    owner_references: tuple[_Owner, ...] | None = None

    def controlled(self) -> bool:
        """Says whether a controller made the object."""
        return any(owner.controller for owner in self.owner_references or ())


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


class ObjectValidator:
    """Answers reviews of objects that are created or changed, from memory."""

    def __init__(self, view: AdmissionView, sinks: Callable[[], Collection[str]]) -> None:
        """Prepares.

        Args:
            view: the caches.
            sinks: returns the names of the alert sinks that there are.
        """
        self._view = view
        self._sinks = sinks

    def __call__(self, review: Review) -> Answer:
        """Answers one review."""
        group, kind = review.kind.group, review.kind.kind
        written = review.operation in ("CREATE", "UPDATE") and not review.sub_resource
        if not written or not bears_marks(group, kind) or (group == GROUP and review.kind.version != VERSION):
            return Answer(result="not_asked_for")
        if not self._view.synced():
            return Answer(result="not_synced")
        if group not in ("", GROUP) and self._view.opted_out(review.namespace):
            return Answer(result="unconcerned")
        try:
            metadata = msgspec.json.decode(review.object, type=_Object).metadata
            # Nobody could correct an object on its way out, and nobody reads warnings of one that a controller makes:
            # who wrote what it is made from was told there.
            if metadata.deletion_timestamp or (group != GROUP and metadata.controlled()):
                return Answer()
            names = {policy.metadata.name for policy in self._view.policies(review.namespace)}
            marks = mark_problems(group, kind, msgspec.json.decode(review.object), names)
            problems = [*self._problems(review, metadata), *islice(marks, _MOST_MARKS)]
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return Answer(result="unreadable")
        return _answer(problems)

    def _problems(self, review: Review, metadata: _Metadata) -> Iterator[Problem]:
        """Yields what labels and annotations do not say."""
        view, namespace = self._view, review.namespace
        kind = (review.kind.group, review.kind.kind)
        if kind == (GROUP, "PowerBudget"):
            budget, budget_before = _read(review, PowerBudget)
            yield from budget_problems(budget, budget_before, view.budgets(), view.nodes())
        elif kind == (GROUP, "PowerCappingPolicy"):
            policy, before = _read(review, PowerCappingPolicy)
            others, workloads = view.policies(namespace), view.workloads(namespace)
            yield from policy_problems(policy, before, others, workloads, view.annotated_policy, self._sinks())
        elif kind in _WORKLOADS:
            annotated = (metadata.annotations or {}).get(POLICY_ANNOTATION, "")
            yield from claim_problems(metadata.labels or {}, annotated, view.policies(namespace))


def _read(review: Review, kind: type[T]) -> tuple[T, T | None]:
    """Returns an object as it shall be and as it is.

    Raises:
        msgspec.MsgspecError: one of them cannot be read.
    """
    old = msgspec.json.decode(review.old_object, type=kind) if review.operation == "UPDATE" else None
    return msgspec.json.decode(review.object, type=kind), old


def _answer(problems: list[Problem]) -> Answer:
    refusals = [str(one) for one in problems if one.refuses]
    warnings = tuple(str(one) for one in problems if not one.refuses)
    if refusals:
        message = " ".join(refusals)
        return Answer(allowed=False, message=message, code=_UNPROCESSABLE, warnings=warnings, result="refused")
    return Answer(warnings=warnings, result="warned" if warnings else "allowed")
