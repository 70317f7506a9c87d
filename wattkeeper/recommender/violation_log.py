"""Which violations there are, since when, and which pods are named for them: what has to be the same from tick to tick.

A violation that is not there any more stays for GRACE_SECONDS, without pods: if it comes back by then it has never
ended. Readings that are too old to tell begin none, name nobody new and end none.

What stays as it is costs next to nothing, because thousands of violations may stand while little changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import numpy as np

from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import ViolatingPod, Violation, ViolationType
from wattkeeper.api.readings import Ints, PodRows, Published, Readings, ServiceKey
from wattkeeper.recommender.violations import NOT_NAMED

GRACE_SECONDS: Final = 15.0
"""Three ticks: sums and ratios that are about at their bound cross it to and fro."""
MOST_OF_TYPE: Final = 10
"""Of a service are published, those that have stood longest: an object must not grow with the number of racks."""
_WATTS_SHARE: Final = 0.1
"""Watts follow the model a little every tick; a figure stands until it is off by more than this share."""

TYPES: Final[tuple[ViolationType, ...]] = ("Budget", "Replicas", "Slipped", "Performance")


def _always(_: ServiceKey) -> bool:
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one tick finds of one budget, one service or (type Performance) one pod.

    Attributes:
        over: by how many watts.
        rows: of the pods that have to go, the first one first. Without any it begins nothing.
        watts: what each of them may draw.
        doubtful: readings are too old: what has begun goes on, for pods that were named before.
        goes_on: says whether it goes on for a service of which no pod has to go at the moment.
    """

    over: float
    rows: Sequence[int] = ()
    watts: Sequence[float] = ()
    doubtful: bool = False
    goes_on: Callable[[ServiceKey], bool] = _always


@dataclass(kw_only=True, slots=True)
class _Standing:
    """A service's violation. `ended`: when it was found to be over, None while it is not."""

    violation: Violation
    ended: float | None = None


@dataclass(kw_only=True, slots=True)
class _Group:
    """Violations that are found together, as they were told last. `bare`: for some of them no pod has to go."""

    held: float
    named: tuple[str, ...] | None = None
    over: float = 0.0
    drawn: float = 0.0
    bare: bool = False
    standing: dict[ServiceKey, _Standing] = field(default_factory=dict[ServiceKey, _Standing])

    def says(self, found: Found, named: tuple[str, ...], drawn: float) -> bool:
        """Says whether that is what was told last."""
        same = named == self.named and not _moved(self.over, found.over) and not _moved(self.drawn, drawn)
        return same and (not self.bare or all(map(found.goes_on, self._without_pods())))

    def _without_pods(self) -> list[ServiceKey]:
        return [service for service, one in self.standing.items() if not one.violation.pods]


