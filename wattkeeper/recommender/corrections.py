"""What is not as it should be, and which pods have to go or could move for it. Others act on it, and decide when.

- Budget: a domain is over its limit by more than the policy tolerates.
- Replicas: more replicas run than are granted. That is named at once: deletion costs have to be written while
  autoscalers are still to act.
- Slipped: pods run that did not pass the admission plugin. Those that were there when the service's pods began to be
  gated are not meant, nor those that come in the moments in which every webhook learns of it.
- Performance: a pod generates too few tokens per joule, while it does not idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from wattkeeper.api.power_recommendation import MovablePod, Violation
from wattkeeper.api.readings import Bools, Floats, Ints, PodPhase, ServiceKey
from wattkeeper.power.meters import NODE
from wattkeeper.recommender.efficiency import tokens_per_joule
from wattkeeper.recommender.excess import find_excess
from wattkeeper.recommender.movable import MovablePods
from wattkeeper.recommender.result import PodViolation
from wattkeeper.recommender.scene import Scene
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.violation_log import Found, ViolationLog
from wattkeeper.recommender.violations import MAX_PODS, NOT_NAMED, find_violations

SETTLING_SECONDS: Final = 30.0
"""A webhook's cache is behind by seconds: who comes this soon after a service's pods began to be gated may slip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corrected:
    """What is named.

    Attributes:
        of_budgets: domain by domain.
        violations, movable_pods: by service; those without any are left out.
    """

    of_budgets: tuple[PodViolation, ...]
    violations: Mapping[ServiceKey, tuple[Violation, ...]]
    movable_pods: Mapping[ServiceKey, tuple[MovablePod, ...]]


class Corrections:
    """Names pods, the same ones from tick to tick."""

    def __init__(self, settings: RecommenderSettings) -> None:
        self._log = ViolationLog()
        self._movable = MovablePods(settings)
        self._gated_since: dict[ServiceKey, float] = {}
        self._begun = False

    def name(self, scene: Scene, *, warm: bool) -> Corrected:
        """Names pods. Until caches and history are warm, what the last leader named stands."""
        readings = scene.readings
        if readings.synced and not self._begun:
            self._begun = True
            self._log.take_over(readings.published, scene.now)
            self._movable.take_over(readings.published)
        self._note_gates(scene)
        grants = scene.plan.grants + scene.plan.surges
        before = self._log.turns("Budget", readings.pods)
        of_budgets = find_violations(readings, scene.charges, scene.plan.over_watts, grants, before, scene.now)
        if warm:
            self._update(scene, of_budgets, scene.active - grants)
        return Corrected(
            of_budgets=of_budgets, violations=self._log.published(), movable_pods=self._movable.name(scene, warm=warm)
        )

    def _update(self, scene: Scene, of_budgets: tuple[PodViolation, ...], too_many: Ints) -> None:
        log, readings, now = self._log, scene.readings, scene.now
        turns = {one.row: one.turn for one in of_budgets}
        log.update("Budget", _of_budgets(scene, log, of_budgets), readings, now, turns)
        log.update("Replicas", _of_replicas(scene, log, too_many), readings, now)
        log.update("Slipped", _of_slipped(scene, log, self._since_gated(scene)), readings, now)
        log.update("Performance", _of_performance(scene, log), readings, now)

    def _note_gates(self, scene: Scene) -> None:
        services = scene.readings.services
        gated = [services.keys[row] for row in np.flatnonzero(services.gated).tolist()]
        self._gated_since = {key: self._gated_since.get(key, scene.now) for key in gated}

    def _since_gated(self, scene: Scene) -> Floats:
        since = [self._gated_since.get(key, np.inf) for key in scene.readings.services.keys]
        return np.array(since, dtype=np.float64)


def _of_budgets(scene: Scene, log: ViolationLog, named: tuple[PodViolation, ...]) -> dict[Hashable, Found]:
    services, budgets = scene.readings.services, scene.readings.budgets
    over, frozen = scene.plan.over_watts.tolist(), scene.frozen.tolist()
    limit, tolerance = budgets.limit_watts.tolist(), services.violation_tolerance.tolist()
    rows = {name: row for row, name in enumerate(services.keys)}
    service = scene.readings.pods.service[[one.row for one in named]].tolist()
    pods: dict[int, list[PodViolation]] = defaultdict(list)
    for of, one in zip(service, named, strict=True):
        if over[one.domain] > tolerance[of] * limit[one.domain]:
            pods[one.domain].append(one)
    standing = frozenset(log.names("Budget"))
    found: dict[Hashable, Found] = {}
    for domain, name in enumerate(budgets.names):
        ones = pods.get(domain, ())
        # As long as a domain is over it is the same violation, also while what drains is enough.
        if ones or (name in standing and (over[domain] > 0.0 or frozen[domain])):

            def goes_on(key: ServiceKey, domain: int = domain) -> bool:
                row = rows.get(key)
                return row is not None and (frozen[domain] or over[domain] > tolerance[row] * limit[domain])

            found[name] = Found(
                over=over[domain],
                rows=[one.row for one in ones],
                watts=[one.watts for one in ones],
                doubtful=frozen[domain],
                goes_on=goes_on,
            )
    return found


