"""What is noted of a brake before it is put on, and what of it is still in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kserve_hooks.actions import SetBrake
from kserve_hooks.capped import Capped
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import ActuatedField, Brake, BrakeReason
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.braking import PAUSED_REPLICAS, Brakeable, read_held
from wattkeeper.cluster.objects import ScaledObject

PAUSED: Final = "autoscaling.keda.sh/paused"
_PAUSED_SCALE_IN: Final = "autoscaling.keda.sh/paused-scale-in"
_FALSE: Final = ("0", "f", "F", "false", "False", "FALSE")
"""What Go's strconv.ParseBool takes for false; KEDA takes all that it cannot read for true."""
_KSERVE: Final = "serving.kserve.io/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Braking:
    """What the brake wants for one service.

    Attributes:
        note: what is held down from now on, None for nothing.
        write: what to write once that is noted.
        finding: what the condition Braked shall say, None for nothing.
        refused: what an API server has said to the last write, "" where it may be tried.
    """

    note: Brake | None = None
    write: SetBrake | None = None
    finding: Finding | None = None
    refused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lever:
    """What to lower, and to what, by field."""

    target: Brakeable
    values: dict[str, int]


def note_of(capped: Capped) -> Brake | None:
    """Returns what is noted to be held down; a note of nothing, which only an edit by hand leaves, is none."""
    brake = None if capped.actuation is None else capped.actuation.brake
    return brake if brake is not None and brake.fields else None


def noted(lever: Lever, note: Brake | None, reason: BrakeReason, now: float, *, budget: str = "") -> Brake:
    """Returns the note of a brake that is about to be put on, or to be lowered.

    Args:
        lever: what is about to be written.
        note: what is noted until now.
        reason: what the brake is for.
        now: Unix seconds.
        budget: that is over its limit, with reason Overshoot.
    """
    meta = lever.target.metadata
    same = note is not None and note.uid == meta.uid
    fields = {one.field: one for one in note.fields} if note is not None and same else {}
    for field, value in lever.values.items():
        seen, old = read_held(lever.target, field), fields.get(field)
        if old is None:
            fields[field] = ActuatedField(field=field, original=seen, written=value)
            continue
        if not old.is_ours(seen):
            old = replace(old, original=seen)
        fields[field] = old.rewritten(value, seen)
    return Brake(
        kind=type(lever.target).__name__,
        name=meta.name,
        uid=meta.uid,
        fields=tuple(fields.values()),
        since=note.since if note is not None and same else format_instant(now),
        reason=reason,
        budget=budget,
    )


def still(note: Brake, target: Brakeable) -> Brake | None:
    """Returns the note of what still has our values, None where nothing has."""
    fields = tuple(one for one in note.fields if one.is_ours(read_held(target, one.field)))
    if not fields or target.metadata.uid != note.uid:
        return None
    return replace(note, fields=fields)


def is_of_kserve(scaled: ScaledObject) -> bool:
    """Says whether KServe reverts what is written to a ScaledObject."""
    return not is_ours(scaled) and any(
        owner.api_version.startswith(_KSERVE) for owner in scaled.metadata.owner_references
    )


def is_paused_by_user(scaled: ScaledObject, note: Brake | None) -> bool:
    """Says whether KEDA is kept from lowering by a pause that is not the one we have noted."""
    ours = note is not None and note.kind == ScaledObject.__name__ and still(note, scaled) is not None
    return bool(_pauses(scaled) - ({PAUSED_REPLICAS} if ours else set()))


def _pauses(scaled: ScaledObject) -> set[str]:
    """Returns the annotations that keep KEDA from lowering; one that keeps it from raising is in nobody's way."""
    said = scaled.metadata.annotations
    pauses = {name for name in (PAUSED, _PAUSED_SCALE_IN) if said.get(name, "false") not in _FALSE}
    return pauses | ({PAUSED_REPLICAS} & said.keys())
