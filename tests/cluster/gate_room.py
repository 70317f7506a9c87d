"""A test's place at the power gate: its namespace, opted in, on nodes of its own under one budget.

Budgets are set in replicas, by what the leader itself says one may draw. Pods draw nothing here: they are charged what
they might draw, and nothing that is learned while they start moves a sum, so that a number of replicas goes on meaning
the same watts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.draw import CPU_WATTS, IDLE_WATTS, LOAD_WATTS, LOADING_WATTS
from tests.cluster.gate_watch import ROUNDING_WATTS, at_gate
from tests.cluster.loop import Loop
from wattkeeper.api.admission import CAPPED_LABEL

VERSION = "tests.wattkeeper.dev/version"
PLENTY = 1_000_000.0
SETTLED_DECISIONS = 3
SETTLE_SECONDS = 60.0


class Watts(NamedTuple):
    """What the leader's last decision says, in W, once readings are fresh."""

    guarded: float
    replica: float


class GateRoom:
    """A budget, and services that come to the gate."""

    def __init__(self, loop: Loop, budget: str) -> None:
        self.loop = loop
        self.bench: Bench = loop.bench
        self.budget = budget

    async def service(self, name: str, *, priority: int = 0) -> None:
        """Deploys a service that asks for what its spec asks for: nothing yet, and nothing but the test scales it."""
        await self.bench.deploy(self.bench.deployment(name, replicas=0, **capped()), wait=False)
        await self.loop.policy(name, priority=priority, demand=None)
        await self.loop.wait_grant(name, 0)

    async def rolling(self, name: str, *, replicas: int, priority: int = 0) -> None:
        """Deploys a service whose traffic asks for so many replicas, scaled by KEDA, and waits until they serve."""
        await self.loop.service(name, replicas=replicas, demand=replicas, priority=priority, deployment=capped())
        await self.loop.wait_running(name, replicas)
        await self.loop.wait_grant(name, replicas)

    async def roll(self, name: str) -> None:
        """Changes the pods' template."""
        change: Object = {"spec": {"template": {"metadata": {"annotations": {VERSION: "2"}}}}}
        await self.bench.api.patch("apps/v1", "Deployment", name, change, namespace=self.bench.namespace)

    async def limit_to(self, replicas: int, *, of: str) -> None:
        """Sets the budget to watts for so many replicas of a service beside all else, and waits until it counts."""
        await self.set_limit(await self.limit_for(replicas, of=of))

    async def limit_for(self, replicas: int, *, of: str) -> float:
        """Returns W for so many replicas of a service, those out of the gate among them, beside all else."""
        watts = await self.settled(of)
        out = sum(not at_gate(one) for one in await self.bench.pods(of))
        return watts.guarded + (replicas - out + 0.5) * watts.replica

    async def set_limit(self, watts: float) -> None:
        """Sets the budget, and waits until decisions are made under it."""
        await self.loop.set_limit(self.budget, watts)

        async def in_force() -> bool:
            limit = (await self.figures()).value("wattkeeper_budget_limit_watts", budget=self.budget)
            return abs(limit - watts) <= ROUNDING_WATTS

        await self.bench.wait_for(in_force, what="the new limit is in force", timeout_seconds=SETTLE_SECONDS)

    async def settled(self, name: str) -> Watts:
        """Returns the watts on which so many decisions in a row agree: new nodes are measured by then."""
        seen: dict[float, Watts] = {}

        async def agreed() -> Watts | None:
            decided, watts = await self._decision(name)
            if watts is None or any(abs(watts.guarded - one.guarded) > ROUNDING_WATTS for one in seen.values()):
                seen.clear()
            if watts is not None:
                seen[decided] = watts
            return watts if len(seen) >= SETTLED_DECISIONS else None

        found = await self.bench.wait_for(
            agreed, what=f"decisions agree on the watts of {name}", timeout_seconds=SETTLE_SECONDS
        )
        assert found is not None
        return found

    async def _decision(self, name: str) -> tuple[float, Watts | None]:
        """Returns when the leader last decided, and on which watts; None while readings are not fresh."""
        figures = await self.figures()
        of_budget, of_service = {"budget": self.budget}, {"service_namespace": self.bench.namespace, "service": name}
        decided = figures.value("wattkeeper_decided_timestamp_seconds")
        rung = figures.value("wattkeeper_budget_rung", **of_budget)
        watts = Watts(
            guarded=figures.value("wattkeeper_budget_guarded_watts", **of_budget),
            replica=figures.value("wattkeeper_service_replica_watts", **of_service),
        )
        return decided, watts if rung == 0.0 and watts.replica > 0.0 else None

    async def figures(self) -> Figures:
        """Returns what the leader's /metrics says."""
        leader = await self.loop.installation.leader(self.bench.api)
        return Figures(await self.loop.installation.metrics(leader))


def rolled(pods: Sequence[Object]) -> bool:
    """Says whether pods are all of the template that `roll` made."""
    return all(VERSION in one["metadata"]["annotations"] for one in pods)


class Figures:
    """One page of metrics."""

    def __init__(self, page: str) -> None:
        self._samples = [one for family in text_string_to_metric_families(page) for one in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric's samples that carry these labels, NaN where there is none."""
        found = [one.value for one in self._samples if one.name == name and labels.items() <= one.labels.items()]
        return sum(found) if found else float("nan")


def capped(**annotations: str) -> dict[str, Any]:
    """Returns what a Deployment of the bench is given to come before the webhook, and to draw nothing."""
    nothing = dict.fromkeys((CPU_WATTS, IDLE_WATTS, LOAD_WATTS, LOADING_WATTS), "0")
    return {"labels": {CAPPED_LABEL: "true"}, "annotations": {**nothing, **annotations}}
