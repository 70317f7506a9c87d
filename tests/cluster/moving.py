"""Services of KServe's on rack a, an empty rack b beside it, and all that is seen of each service while its pods move.

Watts are plenty, and rack a has places for the new pods as well: they land on rack b because they are kept off rack a.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.workloads import inference_service
from tests.cluster.gate_room import PLENTY
from tests.cluster.gate_watch import at_gate, following
from tests.cluster.kserve_scene import CLASS, KSERVE, LABEL
from tests.cluster.loop import GROUP, Loop
from tests.cluster.racks import COST, ENDED, MOVE_SECONDS, RACK

REPLICAS = 2
_GPUS = 8
_RULES = "tests.wattkeeper.dev/rules"
"""Label of a service: the policy that caps it."""


@dataclass(kw_only=True)
class Seen:
    """What a watch has shown of one service.

    Attributes:
        born: UIDs of all pods that it ever had, as they came.
        pods: those that there are now, by UID.
        least: the fewest that were ready and not about to end.
        minima: every minReplicas that it had, in order.
        phases: what its migration went through.
        migration: as it is now, {} before it is made.
    """

    born: list[str] = field(default_factory=list[str])
    pods: dict[str, Object] = field(default_factory=dict[str, Object])
    least: int = REPLICAS
    minima: list[int] = field(default_factory=list[int])
    phases: list[str] = field(default_factory=list[str])
    migration: Object = field(default_factory=dict[str, object])

    def see_pod(self, event: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.born:
            self.born.append(uid)
        self.pods[uid] = pod
        if event == "DELETED":
            del self.pods[uid]
        if len(self.born) >= REPLICAS:
            self.least = min(self.least, sum(_serves(one) for one in self.pods.values()))

    def see_service(self, _: str, service: Object) -> None:
        found = service["spec"]["predictor"]["minReplicas"]
        if self.minima[-1:] != [found]:
            self.minima.append(found)

    def see_migration(self, _: str, one: Object) -> None:
        self.migration = one
        phase = self.status.get("phase", "")
        if phase and self.phases[-1:] != [phase]:
            self.phases.append(phase)

    @property
    def status(self) -> Object:
        return self.migration.get("status") or {}

    @property
    def reason(self) -> str:
        """How the migration ended."""
        found: list[Object] = self.status.get("conditions", [])
        return next((one["reason"] for one in found if one["type"] == "Complete"), "")

    @property
    def over(self) -> bool:
        """Whether the migration has ended, and nothing of it is left: no cost, no pod too many, none at the gate."""
        ended = self.status.get("phase") in ENDED and not self.migration["metadata"].get("finalizers")
        return ended and len(self.pods) == REPLICAS and all(map(_settled, self.pods.values()))


class Moving:
    """Two racks with a budget each, and services that run on the first one."""

    def __init__(self, loop: Loop, admission: AdmissionPlugin) -> None:
        self.loop = loop
        self.bench: Bench = loop.bench
        self._admission = admission
        self._budgets: dict[str, str] = {}

    async def open(self, services: Mapping[str, Object], *, bound: Collection[str] = ()) -> None:
        """Runs services until all that may be asked of them is known.

        Args:
            services: by name, the fields of each predictor; `autoscaler` is its class, and without one none is set.
            bound: those whose minReplicas must not be raised.
        """
        bench = self.bench
        await self._rack("a", (REPLICAS + 1) * len(services))
        await self._admission.start_all(bench.api)
        await self._admission.opt_in(bench.api, bench.namespace)
        for rules, raises in (("may-raise", True), ("may-not", False)):
            await self.loop.policy(
                rules,
                mode="Migrate",
                labels={_RULES: rules},
                demand=None,
                disruption={"maxPerHour": 3600},
                actuation={"raiseMinReplicas": raises},
            )
        for name, fields in services.items():
            rules = "may-not" if name in bound else "may-raise"
            await bench.api.create(_service(bench.namespace, name, rules, {"minReplicas": REPLICAS, **fields}))
        for name in services:
            await self._wait_serving(name)
        await self._rack("b", len(services))
        for budget in self._budgets.values():
            await self._wait_measured(budget)

    async def _rack(self, rack: str, pods: int) -> None:
        await self.loop.nodes(-(-pods // _GPUS), labels={RACK: rack})
        self._budgets[rack] = await self.loop.budget(rack, PLENTY, labels={RACK: rack})

    async def _wait_serving(self, name: str) -> None:
        async def serves() -> bool:
            ready = [one for one in await self.pods(name) if _serves(one)]
            return len(ready) == REPLICAS <= await self.loop.grant(target(name))

        await self.bench.wait_for(serves, what=f"{name} serves, and has its watts", timeout_seconds=MOVE_SECONDS)

    async def _wait_measured(self, budget: str) -> None:
        async def measured() -> bool:
            found = await self.bench.api.get(GROUP, "PowerBudget", budget)
            status: Object = found.get("status") or {}
            return status.get("guardedWatts", 0.0) > 0.0 and not holds(found, "TelemetryStale")

        await self.bench.wait_for(measured, what=f"readings of {budget} are fresh", timeout_seconds=MOVE_SECONDS)
        await self.loop.wait_evaluations(budget, 1)

    async def pods(self, name: str) -> list[Object]:
        """Returns the pods of a service, those that are about to end included."""
        return await self.bench.api.list("v1", "Pod", namespace=self.bench.namespace, selector=f"{LABEL}={name}")

    async def move(self, name: str) -> Object:
        """Makes a migration of a service's pod away from rack a, as a person would, and returns the pod."""
        pod = (await self.pods(name))[0]
        meta = pod["metadata"]
        spec = {
            "scaleTargetRef": {"kind": "Deployment", "name": target(name)},
            "pod": {"name": meta["name"], "uid": meta["uid"]},
            "budget": self._budgets["a"],
        }
        await self.bench.apply(
            {"apiVersion": GROUP, "kind": "PowerMigration", "metadata": {"name": name}, "spec": spec}
        )
        return pod

    async def rack_of(self, pod: Object) -> str:
        """Returns where a pod runs."""
        node = await self.bench.api.get("v1", "Node", pod["spec"]["nodeName"])
        return node["metadata"]["labels"][RACK]

    @asynccontextmanager
    async def watching(self, services: Collection[str]) -> AsyncGenerator[Mapping[str, Seen]]:
        """Watches services for as long as the context lasts."""
        seen = {name: Seen() for name in services}

        def of(name: str, item: Object) -> Seen | None:
            return seen.get(name) if item["metadata"].get("namespace") == self.bench.namespace else None

        def pod(event: str, item: Object) -> None:
            one = of(item["metadata"].get("labels", {}).get(LABEL, ""), item)
            if one is not None:
                one.see_pod(event, item)

        def service(event: str, item: Object) -> None:
            one = of(item["metadata"]["name"], item)
            if one is not None:
                one.see_service(event, item)

        def migration(event: str, item: Object) -> None:
            one = of(item["metadata"]["name"], item)
            if one is not None:
                one.see_migration(event, item)

        api = self.bench.api
        async with (
            following(api, "v1", "Pod", pod),
            following(api, KSERVE, "InferenceService", service),
            following(api, GROUP, "PowerMigration", migration),
        ):
            yield seen

    async def wait_over(self, seen: Mapping[str, Seen], *, timeout_seconds: float = MOVE_SECONDS) -> None:
        """Waits until every migration has ended, and nothing of any is left."""

        async def over() -> bool:
            held = [(await self.loop.status(target(name))).get("actuation", {}).get("fields") for name in seen]
            return all(one.over for one in seen.values()) and not any(held)

        try:
            await self.bench.wait_for(over, what="all migrations are over", timeout_seconds=timeout_seconds)
        except Exception as error:
            for name, one in seen.items():
                error.add_note(f"{name}: {one.phases}, {one.status}, minReplicas {one.minima}, {len(one.pods)} pods")
            raise


def target(name: str) -> str:
    """Returns the Deployment of a service."""
    return f"{name}-predictor"


def _service(namespace: str, name: str, rules: str, fields: Object) -> Object:
    predictor = {key: value for key, value in fields.items() if key != "autoscaler"}
    made = inference_service(namespace, name, labels={_RULES: rules}, predictor=predictor)
    # KServe's HPA divides by the request.
    made["spec"]["predictor"]["model"]["resources"]["requests"] = {"cpu": "1"}
    made["metadata"]["annotations"].pop(CLASS)
    if "autoscaler" in fields:
        made["metadata"]["annotations"][CLASS] = fields["autoscaler"]
    return made


def _ends(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _serves(pod: Object) -> bool:
    return holds(pod, "Ready") and not _ends(pod)


def _settled(pod: Object) -> bool:
    return _serves(pod) and not at_gate(pod) and COST not in pod["metadata"].get("annotations", {})
