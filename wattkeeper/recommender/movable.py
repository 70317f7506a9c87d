"""Names pods that could move away from domains whose budget is nearly used up, to places with headroom.

A domain is nearly used up once its planned guarded sum is above a high mark, and as long as it is above the middle of
both marks; one that is over its budget sheds instead. A pod is named where its service may use another place that lies
outside of the domain, and whose further domains stay below the low mark with one more replica: so what moves there
makes nothing nearly used up, and nothing comes back. Each pod is charged wherever it might go before the next one is
named, so that all of them may move at once.

Replicas of several pods are never named, nor pods of services that roll, that have more replicas than are granted, or
whose new pods nothing would keep off the domain's nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from wattkeeper.api.power_recommendation import MovablePod
from wattkeeper.api.readings import Bools, Floats, Ints, Mode, PodPhase, Published, ServiceKey
from wattkeeper.recommender.scene import Scene
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.violations import NOT_NAMED, early

MOST_OF_DOMAIN: Final = 3
MOST_OF_SERVICE: Final = 2
"""Of a domain's pods: moves take minutes, and the picture is another one after each."""
_MOST_LOOKED_AT: Final = 256
"""Pods that are held against all places, so that a tick is short however many domains are nearly used up."""


@dataclass(kw_only=True, slots=True)
class _Moves:
    """Watts as they would be, and what is named so far.

    Attributes:
        drawn: float64[D], what may draw, every pod that is named included wherever it might go.
        surplus: float64[D], by how much domains are nearly used up, less what is named; 0 for others.
        of_domain: how many pods of a domain are named; of_service: of a domain and service.
        found: named pods by service row.
    """

    drawn: Floats
    surplus: Floats
    of_domain: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    of_service: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    found: dict[int, list[MovablePod]] = field(default_factory=lambda: defaultdict(list))


