"""Invariants 1 and 2: watts, and what old readings may not do."""

from __future__ import annotations

from typing import Final

import numpy as np
from typing_extensions import override

from tests.faults.processes import STALE_SECONDS
from tests.faults.scene import BY_KSERVE, BY_NAME, RACKS, ROW, SERVICES, SHED_SECONDS
from tests.faults.witness import Call, Check, Decision, Witness
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.objects import Node, Pod
from wattkeeper.recommender.pods import service_of
from wattkeeper.simulation.workloads import Workload

BUDGETS: Final = (*RACKS, ROW)


# Watts wander by two per cent from second to second; what a budget keeps is not a single second.
_NOISE_SHARE: Final = 0.01
_HINDRANCES: Final = ("unbraked", "hanging", "undecided", "api", "view")
# Where KServe scales pods, up to a ceiling that the actuator lowers.
_CEILINGS: Final = {
    budget: ("unlowered",) for budget in BUDGETS for one in SERVICES if one.scaled in BY_KSERVE and one.lands_in(budget)
}
# Three intervals of five seconds, a scrape, and a decision.
_FROZEN_AFTER_SECONDS: Final = 30.0
_ROUNDING: Final = 1.0
_SENT_AGAIN_SECONDS: Final = 30.0


class NothingStartsOverBudget(Check):
    """Decisions: no grant rises and no gate opens where a domain is over its budget."""

    text = "1 Nothing is started or raised unless its domains' guarded sums fit"

    @override
    def decided(self, decision: Decision) -> None:
        result = decision.result
        if not result.warm:
            return
        over = {name for name, watts in zip(result.plan.domains, result.plan.over_watts, strict=True) if watts > 1.0}
        for row, key in enumerate(result.services.keys):
            if not BY_NAME[key.name].enforced:
                continue
            hit = [one for one in over if BY_NAME[key.name].lands_in(one) and not self._avoided(decision, row, one)]
            if not hit:
                continue
            grant, before = decision.grant(key.name), self._before(key.name, decision.process)
            if before is not None and grant is not None and grant > before:
                self.fail(f"{key.name} is raised from {before} to {grant} while {', '.join(sorted(hit))} is over")
            if result.gate.openings[row] > 0:
                self.fail(f"{key.name} may leave the gate while {', '.join(sorted(hit))} is over")

    def _avoided(self, decision: Decision, row: int, budget: str) -> bool:
        return bool(decision.result.gate.avoided[row, decision.domain(budget)])

    def _before(self, service: str, process: str) -> int | None:
        """Returns what was granted before: published, or decided and not published yet."""
        published = self.witness.published.get(service)
        own = next((one.grant(service) for one in reversed(self.witness.decisions) if one.process == process), None)
        known = [one for one in (None if not published else published[-1][1], own) if one is not None]
        return max(known) if known else None


class NoPodLandsOverBudget(Check):
    """Pods: what leaves the gate lands in domains that had the watts when it was let out."""

    text = "1 A pod that leaves the gate lands where watts were free"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._let_out: dict[str, list[Decision]] = {}

    @override
    def trying(self, call: Call) -> None:
        """A patch without an answer may be through: its pod is counted as out from then on, and it is sent again.

        One that was refused is decided on anew. Which of these tries took the gate off is not told apart: what allowed
        one of them allows the landing.
        """
        if call.verb == "open_gate" and self.witness.decisions:
            uid, newest = call.args[0].metadata.uid, self.witness.decisions[-1]
            tries = self._let_out.get(uid, [])
            lately = [one for one in tries if newest.result.now - one.result.now <= _SENT_AGAIN_SECONDS]
            self._let_out[uid] = [*lately, newest]

    @override
    def pod(self, old: Pod | None, new: Pod | None) -> None:
        if old is None or new is None:
            return
        uid, key = new.metadata.uid, service_of(new)
        self.witness.counts["gates opened"] += _gated(old) and not _gated(new)
        decisions = self._let_out.get(uid, [])
        if not decisions or key is None or old.spec.node_name or not new.spec.node_name:
            return
        if any(one.row(key.name) < 0 or not one.result.warm for one in decisions):
            return
        node = self.witness.cluster.view.get(Node, "", new.spec.node_name)
        rack = "" if node is None else node.metadata.labels["rack"]
        for budget in (rack, ROW):
            if all(_over(one, budget) for one in decisions):
                self.fail(f"{new.metadata.name} was let out and landed in {budget}, which was over")


def _over(decision: Decision, budget: str) -> bool:
    row = decision.domain(budget)
    return row >= 0 and bool(decision.result.plan.over_watts[row] > _ROUNDING)


