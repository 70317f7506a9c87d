"""The leader's side of a migration on the real control plane: watts for one pod more, and where that pod may land.

The test stands for the actuator: it makes the migration and moves it from phase to phase.
"""

from __future__ import annotations

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.gate_room import PLENTY, capped
from tests.cluster.loop import GROUP, Loop
from wattkeeper.cluster.actuation import ACTUATOR_MANAGER

RACK = "topology.kubernetes.io/rack"
SECONDS = 60.0


class TwoRacks:
    """A service of two replicas, both in rack a, beside an empty rack b; each rack has a budget."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.bench = loop.bench
        self.budgets: dict[str, str] = {}
        self.rack_b: list[str] = []

    async def settle(self, admission: AdmissionPlugin) -> None:
        for rack in ("a", "b"):
            self.budgets[rack] = await self.loop.budget(f"rack-{rack}", PLENTY, labels={RACK: rack})
        await self.loop.nodes(1, labels={RACK: "a"})
        await admission.start_all(self.bench.api)
        await admission.opt_in(self.bench.api, self.bench.namespace)
        await self.loop.service("chat", replicas=2, demand=2, floor=1, deployment=capped())
        await self.loop.wait_running("chat", 2)
        await self.loop.wait_grant("chat", 2)
        self.rack_b = await self.loop.nodes(1, labels={RACK: "b"})

        async def measured() -> bool:
            found = await self.bench.api.get(GROUP, "PowerBudget", self.budgets["b"])
            status: Object = found.get("status") or {}
            return status.get("guardedWatts", 0.0) > 0.0 and not holds(found, "TelemetryStale")

        await self.bench.wait_for(measured, what="readings of rack b are fresh", timeout_seconds=SECONDS)

    async def begin(self) -> None:
        """Makes a migration of one of the pods away from rack a, in its first phase."""
        pod = (await self.bench.ready_pods("chat"))[0]["metadata"]
        spec = {
            "scaleTargetRef": {"kind": "Deployment", "name": "chat"},
            "pod": {"name": pod["name"], "uid": pod["uid"]},
            "budget": self.budgets["a"],
        }
        meta = {"name": "move"}
        await self.bench.apply({"apiVersion": GROUP, "kind": "PowerMigration", "metadata": meta, "spec": spec})
        await self.to("Pending")

    async def to(self, phase: str) -> None:
        """Says which phase the migration is in, as the actuator does."""
        path = await self.bench.api.path(
            GROUP, "PowerMigration", namespace=self.bench.namespace, name="move", sub="status"
        )
        meta = {"name": "move", "namespace": self.bench.namespace}
        body = {"apiVersion": GROUP, "kind": "PowerMigration", "metadata": meta, "status": {"phase": phase}}
        query = {"fieldManager": ACTUATOR_MANAGER, "force": "true"}
        await self.bench.api.request("PATCH", path, body, content_type="application/apply-patch+yaml", query=query)

    async def answer(self) -> Object:
        """Waits for what the leader says about the watts."""

        async def said() -> Object | None:
            status: Object = (await self.migration()).get("status") or {}
            return status.get("reservation")

        found = await self.bench.wait_for(said, what="the leader's word about the watts", timeout_seconds=SECONDS)
        assert found is not None
        return found

    async def migration(self) -> Object:
        return await self.bench.api.get(GROUP, "PowerMigration", "move", namespace=self.bench.namespace)


@pytest.fixture
async def racks(loop: Loop, admission: AdmissionPlugin) -> TwoRacks:
    made = TwoRacks(loop)
    await made.settle(admission)
    return made


async def test_a_migration_with_room_gets_its_watts_and_its_new_pod_stays_off_the_rack_that_is_left(
    racks: TwoRacks,
) -> None:
    await racks.begin()
    said = await racks.answer()
    assert (said["state"], said["replicas"]) == ("Reserved", 3), said["message"]
    assert (await racks.migration())["status"]["phase"] == "Pending"
    await racks.loop.wait_grant("chat", 3)
    assert (await racks.loop.status("chat"))["migratingReplicas"] == 1
    await racks.loop.wait_running("chat", 3)
    elsewhere = [one for one in await racks.bench.pods("chat") if one["spec"]["nodeName"] in racks.rack_b]
    assert len(elsewhere) == 1
    affinity = elsewhere[0]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = affinity["nodeSelectorTerms"]
    assert all({"key": RACK, "operator": "NotIn", "values": ["a"]} in term["matchExpressions"] for term in terms)
    await racks.to("Shrinking")
    await racks.loop.wait_grant("chat", 2)
    await racks.loop.wait_running("chat", 2)


async def test_a_migration_without_room_is_refused_and_says_what_is_missing(racks: TwoRacks) -> None:
    watts = await racks.loop.replica_watts("chat")
    budget = racks.budgets["b"]
    await racks.loop.set_limit(budget, await racks.loop.settled_sum(budget) + 0.4 * watts)
    await racks.loop.wait_evaluations(budget, 2)
    await racks.begin()
    said = await racks.answer()
    assert (said["state"], said["budget"]) == ("Refused", budget)
    assert "needs" in said["message"]
    assert said["missingWatts"] == pytest.approx(0.6 * watts, rel=0.2)
    await racks.loop.wait_condition("chat", "MigrationBlocked")
    assert await racks.loop.grant("chat") == 2
