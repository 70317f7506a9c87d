"""Whether somebody answers: no single silence counts, and no single answer either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Answering = Literal["unknown", "yes", "no"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutageOptions:
    """When silence is an outage, and when it is over.

    Attributes:
        failures: so many in a row.
        down_seconds: from the first to the last of them at least.
        up_seconds: how long all must have been answered.
    """

    failures: int = 3
    down_seconds: float = 5.0
    up_seconds: float = 10.0


class Outage:
    """Remembers how it went lately. Until enough was seen it says neither yes nor no."""

    def __init__(self, options: OutageOptions) -> None:
        """Takes when to believe what."""
        self._options = options
        self._since = 0.0
        self._answered: bool = False
        self._count = 0
        self._lasted = 0.0
        self.answering: Answering = "unknown"

    @property
    def answered_last(self) -> bool:
        """Says whether the last attempt was answered, whatever is to be believed yet."""
        return self._answered

    @property
    def silent(self) -> bool:
        """Says whether nothing was answered lately, for long enough: no answer in between, however short ago."""
        options = self._options
        return not self._answered and self._count >= options.failures and self._lasted >= options.down_seconds

    def observe(self, now: float, *, answered: bool) -> Answering:
        """Notes one attempt, and returns what is to be believed.

        Args:
            now: Unix seconds.
            answered: it was answered.
        """
        if not self._count or answered != self._answered:
            self._since, self._answered, self._count = now, answered, 0
        self._count += 1
        self._lasted = now - self._since
        if answered and self._lasted >= self._options.up_seconds:
            self.answering = "yes"
        elif self.silent:
            self.answering = "no"
        return self.answering
