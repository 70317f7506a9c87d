"""What became of writes that got no answer: they may have been made, and then they are to be told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kserve_hooks.actions import (
    ApplyScaledObject,
    DeleteScaledObject,
    Hold,
    Publish,
    SetBrake,
    SetFields,
    Write,
)
from kserve_hooks.migrate_actions import (
    CreateMigration,
    DeleteMigration,
    HoldMigration,
    WriteMigration,
    is_migration_write_shown,
)
from kserve_hooks.pod_actions import Evict, SetDeletionCost, is_pod_write_shown
from kserve_hooks.scaled_objects import is_as_wanted
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_recommendation import ACTUATOR_CONDITIONS, PowerRecommendation
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.braking import read_held
from wattkeeper.cluster.interface import EventRecord, View
from wattkeeper.cluster.kserve import read_field
from wattkeeper.cluster.objects import ScaledObject

_UNKNOWN_SECONDS: Final = 120.0
"""A watch that was cut off and listed again has shown by then what was written."""

Subject = tuple[str, str]
"""What kind of action, and of what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A write that was made after all.

    Attributes:
        key: of the plan that it was part of.
        version: of the object, as it was before.
        events: what it means to people.
    """

    key: str
    subject: Subject
    version: str
    events: tuple[EventRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unanswered:
    action: Write
    outcome: Outcome
    until: float


class Unanswered:
    """Remembers writes without an answer until the view shows them, or they are made again."""

    def __init__(self, view: View) -> None:
        """Takes where writes show."""
        self._view = view
        self._waiting: dict[Subject, _Unanswered] = {}

    def add(self, action: Write, outcome: Outcome, now: float) -> None:
        """Remembers one; another try of the same takes its place."""
        self._waiting[outcome.subject] = _Unanswered(action=action, outcome=outcome, until=now + _UNKNOWN_SECONDS)

    def answered(self, subject: Subject) -> None:
        """Forgets one that was made again, with an answer."""
        self._waiting.pop(subject, None)

    def made(self, now: float) -> list[Outcome]:
        """Returns those that show by now, and forgets them."""
        shown = [one.outcome for one in self._waiting.values() if is_shown(self._view, one.action)]
        gone = {one.subject for one in shown}
        self._waiting = {key: one for key, one in self._waiting.items() if key not in gone and now < one.until}
        return shown


def is_shown(view: View, action: Write) -> bool:
    """Says whether a view shows what an action was to bring about."""
    match action:
        case Hold(regarding=one, held=held):
            found = view.all(PowerRecommendation).get(one.metadata.uid)
            return found is not None and (FINALIZER in found.metadata.finalizers) == held
        case Publish(regarding=one, actuation=actuation, conditions=conditions):
            found = view.all(PowerRecommendation).get(one.metadata.uid)
            if found is None or found.status.actuation != actuation:
                return False
            said = (each for each in found.status.conditions if each.type in ACTUATOR_CONDITIONS)
            return sorted(said, key=_type) == sorted(conditions, key=_type)
        case SetFields(service=service, fields=fields):
            there = view.all(type(service)).get(service.metadata.uid)
            return there is not None and all(read_field(there, path) == value for path, value in fields)
        case ApplyScaledObject(wanted=wanted):
            made = view.get(ScaledObject, wanted.metadata.namespace, wanted.metadata.name)
            return made is not None and is_as_wanted(made, wanted)
        case DeleteScaledObject(gone=gone):
            return gone.metadata.uid not in view.all(ScaledObject)
        case SetBrake(target=target, fields=fields):
            held = view.all(type(target)).get(target.metadata.uid)
            return held is not None and all(read_held(held, field) == value for field, value in fields)
        case CreateMigration() | HoldMigration() | WriteMigration() | DeleteMigration():
            return is_migration_write_shown(view, action)
        case SetDeletionCost() | Evict():
            return is_pod_write_shown(view, action)


def _type(one: Condition) -> str:
    return one.type
