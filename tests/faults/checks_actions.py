"""Invariants 3 to 6: plans, disruptions, restarts, replica arithmetic."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from tests.faults.processes import STALE_SECONDS, TICK_SECONDS, WARM_UP_SECONDS
from tests.faults.scene import BY_NAME, DISRUPTIONS_PER_HOUR, NAMESPACE, SERVICES
from tests.faults.views import SILENT_SECONDS
from tests.faults.witness import Call, Check, Witness, about, replicas_of
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_migration import FINISHED, PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.braking import PAUSED_REPLICAS
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import HorizontalPodAutoscaler, Pod, ScaledObject
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.keda_hpa import hpa_name, wanted_spec
from wattkeeper.simulation.workloads import Workload

ON_PODS: Final = frozenset({"set_deletion_cost", "evict", "create_migration"})
CHANGING: Final = ON_PODS | {"set_replica_fields", "apply_scaled_object", "delete_scaled_object", "set_brake"}
TOLD: Final = frozenset({"set_brake", "evict", "create_migration", "set_replica_fields"})
_SCALER_VIEWS: Final = ("view scaler-0", "view scaler-1")
# A ceiling rises after 30 s, KEDA's poll and the HPA's sync follow; loading pods count as replicas.
_OBEYED_WITHIN_SECONDS: Final = 75.0
_SETTLED_SECONDS: Final = 5.0
_EVENT_WITHIN_SECONDS: Final = 10.0
_RECENT_DECISIONS: Final = 12


class OnlyGuardedPlans(Check):
    """What recommendations say is what some guarded plan granted."""

    text = "3 No plan reaches the cluster unguarded"

    @override
    def recommendation(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        if new is None or not new.status.mode or (old is not None and old.status.target == new.status.target):
            return
        name = new.spec.scale_target_ref.name
        recent = self.witness.decisions[-_RECENT_DECISIONS:]
        plans = [one for one in recent if type(one.result.plan) is GuardedPlan]
        if new.status.target.replicas not in {one.grant(name) for one in plans}:
            self.fail(f"{name} was told {new.status.target.replicas}, which no guarded plan has granted")


class ModesAllow(Check):
    """Off changes nothing; Scale touches no pod; floors hold."""

    text = "4 No disruption beyond floors and the policy's mode"

    @override
    def calling(self, call: Call) -> None:
        service = BY_NAME.get(call.service)
        if service is None or call.verb not in CHANGING | {"open_gate", "write_migration"}:
            return
        if not service.enforced:
            self.fail(f"{call.process}: {call.verb} on {service.name} in mode {service.mode}")
        replaces = call.verb == "evict" and service.replaces
        if call.verb in ON_PODS and service.mode not in ("Migrate", "Kill") and not replaces:
            self.fail(f"{call.process}: {call.verb} on {service.name} in mode {service.mode}")

    @override
    def scaled(self, old: Workload, new: Workload, by: str) -> None:
        service, before, after = BY_NAME[new.metadata.name], old.spec.replicas, new.spec.replicas
        if by == "user":
            return
        if not service.enforced:
            self.fail(f"{service.name} in mode {service.mode} went from {before} to {after}")
        if after < before and after < service.floor:
            self.fail(f"{service.name} went from {before} to {after}, below its floor {service.floor}")


class OnlyNamedPodsEnd(Check):
    """What is evicted was named by the leader, is moved, or is replaced; floors hold, and so do the rates.

    Who evicts can keep to no more than what it sees.
    """

    text = "4 No disruption beyond floors and rate limits, and of no pod that nobody named"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._named: set[str] = set()
        self._ended: dict[str, tuple[float, str]] = {}

    @override
    def recommendation(self, old: PowerRecommendation | None, new: PowerRecommendation | None) -> None:
        if new is not None:
            self._named |= {pod.uid for one in new.status.violations for pod in one.pods}

    @override
    def calling(self, call: Call) -> None:
        if call.verb != "evict":
            return
        service, uid, name = BY_NAME[call.service], call.args[0].metadata.uid, call.args[0].metadata.name
        pods = call.seen.all(Pod)
        if uid not in pods:
            self.fail(f"{call.process} evicts {name}, which it does not see")
            return
        moving = {one.spec.pod.uid for one in call.seen.all(PowerMigration).values()}
        if uid not in self._named | moving and not service.replaces:
            self.fail(f"{call.process} evicts {name}, which nobody named")
        ready = sum(
            is_ready(one) and not one.metadata.deletion_timestamp and about(one) == service.name
            for one in pods.values()
        )
        if is_ready(pods[uid]) and ready <= service.floor:
            self.fail(f"{call.process} evicts {name}: {ready} are ready, and the floor is {service.floor}")

    @override
    def called(self, call: Call) -> None:
        if call.verb != "evict":
            return
        before, uid = self._ended.get(call.service, (float("-inf"), ""))
        spacing = 3600.0 / DISRUPTIONS_PER_HOUR
        if uid != call.args[0].metadata.uid and call.at - before < spacing - 2.0:
            self.fail(f"{call.process} evicts two pods of {call.service} within {call.at - before:.0f} s")
        self._ended[call.service] = call.at, call.args[0].metadata.uid


class EveryActionHasItsEvent(Check):
    """Who changes something says so, unless it is killed or cannot."""

    text = "4 Every action has an event"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._owed: list[Call] = []

    @override
    def called(self, call: Call) -> None:
        if call.verb == "record":
            self._owed = [one for one in self._owed if (one.process, one.service) != (call.process, call.service)]
        elif call.verb in TOLD and BY_NAME.get(call.service) is not None:
            self._owed.append(call)

    @override
    def second(self, now: float) -> None:
        for one in [one for one in self._owed if now - one.at > _EVENT_WITHIN_SECONDS]:
            self._owed.remove(one)
            broken = self.witness.disturbed.get(f"api {one.process}", float("-inf"))
            ended = self.witness.disturbed.get(f"ended {one.process}", float("-inf"))
            if max(broken, ended) < one.at:
                self.fail(f"{one.process}: {one.verb} on {one.service} was never told")


class RestartIsQuiet(Check):
    """A process that has just begun to lead changes nothing."""

    text = "5 Restart is quiet: no action until caches and history are warm"

    @override
    def calling(self, call: Call) -> None:
        age = call.at - self.witness.leads_since.get(call.process, float("inf"))
        if call.process.startswith("actuator") and call.verb in CHANGING and age < WARM_UP_SECONDS:
            self.fail(f"{call.process} leads for {age:.0f} s: {call.verb} on {call.service}")
        if not call.process.startswith("scaler") or age >= 3 * TICK_SECONDS:
            return
        if call.verb == "open_gate" and call.service in BY_NAME:
            self.fail(f"{call.process} leads for {age:.0f} s and lets a pod of {call.service} out")
        if call.verb == "write_status" and isinstance(call.args[0], PowerRecommendation):
            told = self.witness.published.get(call.service)
            if told and call.args[0].status.target.replicas != told[-1][1]:
                self.fail(f"{call.process} leads for {age:.0f} s and tells {call.service} another target")


class NeverAboveTheCap(Check):
    """Autoscalers raise nothing above what was told, and lower nothing below it; in the end it is exactly that many.

    What a fall takes away no PodDisruptionBudget keeps: so it takes no pod more than was told.
    """

    text = "6 Replica arithmetic is KEDA's and the HPA's own: exactly N, never above the cap"

    @override
    def scaled(self, old: Workload, new: Workload, by: str) -> None:
        name = new.metadata.name
        service = BY_NAME[name]
        if by == "user" or not service.enforced or not service.told:
            return
        told = self.witness.told(name, STALE_SECONDS + TICK_SECONDS)
        if self.witness.since(*_SCALER_VIEWS) < STALE_SECONDS:
            # A replica whose watches are silent answers from what it knows until an informer would notice.
            told = self.witness.told(name, SILENT_SECONDS + STALE_SECONDS)
        before, after = old.spec.replicas, new.spec.replicas
        if after > max(before, *told):
            self.fail(f"{name} rose from {before} to {after}, and was told {max(told, default=0)}")
        # A maximum rises later than what the trigger tells.
        least = min([before, *told, *self._maxima(name)])
        if after < least:
            self.fail(f"{name} fell from {before} to {after}, and was told {least}")

    def _maxima(self, name: str) -> list[int]:
        scaled = self.witness.cluster.view.all(ScaledObject).values()
        return [one.spec.max_replica_count for one in scaled if one.spec.scale_target_ref.name == name]

    @override
    def ended(self) -> None:
        for one in SERVICES:
            told = self.witness.published.get(one.name)
            if not one.enforced or not one.told or not told:
                continue
            if self.witness.clock.now() - told[-1][0] < _OBEYED_WITHIN_SECONDS + one.patience_seconds:
                continue
            there, target = replicas_of(self.witness.cluster, one.name), told[-1][1]
            if there != target and there != 0:
                self.fail(f"{one.name} has {there} replicas in the end, and was told {target}")


class NothingIsLeftBehind(Check):
    """Once all is calm: no brake, no pause, no mark on a pod, no migration without an end, and somebody decides."""

    text = "4 Nothing is left behind"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._odd_since: dict[str, float] = {}

    @override
    def second(self, now: float) -> None:
        view = self.witness.cluster.view
        for one in view.all(ScaledObject).values():
            found = view.get(HorizontalPodAutoscaler, NAMESPACE, hpa_name(one))
            if found is not None and found.spec != wanted_spec(one):
                self._odd_since.setdefault(found.metadata.name, now)
            else:
                self._odd_since.pop(hpa_name(one), None)

    @override
    def ended(self) -> None:
        view, now = self.witness.cluster.view, self.witness.clock.now()
        for one in view.all(PowerRecommendation).values():
            if one.status.actuation is not None and one.status.actuation.brake is not None:
                self.fail(f"{one.metadata.name} is still braked")
        for one in view.all(ScaledObject).values():
            if PAUSED_REPLICAS in one.metadata.annotations:
                self.fail(f"ScaledObject {one.metadata.name} is still paused")
        for name, since in self._odd_since.items():
            if now - since > _SETTLED_SECONDS:
                self.fail(f"HPA {name} is not what KEDA would make")
        named = {
            pod.uid
            for one in view.all(PowerRecommendation).values()
            for violation in one.status.violations
            for pod in violation.pods
        }
        working = named | {
            one.spec.pod.uid for one in view.all(PowerMigration).values() if one.status.phase not in FINISHED
        }
        for one in view.all(Pod).values():
            marked = DELETION_COST in one.metadata.annotations
            if marked and one.metadata.uid not in working and not one.metadata.deletion_timestamp:
                self.fail(f"pod {one.metadata.name} still has a deletion cost")
        for one in view.all(PowerBudget).values():
            age = now - (parse_instant(one.status.last_evaluated) or 0.0)
            if age > STALE_SECONDS + TICK_SECONDS:
                self.fail(f"nobody decides about {one.metadata.name} any more, for {age:.0f} s")
