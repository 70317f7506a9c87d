"""Invariant 4, PodDisruptionBudgets: nobody goes whom one keeps, as far as who lets it go can know."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from tests.faults.scene import NAMESPACE
from tests.faults.witness import Call, Check, Witness, about
from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod, PodDisruptionBudget
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.disruption import protects

# Who has been refused leaves the pod alone for so long.
_LEFT_ALONE_SECONDS: Final = 30.0
_KEPT: Final = "Protected"


class ProtectionHolds(Check):
    """Nobody asks for an eviction that what it sees forbids, none succeeds that leaves too few, none is pressed for."""

    text = "4 No disruption beyond PodDisruptionBudgets"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._too_few: dict[str, str] = {}
        self._refused: dict[tuple[str, str], float] = {}

    @override
    def calling(self, call: Call) -> None:
        if call.verb == "evict":
            self._asks(call)
        elif call.verb == "write_migration":
            self._shrinks(call)

    def _asks(self, call: Call) -> None:
        uid, name = call.args[0].metadata.uid, call.args[0].metadata.name
        forbidden = forbids(call.seen, uid)
        if forbidden:
            self.fail(f"{call.process} asks to evict {name}, although it sees that {forbidden}")
        asked = self._refused.get((call.process, uid))
        if asked is not None and call.at - asked < _LEFT_ALONE_SECONDS:
            self.fail(f"{call.process} asks to evict {name} again {call.at - asked:.0f} s after it was refused")
        self._too_few = self._left_by(call.args[0])

    def _left_by(self, evicted: Pod) -> dict[str, str]:
        """Returns what is wrong with an eviction if it succeeds, by PodDisruptionBudget: counted here, not read."""
        cluster = self.witness.cluster
        pods = cluster.view.all(Pod)
        now = pods.get(evicted.metadata.uid)
        if now is None or now.metadata.deletion_timestamp:
            return {}
        found: dict[str, str] = {}
        for budget in cluster.view.all(PodDisruptionBudget).values():
            name = budget.metadata.name
            if not protects(budget, now):
                continue
            others = sum(
                is_ready(one) and not one.metadata.deletion_timestamp and protects(budget, one)
                for uid, one in pods.items()
                if uid != now.metadata.uid
            )
            least = self.witness.twin.protection.min_available.get((NAMESPACE, name), 0)
            if others < least:
                found[name] = f"leaves {others} of {least} pods that PodDisruptionBudget {name} asks for"
        return found

    def _shrinks(self, call: Call) -> None:
        """A migration makes its old pod go from here on, and no API server asks a PodDisruptionBudget then."""
        migration: PowerMigration = call.args[0]
        if call.args[1].phase != "Shrinking" or migration.status.phase == "Shrinking":
            return
        forbidden = forbids(call.seen, migration.spec.pod.uid)
        if forbidden:
            self.fail(f"{call.process} makes {migration.spec.pod.name} go, although it sees that {forbidden}")

    @override
    def called(self, call: Call) -> None:
        if call.verb == "evict":
            for why in self._too_few.values():
                self.fail(f"the eviction of {call.args[0].metadata.name} by {call.process} {why}")

    @override
    def refused(self, call: Call) -> None:
        if call.verb == "evict":
            self._refused[call.process, call.args[0].metadata.uid] = call.at

    @override
    def recommendation(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        """Counts how often a pod had to go, or to move, and a PodDisruptionBudget kept it."""
        self.witness.counts["kept by a PodDisruptionBudget"] += len(_kept(new) - _kept(old))


def _kept(one: PowerRecommendation | None) -> set[str]:
    conditions = () if one is None else one.status.conditions
    return {each.type for each in conditions if each.reason == _KEPT}


def forbids(view: View, uid: str) -> str:
    """Returns which PodDisruptionBudget of a view lets nobody evict a pod, "" where one may ask."""
    pod = view.all(Pod).get(uid)
    if pod is None:
        return ""
    protecting = [one for one in view.all(PodDisruptionBudget).values() if protects(one, pod)]
    if len(protecting) > 1:
        return f"more than one PodDisruptionBudget is about pods of {about(pod)}"
    spent = (one.metadata.name for one in protecting if one.status.disruptions_allowed < 1)
    return next((f"PodDisruptionBudget {name} allows no disruption" for name in spent), "")
