"""What can go wrong in this room.

ScalerError
├── SettingsError             settings contradict each other, or a file they name cannot be used
└── AnswerError               KEDA gets no number; the message says what to fix
    ├── MetadataError         the trigger's metadata is wrong (INVALID_ARGUMENT)
    ├── UnknownObjectError    no such ScaledObject (NOT_FOUND)
    ├── UncappedTargetError   nothing caps the target (FAILED_PRECONDITION)
    ├── NoPlanError           there is no recommendation yet (UNAVAILABLE)
    └── BrokenWatchError      caches may show what is over (UNAVAILABLE)
"""

from __future__ import annotations


class ScalerError(Exception):
    """Root of this room's errors."""


class SettingsError(ScalerError):
    """Settings contradict each other, or a file they name cannot be used."""


class AnswerError(ScalerError):
    """KEDA gets no number. It then keeps the replicas that there are, so no answer never raises anything."""


class MetadataError(AnswerError):
    """The trigger's metadata is wrong."""


class UnknownObjectError(AnswerError):
    """There is no such ScaledObject in the cache."""


class UncappedTargetError(AnswerError):
    """Nothing caps the target: it is of a kind that cannot be capped, is not there, or no policy selects it."""


class NoPlanError(AnswerError):
    """There is no recommendation for the target yet."""


class BrokenWatchError(AnswerError):
    """A watch of this replica is broken: what it knows may be over, also how many replicas there are."""