class MovablePods:
    """Names pods, the same ones from tick to tick."""

    def __init__(self, settings: RecommenderSettings) -> None:
        self._high, self._low = settings.nearly_used_up_share, settings.headroom_share
        self._settled_seconds = settings.settled_seconds
        self._nearly: frozenset[str] = frozenset()
        self._before: dict[str, tuple[int, str]] = {}
        self._said: dict[ServiceKey, tuple[MovablePod, ...]] = {}

    def take_over(self, published: Mapping[ServiceKey, Published]) -> None:
        """Starts from what the last leader published."""
        self._said = {key: one.movable_pods for key, one in sorted(published.items()) if one.movable_pods}
        self._remember()

    def name(self, scene: Scene, *, warm: bool) -> Mapping[ServiceKey, tuple[MovablePod, ...]]:
        """Names pods. Until caches and history are warm, what the last leader named stands."""
        if warm:
            self._said = self._found(scene)
            self._remember()
        return self._said

    def _remember(self) -> None:
        named = [pod for pods in self._said.values() for pod in pods]
        self._before = {pod.uid: (turn, pod.budget) for turn, pod in enumerate(named)}
        self._nearly |= {pod.budget for pod in named}

    def _found(self, scene: Scene) -> dict[ServiceKey, tuple[MovablePod, ...]]:
        readings, plan = scene.readings, scene.plan
        budgets, limit = readings.budgets, readings.budgets.limit_watts
        nearly = np.array([name in self._nearly for name in budgets.names], dtype=np.bool_)
        middle = (self._high + self._low) / 2.0
        nearly = (plan.planned_watts > self._high * limit) | (nearly & (plan.planned_watts > middle * limit))
        nearly &= plan.over_watts <= 0.0
        self._nearly = frozenset(budgets.names[row] for row in np.flatnonzero(nearly).tolist())
        if not nearly.any():
            return {}
        moves = _Moves(
            drawn=np.maximum(plan.planned_watts, plan.guarded_watts),
            surplus=np.where(nearly, plan.planned_watts - middle * limit, 0.0),
        )
        before = self._turns(scene)
        rows = self._candidates(scene, moves, nearly, before)
        looked_at: list[int] = rows[:_MOST_LOOKED_AT].tolist()
        for row in looked_at:
            self._look_at(scene, moves, row, self._before.get(readings.pods.uids[row], (0, ""))[1])
        return {readings.services.keys[service]: tuple(pods) for service, pods in sorted(moves.found.items())}

    def _turns(self, scene: Scene) -> Ints:
        """Returns int64[P], the turn that a pod had when it was named last, NOT_NAMED for others."""
        pods = scene.readings.pods
        before = np.full(len(pods.uids), NOT_NAMED)
        for uid, (turn, _) in self._before.items():
            row = pods.row_by_uid.get(uid, -1)
            if row >= 0:
                before[row] = turn
        return before

    def _candidates(self, scene: Scene, moves: _Moves, nearly: Bools, before: Ints) -> Ints:
        """Returns rows of pods, the first to be named first: those named before, lowest priority, most watts."""
        readings = scene.readings
        pods, services, nodes = readings.pods, readings.services, readings.nodes
        inside = nodes.domains >= 0
        # A place without any domain with headroom is no place to go to.
        cool = ~scene.frozen & (moves.drawn < self._low * readings.budgets.limit_watts)
        roomy = np.logical_or.reduce((nodes.places >= 0) & cool[nodes.places], axis=1)
        steered = services.gated | (services.mode < Mode.SCALE)
        settled = scene.active <= scene.plan.grants + scene.plan.surges
        mobile = (services.pods_per_replica == 1) & steered & settled & ~services.rolls
        mobile &= np.logical_or.reduce(services.eligible_places & roomy, axis=1)
        concerned = np.logical_or.reduce(inside & nearly[nodes.domains], axis=1)
        known = before != NOT_NAMED
        chosen = (pods.phase == PodPhase.RUNNING) & (pods.service >= 0) & (pods.node >= 0) & (pods.group < 0)
        rows = np.flatnonzero(chosen)
        rows = rows[mobile[pods.service[rows]] & concerned[pods.node[rows]]]
        rows = rows[known[rows] | (pods.created[rows] <= scene.now - self._settled_seconds)]
        _, priority = np.unique(services.priority, return_inverse=True)
        turn = priority[pods.service[rows]] * 2 + ~known[rows]
        rows = rows[early(nodes.place[pods.node[rows]], turn) | known[rows]]
        upper = scene.charges.pod_upper_watts[1, rows]
        return rows[np.lexsort((-pods.created[rows], -upper, priority[pods.service[rows]], before[rows]))]

    def _look_at(self, scene: Scene, moves: _Moves, row: int, budget: str) -> None:
        """Names a pod if it can move. `budget`: what it was named for before, "" for nothing."""
        readings, names = scene.readings, scene.readings.budgets.names
        service = int(readings.pods.service[row])
        own = readings.nodes.domains[readings.pods.node[row]]
        own = own[own >= 0]
        # The one with the greatest surplus, but for the same budget as before where that still needs it.
        mine: list[int] = own.tolist()
        surplus: list[float] = moves.surplus[own].tolist()
        said = [names[domain] == budget and watts > 0.0 for domain, watts in zip(mine, surplus, strict=True)]
        left = max(zip(said, surplus, mine, strict=True))[2]
        enough = moves.surplus[left] <= 0.0 or moves.of_domain[left] >= MOST_OF_DOMAIN
        if enough or moves.of_service[left, service] >= MOST_OF_SERVICE or (scene.frozen[own].any() and not budget):
            return
        places = self._places(scene, moves, service, own, left, named=bool(budget))
        if not places.any():
            return
        reached = np.unique(readings.nodes.places[places])
        reached = reached[reached >= 0]
        moves.drawn[reached] += scene.unit_watts[service, reached]
        watts = float(scene.charges.pod_upper_watts[readings.budgets.meter[left], row])
        moves.surplus[left] -= watts
        moves.of_domain[left] += 1
        moves.of_service[left, service] += 1
        pod = MovablePod(
            name=readings.pods.keys[row].name,
            uid=readings.pods.uids[row],
            budget=names[left],
            watts=float(round(watts)),
        )
        moves.found[service].append(pod)

    def _places(self, scene: Scene, moves: _Moves, service: int, own: Ints, left: int, *, named: bool) -> Bools:
        """Returns bool[L], places that a pod could move to.

        In a domain that it lies in already, it needs room for as long as the old pod is there. A pod that was named
        before stays so where it still fits, because what it moves for is reserved by then.
        """
        budgets, nodes = scene.readings.budgets, scene.readings.nodes
        after = moves.drawn + scene.unit_watts[service]
        fits = after <= budgets.limit_watts
        roomy = fits if named else fits & (after <= self._low * budgets.limit_watts) & ~scene.frozen
        roomy[own] = fits[own]
        roomy[left] = False
        # One more, for the padding of places that lie in fewer domains than others.
        good = np.append(roomy, True)[nodes.places].all(axis=1)
        return np.asarray(good & scene.readings.services.eligible_places[service], dtype=np.bool_)
