"""The replica arithmetic of the HorizontalPodAutoscaler, for one external metric of type AverageValue.

Follows kubernetes 1.36 pkg/controller/podautoscaler (replica_calculator.go, horizontal.go): usage in milli-units, the
tolerance of each direction, ceil, stabilisation windows, policies, bounds. Held against recordings of the real one by
tests/unit/simulation/test_hpa_recorded.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wattkeeper.api.quantity import parse_quantity

DEFAULT_TOLERANCE = 0.1
SYNC_SECONDS = 15.0
Select = Literal["Max", "Min", "Disabled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """At most `value` pods, or percent of the replicas at the period's start, within `period_seconds`."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """scaleUp or scaleDown of a behavior."""

    stabilization_seconds: float
    policies: tuple[Policy, ...]
    select: Select = "Max"
    tolerance: float = DEFAULT_TOLERANCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Behavior:
    """What an HPA may do in each direction. The defaults are Kubernetes'."""

    up: Rules = Rules(
        stabilization_seconds=0.0,
        policies=(
            Policy(type="Pods", value=4, period_seconds=15.0),
            Policy(type="Percent", value=100, period_seconds=15.0),
        ),
    )
    down: Rules = Rules(stabilization_seconds=300.0, policies=(Policy(type="Percent", value=100, period_seconds=15.0),))


def parse_behavior(advanced: Mapping[str, Any]) -> Behavior:
    """Reads a ScaledObject's `advanced`, where KEDA hands on horizontalPodAutoscalerConfig.behavior to the HPA.

    >>> parse_behavior({}).down.stabilization_seconds
    300.0
    """
    config: Mapping[str, Any] = advanced.get("horizontalPodAutoscalerConfig") or {}
    behavior: Mapping[str, Any] = config.get("behavior") or {}
    defaults = Behavior()
    return Behavior(
        up=_parse_rules(behavior.get("scaleUp") or {}, defaults.up),
        down=_parse_rules(behavior.get("scaleDown") or {}, defaults.down),
    )


def _parse_rules(rules: Mapping[str, Any], default: Rules) -> Rules:
    policies: Sequence[Mapping[str, Any]] = rules.get("policies") or ()
    own = tuple(
        Policy(type=policy["type"], value=int(policy["value"]), period_seconds=float(policy["periodSeconds"]))
        for policy in policies
    )
    return Rules(
        stabilization_seconds=float(rules.get("stabilizationWindowSeconds", default.stabilization_seconds)),
        policies=own or default.policies,
        select=rules.get("selectPolicy") or "Max",
        tolerance=parse_quantity(rules["tolerance"]) if "tolerance" in rules else DEFAULT_TOLERANCE,
    )


def wanted_replicas(value: float, *, target: float, replicas: int, behavior: Behavior) -> int:
    """Returns what one metric of type AverageValue asks for, before bounds, windows and policies.

    Args:
        value: the metric, of all replicas together.
        target: what one replica should carry.
        replicas: the scale's status.replicas.
        behavior: for its tolerances.

    >>> wanted_replicas(19, target=1, replicas=20, behavior=Behavior())  # 5 % lower lies inside the tolerance
    20
    """
    usage, target_milli = int(value * 1000), int(target * 1000)
    if replicas > 0:
        ratio = usage / (target_milli * replicas)
        if 1.0 - behavior.down.tolerance <= ratio <= 1.0 + behavior.up.tolerance:
            return replicas
    return math.ceil(usage / target_milli)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    moment: float
    change: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HpaSpec:
    """The part of an HPA that decides replicas."""

    minimum: int
    maximum: int
    target: float
    behavior: Behavior


class Hpa:
    """One HPA's memory: recommendations for the windows, and past changes for the policies."""

    def __init__(self) -> None:
        self._recommendations: list[tuple[float, int]] = []
        self._ups: list[_Event] = []
        self._downs: list[_Event] = []

    def sync(self, spec: HpaSpec, value: float | None, *, replicas: int, status_replicas: int, now: float) -> int:
        """Returns the replicas to set.

        Args:
            spec: as it stands.
            value: what the metric says, None if it cannot be had: nothing is changed then, except by the bounds.
            replicas: spec.replicas of the scale; 0 disables the HPA.
            status_replicas: status.replicas of the scale.
            now: Unix seconds.
        """
        if replicas == 0:
            return 0
        if not self._recommendations:
            self._recommendations.append((now, replicas))
        if replicas > spec.maximum:
            wanted = spec.maximum
        elif replicas < spec.minimum:
            wanted = spec.minimum
        elif value is None:
            return replicas
        else:
            metric = wanted_replicas(value, target=spec.target, replicas=status_replicas, behavior=spec.behavior)
            wanted = self._limited(spec, self._stabilised(spec.behavior, metric, replicas, now), replicas, now)
        self._remember(spec.behavior, wanted - replicas, now)
        return wanted

    def _stabilised(self, behavior: Behavior, wanted: int, replicas: int, now: float) -> int:
        up_since = now - behavior.up.stabilization_seconds
        down_since = now - behavior.down.stabilization_seconds
        highest_up = min([wanted, *(count for moment, count in self._recommendations if moment > up_since)])
        lowest_down = max([wanted, *(count for moment, count in self._recommendations if moment > down_since)])
        kept_since = min(up_since, down_since)
        self._recommendations = [one for one in self._recommendations if one[0] >= kept_since]
        self._recommendations.append((now, wanted))
        return min(max(replicas, highest_up), lowest_down)

    def _limited(self, spec: HpaSpec, wanted: int, replicas: int, now: float) -> int:
        if wanted > replicas:
            limit = max(self._limit(spec.behavior.up, replicas, now, up=True), replicas)
            return min(wanted, limit, spec.maximum)
        if wanted < replicas:
            limit = min(self._limit(spec.behavior.down, replicas, now, up=False), replicas)
            return max(wanted, limit, spec.minimum)
        return wanted

    def _limit(self, rules: Rules, replicas: int, now: float, *, up: bool) -> int:
        if rules.select == "Disabled":
            return replicas
        limits: list[int] = []
        for policy in rules.policies:
            added = _changes(self._ups, now - policy.period_seconds)
            removed = _changes(self._downs, now - policy.period_seconds)
            start = replicas - added + removed
            sign = 1 if up else -1
            if policy.type == "Pods":
                limits.append(start + sign * policy.value)
            elif up:
                limits.append(math.ceil(start * (1 + policy.value / 100)))
            else:
                limits.append(int(start * (1 - policy.value / 100)))
        # "Max" means the largest change, which downwards is the lowest limit.
        return max(limits) if up == (rules.select == "Max") else min(limits)

    def _remember(self, behavior: Behavior, change: int, now: float) -> None:
        if change > 0:
            self._ups = _recent(self._ups, behavior.up, now)
            self._ups.append(_Event(moment=now, change=change))
        elif change < 0:
            self._downs = _recent(self._downs, behavior.down, now)
            self._downs.append(_Event(moment=now, change=-change))


def _changes(events: Sequence[_Event], since: float) -> int:
    return sum(event.change for event in events if event.moment > since)


def _recent(events: Sequence[_Event], rules: Rules, now: float) -> list[_Event]:
    longest = max(policy.period_seconds for policy in rules.policies)
    return [event for event in events if event.moment >= now - longest]