class ViolationLog:
    """Remembers violations."""

    def __init__(self) -> None:
        self._groups: dict[ViolationType, dict[Hashable, _Group]] = {type_: {} for type_ in TYPES}
        self._turns: dict[ViolationType, dict[str, int]] = {type_: {} for type_ in TYPES}
        # Those that have not to go for a moment come first again afterwards: their turns, and until when they count.
        self._lapsed: dict[ViolationType, dict[str, tuple[int, float]]] = {type_: {} for type_ in TYPES}
        self._of_service: dict[ServiceKey, dict[tuple[int, Hashable], Violation]] = defaultdict(dict)
        self._changed: set[ServiceKey] = set()
        self._published: dict[ServiceKey, tuple[Violation, ...]] = {}

    def take_over(self, published: Mapping[ServiceKey, Published], now: float) -> None:
        """Starts from what the last leader published: durations go on, and the same pods have to go."""
        turn = 0
        for service, one in sorted(published.items()):
            for said in one.violations:
                name = _name_of(service, said)
                if name is None:
                    continue
                group = self._groups[said.type].setdefault(name, _Group(held=now))
                group.standing[service] = _Standing(violation=said)
                self._tell(service, said.type, name, said)
                for pod in said.pods:
                    self._turns[said.type][pod.uid] = turn
                    turn += 1

    def names(self, type_: ViolationType) -> tuple[Hashable, ...]:
        """Returns what the violations of a type that stand are found by: budgets, services or (service, UID)."""
        return tuple(self._groups[type_])

    def turns(self, type_: ViolationType, pods: PodRows) -> Ints:
        """Returns int64[P], where the pods stood that were named last for violations of a type."""
        named = self._named(type_)
        rows: Ints = np.fromiter(map(pods.row_by_uid.get, named, repeat(-1)), dtype=np.int64, count=len(named))
        known: Ints = np.fromiter(named.values(), dtype=np.int64, count=len(named))
        turns = np.full(len(pods.uids), NOT_NAMED)
        turns[rows[rows >= 0]] = known[rows >= 0]
        return turns

    def update(
        self,
        type_: ViolationType,
        found: Mapping[Hashable, Found],
        readings: Readings,
        now: float,
        turns: Mapping[int, int] | None = None,
    ) -> None:
        """Takes what one tick finds of a type.

        Args:
            type_: of the violations.
            found: by budget, service or (service, UID).
            readings: that it was found in.
            now: Unix seconds.
            turns: by row, where pods stand among all that have to go; without it, where each stands in its own list.
        """
        groups, known, uids = self._groups[type_], self._named(type_), readings.pods.uids
        noted: dict[str, int] = {}
        for name, one in found.items():
            group, rows, watts = groups.get(name), one.rows, one.watts
            if one.doubtful:
                kept = [place for place, row in enumerate(rows) if uids[row] in known]
                rows, watts = [rows[place] for place in kept], [watts[place] for place in kept]
            if group is None:
                if one.doubtful or not rows:
                    continue
                group = groups[name] = _Group(held=now)
            group.held = now
            named, drawn = tuple([uids[row] for row in rows]), float(sum(watts))
            noted.update(zip(named, range(len(rows)) if turns is None else [turns[row] for row in rows], strict=True))
            if not group.says(one, named, drawn):
                group.named, group.over, group.drawn = named, one.over, drawn
                self._retell(type_, name, group, one, (rows, watts), readings, now)
        for name in [name for name in groups if name not in found]:
            self._miss(type_, name, groups[name], now)
        last, lapsed = self._turns[type_], self._lapsed[type_]
        lapsed = {uid: entry for uid, entry in lapsed.items() if entry[1] > now and uid not in noted}
        lapsed.update({uid: (last[uid], now + GRACE_SECONDS) for uid in last.keys() - noted.keys()})
        self._turns[type_], self._lapsed[type_] = noted, lapsed

    def published(self) -> dict[ServiceKey, tuple[Violation, ...]]:
        """Returns what recommendations shall say."""
        for service in self._changed:
            of = self._of_service[service]
            if of:
                told = sorted(of.values(), key=lambda one: (TYPES.index(one.type), one.since, one.budget))
                self._published[service] = tuple(
                    one for type_ in TYPES for one in [each for each in told if each.type == type_][:MOST_OF_TYPE]
                )
            else:
                self._published.pop(service, None)
                del self._of_service[service]
        self._changed.clear()
        return self._published.copy()

    def _named(self, type_: ViolationType) -> dict[str, int]:
        """Returns by UID where the pods stood that were named last, or a moment ago."""
        lapsed = self._lapsed[type_]
        return (
            {**{uid: turn for uid, (turn, _) in lapsed.items()}, **self._turns[type_]} if lapsed else self._turns[type_]
        )

    def _retell(
        self,
        type_: ViolationType,
        name: Hashable,
        group: _Group,
        one: Found,
        pods: tuple[Sequence[int], Sequence[float]],
        readings: Readings,
        now: float,
    ) -> None:
        budget = name if type_ == "Budget" and isinstance(name, str) else ""
        of: dict[ServiceKey, list[ViolatingPod]] = defaultdict(list)
        for row, watts in zip(*pods, strict=True):
            key = readings.services.keys[int(readings.pods.service[row])]
            pod = ViolatingPod(
                name=readings.pods.keys[row].name, uid=readings.pods.uids[row], watts=float(round(watts))
            )
            of[key].append(pod)
        for service, standing in list(group.standing.items()):
            if service not in of:
                ends = not one.goes_on(service)
                standing.ended = (now if standing.ended is None else standing.ended) if ends else None
                if standing.ended is not None and now - standing.ended >= GRACE_SECONDS:
                    self._end(service, type_, name, group)
                else:
                    since, over = standing.violation.since, 0.0 if ends else float(round(one.over))
                    standing.violation = Violation(type=type_, since=since, budget=budget, watts=over)
                    self._tell(service, type_, name, standing.violation)
        for service, named in of.items():
            old = group.standing.get(service)
            since = format_instant(now) if old is None else old.violation.since
            told = Violation(type=type_, since=since, budget=budget, watts=float(round(one.over)), pods=tuple(named))
            group.standing[service] = _Standing(violation=told)
            self._tell(service, type_, name, told)
        group.bare = len(of) < len(group.standing)

    def _miss(self, type_: ViolationType, name: Hashable, group: _Group, now: float) -> None:
        over = now - group.held >= GRACE_SECONDS
        for service, standing in list(group.standing.items()):
            if over:
                self._end(service, type_, name, group)
            elif group.named != ():
                said = standing.violation
                standing.violation = Violation(type=type_, since=said.since, budget=said.budget)
                self._tell(service, type_, name, standing.violation)
        group.named, group.bare = (), True
        if over:
            del self._groups[type_][name]

    def _end(self, service: ServiceKey, type_: ViolationType, name: Hashable, group: _Group) -> None:
        del group.standing[service]
        del self._of_service[service][TYPES.index(type_), name]
        self._changed.add(service)

    def _tell(self, service: ServiceKey, type_: ViolationType, name: Hashable, violation: Violation) -> None:
        self._of_service[service][TYPES.index(type_), name] = violation
        self._changed.add(service)


def _name_of(service: ServiceKey, said: Violation) -> Hashable | None:
    match said.type:
        case "Budget":
            return said.budget
        case "Performance":
            return (service, said.pods[0].uid) if said.pods else None
        case _:
            return service


def _moved(old: float, new: float) -> bool:
    return abs(old - new) > _WATTS_SHARE * max(old, new)
