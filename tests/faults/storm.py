"""Makes a schedule happen to a world, and whole again."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

import msgspec

from tests.faults.objects import policy, protection
from tests.faults.processes import ActuatorProcess, AdmissionProcess, Process, ScalerProcess, Surroundings
from tests.faults.scene import BY_NAME, MAXIMUM, NAMESPACE, PROTECTIONS, SYSTEM, steady_traffic
from tests.faults.schedule import RUN_SECONDS, Fault
from tests.faults.witness import Witness, replicas_of
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import Deployment, Node, Pod, PodDisruptionBudget
from wattkeeper.simulation.actuation import claimed
from wattkeeper.simulation.exporters import Exporters
from wattkeeper.simulation.traffic import Traffic
from wattkeeper.simulation.twin import Twin

_HANGING_SECONDS: Final = 70.0
_FORBIDDING: Final = 1_000
_FLAP_SECONDS: Final = 7


def traffic_of(schedule: tuple[Fault, ...]) -> dict[str, Traffic]:
    """Returns requests of every service, with the schedule's spikes and lulls."""
    return {
        name: steady_traffic(
            service,
            RUN_SECONDS,
            [(one.at, one.until, one.amount) for one in schedule if one.kind == "demand" and one.target == name],
        )
        for name, service in BY_NAME.items()
    }


