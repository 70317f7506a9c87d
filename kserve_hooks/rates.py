"""How many pods may be disrupted in a while: for each service, for each budget, and in all.

Each limit is a bucket of tokens that starts empty with a term of leadership. So a new leader waits before its first
disruption as if there had just been one: it cannot know what the former one did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

_HOUR: Final = 3600.0
_MINUTE: Final = 60.0
_BURST_SECONDS: Final = 5.0
"""More than a pass takes, so that a pass can use what the one before it had to leave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateOptions:
    """Limits on disruptions: evictions, and pods that are made to go by a lower number of replicas.

    Attributes:
        per_minute: of all services together.
        per_minute_and_budget: of all pods that go for one budget.
    """

    per_minute: float = 30.0
    per_minute_and_budget: float = 10.0


@dataclass(kw_only=True, slots=True)
class _Bucket:
    tokens: float
    filled: float


class Rates:
    """Buckets of one term of leadership. A bucket holds one disruption, or what a few seconds bring where that is more.

    So nothing is saved up over a quiet night.
    """

    def __init__(self, options: RateOptions, now: float) -> None:
        """Takes the limits, and when the term began (Unix seconds)."""
        self._options = options
        self._began = now
        self._buckets: dict[Hashable, _Bucket] = {}
        self._claimed: Counter[Hashable] = Counter()

    def begin(self) -> None:
        """Begins a pass: what was claimed and not spent was not done."""
        self._claimed.clear()

    def exceeded(self, service: Hashable, per_hour: float, budget: str, now: float) -> str:
        """Returns which limit leaves no room for one disruption more, in words; "" where there is room.

        Those that services share are told of together: which of them it is changes with every pass.

        Args:
            service: whose pod it is.
            per_hour: the service's own limit.
            budget: the budget that the pod has to go for, "" for none.
            now: Unix seconds.
        """
        (own, per_second), *shared = self._limits(service, per_hour, budget)
        if not self._has_room(own, per_second, now):
            return f"disruption.maxPerHour of the policy is {per_hour:g}"
        if all(self._has_room(key, rate, now) for key, rate in shared):
            return ""
        options = self._options
        words = f"WATTKEEPER_DISRUPTIONS_PER_MINUTE is {options.per_minute:g}"
        if budget:
            words += f", WATTKEEPER_DISRUPTIONS_PER_MINUTE_AND_BUDGET is {options.per_minute_and_budget:g}"
        return words

    def claim(self, service: Hashable, per_hour: float, budget: str) -> None:
        """Sets a disruption aside for the rest of the pass."""
        self._claimed.update(key for key, _ in self._limits(service, per_hour, budget))

    def spend(self, service: Hashable, per_hour: float, budget: str, now: float) -> None:
        """Counts a disruption that was done."""
        for key, per_second in self._limits(service, per_hour, budget):
            self._tokens(key, per_second, now)
            self._buckets[key].tokens -= 1.0

    def _limits(self, service: Hashable, per_hour: float, budget: str) -> list[tuple[Hashable, float]]:
        """Returns the buckets of a disruption and what flows into each in a second, the service's own first."""
        options = self._options
        limits: list[tuple[Hashable, float]] = [
            (("service", service), per_hour / _HOUR),
            (("all",), options.per_minute / _MINUTE),
        ]
        if budget:
            limits.append((("budget", budget), options.per_minute_and_budget / _MINUTE))
        return limits

    def _has_room(self, key: Hashable, per_second: float, now: float) -> bool:
        return self._tokens(key, per_second, now) - self._claimed[key] >= 1.0

    def _tokens(self, key: Hashable, per_second: float, now: float) -> float:
        bucket = self._buckets.setdefault(key, _Bucket(tokens=0.0, filled=self._began))
        most = max(1.0, per_second * _BURST_SECONDS)
        bucket.tokens = min(bucket.tokens + max(now - bucket.filled, 0.0) * per_second, most)
        bucket.filled = max(now, bucket.filled)
        return bucket.tokens