def _of_replicas(scene: Scene, log: ViolationLog, too_many: Ints) -> dict[Hashable, Found]:
    readings, plan = scene.readings, scene.plan
    found: dict[Hashable, Found] = {}
    if (too_many > 0).any():
        tight = (plan.over_watts > 0) & ~scene.frozen
        before = log.turns("Replicas", readings.pods)
        rows = find_excess(readings, scene.charges, too_many, tight, plan.binding, before)
        found = _grouped(scene, rows, scene.stale)
    standing = frozenset(log.names("Replicas"))
    for row in np.flatnonzero(scene.stale).tolist():
        key = readings.services.keys[row]
        if key in standing and key not in found:
            found[key] = Found(over=0.0, doubtful=True)
    return found


def _of_slipped(scene: Scene, log: ViolationLog, gated_since: Floats) -> dict[Hashable, Found]:
    pods = scene.readings.pods
    rows = np.flatnonzero(pods.slipped)
    if not len(rows):
        return {}
    before = log.turns("Slipped", pods)[rows]
    late = pods.created[rows] > gated_since[pods.service[rows]] + SETTLING_SECONDS
    chosen = late | (before != NOT_NAMED)
    rows, before = rows[chosen], before[chosen]
    rows = rows[np.lexsort((-pods.created[rows], before, pods.service[rows]))]
    return _grouped(scene, rows, np.zeros(len(scene.stale), dtype=np.bool_))


def _of_performance(scene: Scene, log: ViolationLog) -> dict[Hashable, Found]:
    """A violation for each pod: each has to last by itself."""
    readings = scene.readings
    pods, services = readings.pods, readings.services
    if np.isnan(services.least_tokens_per_joule).all():
        return {}
    rows = np.flatnonzero((pods.service >= 0) & (pods.phase == PodPhase.RUNNING) & (pods.group < 0))
    rows = rows[~np.isnan(services.least_tokens_per_joule[pods.service[rows]])]
    service = pods.service[rows]
    rate, least = tokens_per_joule(readings, scene.charges, rows), services.least_tokens_per_joule[service]
    unknown, busy = np.isnan(rate), pods.tokens_per_second[rows] > services.idle_tokens_per_second[service]
    stands = log.turns("Performance", pods)[rows] != NOT_NAMED
    chosen = (busy & (rate < least)) | (stands & unknown)
    rows, share, unknown, stands = rows[chosen], (rate / least)[chosen], unknown[chosen], stands[chosen]
    order = np.lexsort((share, ~stands, pods.service[rows]))
    rows, share, unknown, service = rows[order], share[order], unknown[order], pods.service[rows[order]]
    size = np.bincount(service, minlength=len(services.keys))
    first = np.flatnonzero(np.arange(len(rows)) - (np.cumsum(size) - size)[service] < MAX_PODS)
    expected, upper = scene.charges.pod_expected_watts[NODE, rows], scene.charges.pod_upper_watts[NODE, rows]
    wasted = np.where(unknown, 0.0, expected * (1.0 - share))
    return {
        (services.keys[service[place]], pods.uids[rows[place]]): Found(
            over=float(wasted[place]),
            rows=[int(rows[place])],
            watts=[float(upper[place])],
            doubtful=bool(unknown[place]),
        )
        for place in first.tolist()
    }


def _grouped(scene: Scene, rows: Ints, doubtful: Bools) -> dict[Hashable, Found]:
    """Returns what is found of each service of the pods in `rows`, which stand service by service."""
    keys, service = scene.readings.services.keys, scene.readings.pods.service[rows]
    starts = np.flatnonzero(np.diff(service, prepend=-1)).tolist()
    every, watts = rows.tolist(), scene.charges.pod_upper_watts[NODE, rows].tolist()
    found: dict[Hashable, Found] = {}
    for start, end in zip(starts, [*starts, len(every)][1:], strict=True):
        first, of = slice(start, min(end, start + MAX_PODS)), int(service[start])
        found[keys[of]] = Found(
            over=sum(watts[first]), rows=every[first], watts=watts[first], doubtful=bool(doubtful[of])
        )
    return found
