"""How long after a migration none follows: from the migrations that there are, so that restarts forget nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_migration import PowerMigration

_MOST_DOUBLINGS: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseOptions:
    """How long to pause, and how long to remember.

    Attributes:
        first_seconds: after a migration, well or not; doubled with each further failure in a row.
        longest_seconds: what it is never longer than.
        keep_seconds: how long migrations that have ended are kept. What a pause is counted from must still be there.
        keep_count: how many of them each service has at most.
    """

    first_seconds: float = 300.0
    longest_seconds: float = 14_400.0
    keep_seconds: float = 86_400.0
    keep_count: int = 10


def ended(one: PowerMigration) -> float:
    """Returns when a migration that is over ended, in Unix seconds."""
    return parse_instant(one.status.since) or 0.0


def paused_until(over: Iterable[PowerMigration], options: PauseOptions) -> float:
    """Returns until when nothing is begun, in Unix seconds; 0 for no pause.

    Args:
        over: migrations that have ended, all of one service or all of one budget.
        options: how long to pause.
    """
    ordered = sorted(over, key=ended)
    if not ordered:
        return 0.0
    failures = 0
    for one in reversed(ordered):
        if one.status.phase != "Failed":
            break
        failures += 1
    pause = options.first_seconds * 2.0 ** min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return ended(ordered[-1]) + min(pause, options.longest_seconds)


def outdated(over: Iterable[PowerMigration], options: PauseOptions, now: float) -> list[PowerMigration]:
    """Returns which of a service's ended migrations need not be kept any longer."""
    newest_first = sorted(over, key=ended, reverse=True)
    return [
        one
        for place, one in enumerate(newest_first)
        if place >= options.keep_count or now - ended(one) > options.keep_seconds
    ]