class Storm:
    """One run's processes and faults.

    Attributes:
        processes: by name; the newest of each.
    """

    def __init__(self, around: Surroundings, twin: Twin, exporters: Exporters, settle: Callable[[], None]) -> None:
        self._around, self._twin, self._exporters, self._settle = around, twin, exporters, settle
        self.processes: dict[str, Process] = {}
        around.cluster.admit_pods(self._admit)

    @property
    def witness(self) -> Witness:
        """Who is told."""
        return self._around.witness

    def scalers(self) -> list[ScalerProcess]:
        """Returns scaler processes."""
        return [one for one in self.processes.values() if isinstance(one, ScalerProcess)]

    def start(self, name: str) -> None:
        """Starts a process, unless it runs."""
        running = self.processes.get(name)
        if running is not None and running.alive:
            return
        if name.startswith("scaler"):
            self.processes[name] = ScalerProcess(self._around, name)
        elif name.startswith("actuator"):
            self.processes[name] = ActuatorProcess(self._around, name, self._actuator_reaches)
        else:
            self.processes[name] = AdmissionProcess(self._around, name)

    async def rage(self, schedule: tuple[Fault, ...]) -> None:
        """Makes everything happen, and takes it back, in time."""
        clock, began = self._around.clock, self._around.clock.now()
        moments = [(one.at, 1, row, one) for row, one in enumerate(schedule)]
        moments += [(one.until, 0, row, one) for row, one in enumerate(schedule)]
        heapq.heapify(moments)
        while moments:
            moment, begins, row, fault = heapq.heappop(moments)
            await clock.sleep(began + moment - clock.now())
            if not begins:
                self._end(fault)
                continue
            self.witness.counts["faults"] += moment == fault.at
            await self._begin(fault)
            if fault.kind == "pdb flaps" and moment + _FLAP_SECONDS < fault.until:
                heapq.heappush(moments, (moment + _FLAP_SECONDS, 1, row, fault))

    async def _begin(self, fault: Fault) -> None:
        weather, faults, target = self._around.weather, self._exporters.faults, fault.target
        match fault.kind:
            case "budget":
                self._limit(target, fault.amount)
            case "rack full":
                self._fill(target, fault.amount)
            case "kepler lost":
                faults.kepler_lost |= self._nodes(target)
            case "exporter down":
                faults.down.add(target)
            case "counters frozen":
                faults.frozen |= self._nodes(target)
            case "counters spike":
                faults.spikes |= self._nodes(target)
            case "scaler killed" | "actuator killed":
                await self._kill(target)
            case "scaler stopped" | "actuator stopped":
                await self._stop(target)
            case "all scalers killed":
                for one in self.scalers():
                    await self._kill(one.name)
            case "admission killed":
                await self._kill("admission-0")
            case "webhook down":
                weather.webhook_down = True
            case "api":
                weather.api[target] = (fault.how, fault.amount)
            case "view frozen":
                self.processes[target].api.view.freeze()
            case "keda cut":
                weather.keda_cut = True
            case "actuator cut":
                weather.actuator_cut = True
            case "node lost":
                self._twin.lose_node(target)
                self.witness.disturb("nodes")
            case "user scales":
                self._scale(target, round(fault.amount))
            case "user edits":
                self._edit(target, round(fault.amount))
            case "policy gone":
                self._forget_policy(target)
            case "rollout":
                self._roll(target, fault.at)
            case "pods hang":
                self._twin.hanging[BY_NAME[target].key] = _HANGING_SECONDS
            case "pdb forbids":
                self._protect(target, _FORBIDDING)
            case "pdb tight":
                self._protect(target, round(fault.amount))
            case "pdb doubled":
                self._double(target)
            case "pdb flaps":
                self._flap(target)
            case "view late":
                self._late(fault.amount)
            case "algorithm":
                weather.mood = fault.how
            case "state torn":
                self._around.cluster.tear_state(namespace=SYSTEM, name="wattkeeper-model")
            case "demand":
                pass  # The traffic has it already.

    def _end(self, fault: Fault) -> None:
        """Takes one back, and with it whatever else does the same to the same."""
        weather, faults, target = self._around.weather, self._exporters.faults, fault.target
        match fault.kind:
            case "kepler lost":
                faults.kepler_lost -= self._nodes(target)
            case "exporter down":
                faults.down.discard(target)
            case "counters frozen":
                faults.frozen -= self._nodes(target)
            case "counters spike":
                faults.spikes -= self._nodes(target)
            case "scaler killed" | "scaler stopped" | "actuator killed" | "actuator stopped":
                self.start(target)
            case "all scalers killed":
                for one in self.scalers():
                    self.start(one.name)
            case "admission killed":
                self.start("admission-0")
            case "webhook down":
                weather.webhook_down = False
            case "api":
                weather.api.pop(target, None)
            case "view frozen":
                if self.processes[target].alive:
                    self.processes[target].api.view.thaw()
            case "keda cut":
                weather.keda_cut = False
            case "actuator cut":
                weather.actuator_cut = False
            case "node lost":
                self._twin.return_node(target)
                self.witness.disturb("nodes")
            case "policy gone":
                self._return_policy(target)
            case "pods hang":
                self._twin.hanging.pop(BY_NAME[target].key, None)
            case "view late":
                self._late(0.0)
            case "pdb forbids" | "pdb tight" | "pdb flaps":
                self._protect(target, PROTECTIONS[target])
            case "pdb doubled":
                self._undouble(target)
            case "algorithm":
                weather.mood = ""
            case _:
                pass  # It happened once, or stays.

    def _actuator_reaches(self) -> bool:
        return not self._around.weather.actuator_cut and any(one.serving for one in self.scalers())

    def _admit(self, new: Pod) -> Pod:
        admission = self.processes.get("admission-0")
        if self._around.weather.webhook_down or not isinstance(admission, AdmissionProcess) or not admission.alive:
            if BY_NAME[new.metadata.labels["app"]].enforced:
                self.witness.disturb("slipped")  # failurePolicy is Ignore.
            return new
        return admission.admit(new)

    async def _kill(self, name: str) -> None:
        self.witness.counts["processes killed"] += 1
        self.witness.disturb(f"ended {name}")
        await self.processes[name].kill()

    async def _stop(self, name: str) -> None:
        self.witness.disturb(f"ended {name}")
        await self.processes[name].stop()

    def _limit(self, name: str, watts: float) -> None:
        budget = self._around.cluster.view.get(PowerBudget, "", name)
        if budget is not None:
            if watts < budget.spec.limit_watts:
                self.witness.disturb(f"cut {name}")
            spec = msgspec.structs.replace(budget.spec, limit_watts=watts)
            self._around.cluster.replace(msgspec.structs.replace(budget, spec=spec))

    def _fill(self, name: str, share: float) -> None:
        """Leaves a budget hardly more than is guarded in it, so that its pods should move to where there is more."""
        budget = self._around.cluster.view.get(PowerBudget, "", name)
        if budget is not None and budget.status.guarded_watts > 0.0:
            self._limit(name, float(round(share * budget.status.guarded_watts, -1)))

    def _scale(self, service: str, replicas: int) -> None:
        self.witness.user = True
        if not BY_NAME[service].enforced and replicas > replicas_of(self._around.cluster, service):
            self.witness.disturb("unmanaged")
        self._around.cluster.scale(namespace=NAMESPACE, name=service, replicas=replicas, kind=BY_NAME[service].kind)
        self.witness.user = False
        self.witness.disturb(f"scaled {service}")
        self._settle()

    def _edit(self, name: str, most: int) -> None:
        """Lets a user write another maxReplicas; 0 is for what the user wrote last, as GitOps tools put it back."""
        found = self._around.cluster.view.get(InferenceService, NAMESPACE, BY_NAME[name].inference_service)
        if found is None:
            return
        wished = self.witness.wished[name]
        wished[MAXIMUM] = most or wished[MAXIMUM]
        predictor = msgspec.structs.replace(found.spec.predictor, max_replicas=wished[MAXIMUM])
        managed = claimed(found.metadata.managed_fields, "kubectl-edit", {MAXIMUM: wished[MAXIMUM]})
        self.witness.disturb(f"edited {name}")
        self._around.cluster.replace(
            msgspec.structs.replace(
                found,
                metadata=msgspec.structs.replace(found.metadata, managed_fields=managed),
                spec=msgspec.structs.replace(found.spec, predictor=predictor),
            )
        )

    def _forget_policy(self, name: str) -> None:
        """Lets a user delete a policy, until it is made anew."""
        found = self._around.cluster.view.get(PowerCappingPolicy, NAMESPACE, name)
        if found is not None:
            self._around.cluster.objects.remove(found)

    def _return_policy(self, name: str) -> None:
        if self._around.cluster.view.get(PowerCappingPolicy, NAMESPACE, name) is None:
            self._around.cluster.create(policy(BY_NAME[name]))
            self.witness.disturb(f"capped {name}")

    def _roll(self, service: str, number: int) -> None:
        found = self._around.cluster.view.get(Deployment, NAMESPACE, service)
        if found is None:
            return
        if not BY_NAME[service].enforced:
            self.witness.disturb("unmanaged")
        template = found.spec.template
        meta = msgspec.structs.replace(template.metadata, annotations={"restarted": str(number)})
        spec = msgspec.structs.replace(found.spec, template=msgspec.structs.replace(template, metadata=meta))
        self._around.cluster.replace(msgspec.structs.replace(found, spec=spec))

    def _double(self, name: str) -> None:
        """Lets a second PodDisruptionBudget select the same pods: then nobody may evict them."""
        twin = protection(f"{name}-again", name)
        if self._around.cluster.view.get(PodDisruptionBudget, NAMESPACE, twin.metadata.name) is None:
            self._around.cluster.create(twin)

    def _undouble(self, name: str) -> None:
        found = self._around.cluster.view.get(PodDisruptionBudget, NAMESPACE, f"{name}-again")
        if found is not None:
            self._around.cluster.objects.remove(found)

    def _late(self, seconds: float) -> None:
        """Lets everything come late that actuators see."""
        for name, one in self.processes.items():
            if name.startswith("actuator"):
                one.api.view.late_seconds = seconds

    def _protect(self, name: str, least: int) -> None:
        """Says how many pods a PodDisruptionBudget asks for. An API server evicts none before that is counted."""
        self._twin.protection.min_available[NAMESPACE, name] = least
        self._twin.protection.reconcile()

    def _flap(self, name: str) -> None:
        """Lets a PodDisruptionBudget forbid that allowed, and the other way round: pods of others come and go."""
        forbids = self._twin.protection.min_available[NAMESPACE, name] == _FORBIDDING
        self._protect(name, PROTECTIONS[name] if forbids else _FORBIDDING)

    def _nodes(self, rack: str) -> set[str]:
        return {name for name in self._twin.nodes if name.startswith(f"{rack}-")}

    def broken(self) -> set[str]:
        """Returns what is broken now, by the names under which checks know it."""
        weather, faults = self._around.weather, self._exporters.faults
        named = {
            "webhook": weather.webhook_down or not self.processes["admission-0"].alive,
            "keda": weather.keda_cut or not any(one.serving for one in self.scalers()),
            "actuator cut": weather.actuator_cut,
            "actuators": not any(one.alive for name, one in self.processes.items() if name.startswith("actuator")),
            "hanging": bool(self._twin.hanging),
            "kepler": "kepler" in faults.down,
            "nodes": self.nodes_there() != set(self._twin.nodes),
            "unmanaged": len(self._around.cluster.view.all(PowerCappingPolicy)) < len(BY_NAME),
        }
        found = {name for name, is_so in named.items() if is_so}
        found |= {f"api {name}" for name in weather.api}
        found |= {
            f"view {name}"
            for name, one in self.processes.items()
            if one.api.view.staleness_seconds(self._around.clock.now()) or one.api.view.late_seconds
        }
        found |= {f"lost-kepler {name}" for name in faults.kepler_lost}
        return found

    def nodes_there(self) -> set[str]:
        """Returns the nodes that are in the cluster."""
        return {node.metadata.name for node in self._around.cluster.view.all(Node).values()}