class WattsComeInside(Check):
    """Physics: true watts exceed a budget only after a cut or what nobody can hold back, and come inside in time."""

    text = "1 After a cut or a correction watts reach the budget within the shed time, else CapUnachievable"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._nodes = {
            budget: np.array([budget == ROW or name.startswith(budget) for name in witness.twin.nodes])
            for budget in BUDGETS
        }
        self._over: dict[str, int] = dict.fromkeys(BUDGETS, 0)

    @override
    def second(self, now: float) -> None:
        broken = self.witness.broken()
        if self.witness.undecided_seconds() > STALE_SECONDS:
            self.witness.disturb("undecided")
        for what in broken:
            if what.startswith(("api scaler", "view scaler")):
                self.witness.disturb(what.split()[0])
            if what.startswith(("api actuator", "view actuator", "actuators")) and "keda" in broken:
                self.witness.disturb("unbraked")
            if what.startswith(("api actuator", "view actuator", "actuators")):
                self.witness.disturb("unlowered")
        for budget in BUDGETS:
            self._look(budget, now)

    def _look(self, name: str, now: float) -> None:
        budget = self.witness.cluster.view.get(PowerBudget, "", name)
        if budget is None:
            return
        watts = float(self.witness.twin.power.node_wall[self._nodes[name]].sum())
        limit = budget.spec.limit_watts
        if watts <= limit * (1.0 + _NOISE_SHARE):
            self._over[name] = 0
            return
        self._over[name] += 1
        self.witness.counts["seconds over a budget"] += 1
        unachievable = any(one.type == "CapUnachievable" and one.status == "True" for one in budget.status.conditions)
        cause = max(
            self.witness.disturbed.get(one, float("-inf")) for one in (f"cut {name}", "slipped", "unmanaged", "nodes")
        )
        if cause == float("-inf"):
            self.fail(f"{name} draws {watts:.0f} W of {limit:.0f} W, and nothing was cut and nothing slipped")
            return
        late = now - max(cause, self._last(*_HINDRANCES, *_CEILINGS.get(name, ()))) - SHED_SECONDS
        if late > 0 and not unachievable:
            self.fail(f"{name} draws {watts:.0f} W of {limit:.0f} W {SHED_SECONDS} s after the last reason for it")

    def _last(self, *what: str) -> float:
        return max(self.witness.disturbed.get(one, float("-inf")) for one in what)


class StaleLoosensNothing(Check):
    """Readings of a rack are lost: nothing that may run there is raised or let out. Nobody decides: nothing rises."""

    text = "2 Stale or missing telemetry never loosens anything"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._lost_since: dict[str, float] = {}

    @override
    def second(self, now: float) -> None:
        broken = self.witness.broken()
        for rack in RACKS:
            lost = "kepler" in broken or all(f"lost-kepler {name}" in broken for name in self._of(rack))
            if lost:
                self._lost_since.setdefault(rack, now)
            else:
                self._lost_since.pop(rack, None)

    @override
    def decided(self, decision: Decision) -> None:
        now, result = decision.result.now, decision.result
        lost = [rack for rack, since in self._lost_since.items() if now - since > _FROZEN_AFTER_SECONDS]
        if not lost or not result.warm:
            return
        for row, key in enumerate(result.services.keys):
            name = key.name
            if not BY_NAME[name].enforced or not all(BY_NAME[name].lands_in(rack) for rack in lost):
                continue
            grant, told = decision.grant(name) or 0, max(self.witness.told(name, 0.0), default=0)
            own = [one.grant(name) or 0 for one in self.witness.decisions[-1:] if one.process == decision.process]
            if not self.witness.published.get(name):
                continue
            if grant > max([told, *own]):
                self.fail(f"{name} is raised from {told} to {grant} while readings of {', '.join(lost)} are lost")
            # A pod that takes another's place loosens nothing.
            openings = int(result.gate.openings[row])
            if openings and result.services.active[row] + openings > max([told, *own]):
                self.fail(f"{name} may grow at the gate while readings of {', '.join(lost)} are lost")

    @override
    def scaled(self, old: Workload, new: Workload, by: str) -> None:
        name = new.metadata.name
        service = BY_NAME[name]
        if by != "autoscaler" or new.spec.replicas <= old.spec.replicas or not service.enforced or not service.told:
            return
        newest = max(
            (
                parse_instant(one.status.last_evaluated) or 0.0
                for one in self.witness.cluster.view.all(PowerBudget).values()
            ),
            default=0.0,
        )
        age = self.witness.clock.now() - newest
        if age > STALE_SECONDS + _ROUNDING:
            self.fail(f"{name} rose to {new.spec.replicas} although the last decision was {age:.0f} s old")

    def _of(self, rack: str) -> list[str]:
        there = self.witness.cluster.view
        return [name for name in self.witness.twin.nodes if name.startswith(f"{rack}-") and there.get(Node, "", name)]


def _gated(pod: Pod) -> bool:
    return any(gate.name == POWER_GATE for gate in pod.spec.scheduling_gates)
