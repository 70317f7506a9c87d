"""Two racks with a budget each, a service whose pods all run on one of them, and all that is seen of them meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.gate_room import PLENTY, capped
from tests.cluster.gate_watch import ROUNDING_WATTS, at_gate, following
from tests.cluster.kserve_scene import CLASS, LABEL, TARGET
from tests.cluster.loop import GROUP, Loop

RACK = "topology.kubernetes.io/rack"
COST = "controller.kubernetes.io/pod-deletion-cost"
REPLICAS = 3
PHASES = ("Pending", "Surging", "Waiting", "Shrinking", "Verifying")
ENDED = ("Succeeded", "Failed")
MOVE_SECONDS = 90.0


@dataclass(kw_only=True)
class Watch:
    """What was seen since a moment.

    Attributes:
        least: the fewest pods that were ready and not about to end.
        overs: W that any of the budgets was above its limit, with every status that was written.
        phases: what each migration went through, by name.
        migrations: as they are now, by name.
    """

    least: int = REPLICAS
    overs: list[float] = field(default_factory=list[float])
    phases: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    migrations: dict[str, Object] = field(default_factory=dict[str, Object])
    _pods: dict[str, Object] = field(default_factory=dict[str, Object])

    def see_pod(self, event: str, pod: Object) -> None:
        self._pods.pop(pod["metadata"]["uid"], None)
        if event != "DELETED":
            self._pods[pod["metadata"]["uid"]] = pod
        ready = [one for one in self._pods.values() if holds(one, "Ready") and not _ends(one)]
        if len(self._pods) >= REPLICAS:
            self.least = min(self.least, len(ready))

    def see_budget(self, _: str, budget: Object) -> None:
        status: Object = budget.get("status") or {}
        if status.get("guardedWatts", 0.0) > 0.0:
            self.overs.append(status["guardedWatts"] - status["limitWatts"])

    def see_migration(self, event: str, one: Object) -> None:
        name = one["metadata"]["name"]
        self.migrations.pop(name, None)
        if event != "DELETED":
            self.migrations[name] = one
        phase = _phase(one)
        seen = self.phases.setdefault(name, [])
        if phase and seen[-1:] != [phase]:
            seen.append(phase)

    @property
    def stayed_inside(self) -> bool:
        return bool(self.overs) and max(self.overs) <= ROUNDING_WATTS


class Racks:
    """Rack a, where all pods of a service run, and rack b beside it, each with a budget of its own."""

    def __init__(self, loop: Loop, admission: AdmissionPlugin) -> None:
        self.loop = loop
        self.bench: Bench = loop.bench
        self.admission = admission
        self.budgets: dict[str, str] = {}
        self.app = "chat"

    async def open(self, *, mode: str = "Migrate") -> None:
        """Runs a service whose ScaledObject asks the scaler."""
        await self._first_rack()
        await self.loop.service("chat", replicas=REPLICAS, demand=REPLICAS, deployment=capped())
        await self.set_mode(mode)
        ports = [{"port": 8080}]
        spec = {"selector": {"app": "chat"}, "ports": ports}
        await self.bench.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"}, "spec": spec})
        await self._second_rack()

    async def set_mode(self, mode: str) -> None:
        """Says what may be done with the service's pods."""
        await self.loop.policy("chat", mode=mode, disruption={"maxPerHour": 3600})

    async def open_kserve(self) -> None:
        """Runs a service of KServe's that nobody scales, with leave to raise its minReplicas."""
        self.app = TARGET
        await self._first_rack()
        bounds = {"minReplicas": REPLICAS}
        service = inference_service(self.bench.namespace, "chat", annotations={CLASS: "none"}, predictor=bounds)
        await self.bench.api.create(service)
        await self.loop.policy(
            "chat",
            mode="Migrate",
            labels={LABEL: "chat"},
            demand=None,
            disruption={"maxPerHour": 3600},
            actuation={"raiseMinReplicas": True},
        )
        await self._second_rack()

    async def _first_rack(self) -> None:
        await self.loop.nodes(1, labels={RACK: "a"})
        self.budgets["a"] = await self.loop.budget("a", PLENTY, labels={RACK: "a"})
        await self.admission.start_all(self.bench.api)
        await self.admission.opt_in(self.bench.api, self.bench.namespace)

    async def _second_rack(self) -> None:
        """Waits until rack a is full, and makes rack b; both have room for one pod more, and not for two."""

        async def serve() -> bool:
            found = await self.bench.pods()
            return len(found) == REPLICAS and all(holds(one, "Ready") for one in found)

        await self.bench.wait_for(serve, what="all pods serve on rack a", timeout_seconds=60.0)
        await self.loop.nodes(1, labels={RACK: "b"})
        self.budgets["b"] = await self.loop.budget("b", PLENTY, labels={RACK: "b"})
        watts = await self.loop.replica_watts(self.app)
        for rack, budget in self.budgets.items():
            more = 0.5 if rack == "a" else 1.5
            await self.loop.set_limit(budget, await self.loop.settled_sum(budget) + more * watts)
            await self.loop.wait_evaluations(budget, 2)

    async def rack_of(self, pod: Object) -> str:
        node = await self.bench.api.get("v1", "Node", pod["spec"]["nodeName"])
        return node["metadata"]["labels"][RACK]

    async def on(self, rack: str) -> list[Object]:
        return [one for one in await self.bench.pods() if not at_gate(one) and await self.rack_of(one) == rack]

    async def move(self, name: str, rack: str) -> Object:
        """Makes a migration of a pod on a rack, as a person would, and returns the pod."""
        pod = (await self.on(rack))[0]
        meta = pod["metadata"]
        await self.bench.apply(
            {
                "apiVersion": GROUP,
                "kind": "PowerMigration",
                "metadata": {"name": name},
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": self.app},
                    "pod": {"name": meta["name"], "uid": meta["uid"]},
                    "budget": self.budgets[rack],
                },
            }
        )
        return pod

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[Watch]:
        watch, api = Watch(), self.bench.api

        def here(item: Object) -> bool:
            return item["metadata"].get("namespace") == self.bench.namespace

        def pod(event: str, item: Object) -> None:
            if here(item):
                watch.see_pod(event, item)

        def budget(event: str, item: Object) -> None:
            if item["metadata"]["name"] in self.budgets.values():
                watch.see_budget(event, item)

        def migration(event: str, item: Object) -> None:
            if here(item):
                watch.see_migration(event, item)

        async with (
            following(api, "v1", "Pod", pod),
            following(api, GROUP, "PowerBudget", budget),
            following(api, GROUP, "PowerMigration", migration),
        ):
            yield watch

    async def ended(self, watch: Watch, name: str) -> Object:
        """Waits until a migration has ended and let go, and returns it."""

        async def over() -> Object | None:
            one = watch.migrations.get(name, {})
            done = _phase(one) in ENDED and not one["metadata"].get("finalizers")
            return one if done else None

        found = await self.bench.wait_for(over, what=f"{name} has ended: {watch.phases}", timeout_seconds=MOVE_SECONDS)
        assert found is not None
        return found

    async def leaks(self) -> list[str]:
        """Returns what is left of migrations: costs, pods at the gate, pods too many, bounds that are held."""
        pods = await self.bench.pods()
        found = [f"cost of {one['metadata']['name']}" for one in pods if COST in one["metadata"].get("annotations", {})]
        found += [f"{one['metadata']['name']} at the gate" for one in pods if at_gate(one)]
        found += [f"{len(pods)} pods"] if len(pods) != REPLICAS else []
        status = await self.loop.status(self.app)
        return [*found, *map(str, status.get("actuation", {}).get("fields", []))]

    async def wait_clean(self) -> None:
        async def clean() -> bool:
            return not await self.leaks()

        await self.bench.wait_for(clean, what="nothing is left of the migration", timeout_seconds=MOVE_SECONDS)


def _phase(one: Object) -> str:
    status: Object = one.get("status") or {}
    return status.get("phase", "")


def _ends(item: Object) -> bool:
    return "deletionTimestamp" in item["metadata"]
