"""The closed loop on the real control plane: our processes under the chart's accounts, budgets, capped services.

Watts are set by what the recommender itself says one replica may draw, so that a scenario speaks of replicas: a budget
"for twelve" is the guarded sum without the service, plus twelve and a half of its replicas.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.bench import POOL, Bench
from tests.cluster.controlplane.draw import NODE_CPU_IDLE_WATTS, NODE_GPU_IDLE_WATTS
from tests.cluster.installation import Installation

GROUP = "wattkeeper.dev/v1alpha1"
REQUESTS_PER_REPLICA = 10
# KEDA polls every 5 s here and the HPA syncs every 5 s; readings take a scrape, a tick and a window more.
SETTLE_SECONDS = 60.0
# What is learned of replicas moves a sum by a few watts from tick to tick.
SETTLED_WATTS = 20.0


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What a PowerBudget's status says, in watts."""

    limit: float
    guarded: float
    over: float
    last_evaluated: str


class Loop:
    """A test's view of the loop, in its own namespace and on its own nodes."""

    def __init__(self, bench: Bench, installation: Installation) -> None:
        self.bench = bench
        self.installation = installation

    async def nodes(self, count: int, *, labels: Mapping[str, str] | None = None) -> list[str]:
        """Adds H100 servers that rest at what the model's prior charges at most.

        So what it learns of them moves no sum, and a limit set once goes on meaning the same number of replicas.
        """
        product = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
        figures = {NODE_CPU_IDLE_WATTS: "187.5", NODE_GPU_IDLE_WATTS: "93.75"}
        return await self.bench.add_nodes(count, labels={**product, **(labels or {})}, annotations=figures)

    async def budget(self, name: str, watts: float, *, labels: Mapping[str, str] | None = None, **spec: object) -> str:
        """Applies a budget over the test's nodes that carry the labels, and returns its cluster-wide name."""
        full = f"{self.bench.namespace}-{name}"
        selector = {"matchLabels": {POOL: self.bench.namespace, **(labels or {})}}
        await self.bench.apply(
            {
                "apiVersion": GROUP,
                "kind": "PowerBudget",
                "metadata": {"name": full},
                "spec": {"limitWatts": round(watts, 1), "nodeSelector": selector, **spec},
            }
        )
        return full

    async def service(
        self,
        name: str,
        *,
        replicas: int,
        demand: float,
        priority: int = 0,
        gpus: int = 1,
        mode: str = "Scale",
        metric: str = "replicas",
        floor: int = 0,
        deployment: Mapping[str, Any] | None = None,
        tolerance: str = "0",
    ) -> None:
        """Deploys a service with its policy and its ScaledObject; demand is in replicas."""
        await self.set_demand(name, demand)
        made = self.bench.deployment(name, replicas=replicas, gpus=gpus, **(deployment or {}))
        await self.bench.deploy(made, wait=False)
        await self.policy(name, priority=priority, mode=mode, floor=floor)
        address = self.installation.address
        await self.bench.apply(scaled_object(name, address, metric=metric, tolerance=tolerance, floor=floor))

    async def policy(
        self,
        name: str,
        *,
        priority: int = 0,
        mode: str = "Scale",
        floor: int = 0,
        labels: Mapping[str, str] | None = None,
        **spec: object,
    ) -> None:
        """Applies a policy for the scale targets with these labels, app=NAME by default.

        Further fields of its spec take the place of the usual ones; None leaves one out.
        """
        fields: Object = {
            "selector": {"matchLabels": labels or {"app": name}},
            "mode": mode,
            "priority": priority,
            "minReplicas": floor,
            "maxReplicas": 40,
            "demand": {"metric": "Requests", "targetPerReplica": REQUESTS_PER_REPLICA, "stabilizationSeconds": 0},
            **spec,
        }
        given = {key: value for key, value in fields.items() if value is not None}
        await self.bench.apply(
            {"apiVersion": GROUP, "kind": "PowerCappingPolicy", "metadata": {"name": name}, "spec": given}
        )

    async def set_demand(self, name: str, replicas: float) -> None:
        """Sets the requests that a service has at once, in replicas."""
        await self.bench.exporter.set_demand(self.bench.namespace, name, replicas * REQUESTS_PER_REPLICA)

    async def set_limit(self, budget: str, watts: float) -> None:
        """Patches a budget's watts, as a grid controller would."""
        await self.bench.api.patch(GROUP, "PowerBudget", budget, {"spec": {"limitWatts": round(watts, 1)}})

    async def sums(self, budget: str) -> Sums:
        """Returns what a budget's status says."""
        found = await self.bench.api.get(GROUP, "PowerBudget", budget)
        status = cast("Object", found.get("status") or {})
        return Sums(
            limit=status.get("limitWatts", 0.0),
            guarded=status.get("guardedWatts", 0.0),
            over=status.get("overWatts", 0.0),
            last_evaluated=status.get("lastEvaluated", ""),
        )

    async def recommendation(self, name: str, *, kind: str = "deployment") -> Object:
        """Returns the service's PowerRecommendation, {} while there is none."""
        found = await self.bench.api.find(
            GROUP, "PowerRecommendation", f"{kind}-{name}", namespace=self.bench.namespace
        )
        return found or {}

    async def status(self, name: str, *, kind: str = "deployment") -> Object:
        """Returns the status of the service's recommendation, {} while there is none."""
        return cast("Object", (await self.recommendation(name, kind=kind)).get("status") or {})

    async def grant(self, name: str) -> int:
        """Returns the recommended replicas, -1 while there is no recommendation."""
        target = (await self.status(name)).get("target")
        return -1 if target is None else cast("int", target["replicas"])

    async def wait_grant(self, name: str, replicas: int, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until the recommendation is a number of replicas."""

        async def reached() -> bool:
            return await self.grant(name) == replicas

        await self.bench.wait_for(
            reached, what=f"the recommendation of {name} is {replicas}", timeout_seconds=timeout_seconds
        )

    async def wait_reason(self, name: str, reason: str, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until the recommendation gives a reason."""

        async def given() -> bool:
            return (await self.status(name)).get("reason") == reason

        await self.bench.wait_for(given, what=f"the reason of {name} is {reason}", timeout_seconds=timeout_seconds)

    async def wait_binding(self, name: str, budget: str) -> None:
        """Waits until the recommendation names the budget that holds the service."""

        async def named() -> bool:
            return (await self.status(name)).get("bindingBudget") == budget

        await self.bench.wait_for(named, what=f"{budget} is said to hold {name}", timeout_seconds=SETTLE_SECONDS)

    async def wait_running(self, name: str, replicas: int, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until exactly that many pods are ready and none terminates."""
        await self.bench.wait_ready(name, replicas, timeout_seconds=timeout_seconds)

    async def holds(self, name: str, condition: str) -> bool:
        """Says whether a condition of the service's recommendation is True."""
        return holds(await self.recommendation(name), condition)

    async def wait_condition(self, name: str, condition: str, *, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Waits until a condition of the recommendation is True."""
        await self.bench.wait_for(
            lambda: self.holds(name, condition), what=f"{condition} of {name}", timeout_seconds=timeout_seconds
        )

    async def replica_watts(self, name: str, *, kind: str = "deployment") -> float:
        """Returns what one replica may draw at most, as the recommendation's bounds say it."""

        async def stated() -> float | None:
            status = await self.status(name, kind=kind)
            for bound in ("upperBound", "target", "uncappedTarget"):
                amount: Object = status.get(bound) or {}
                if amount.get("replicas") and amount.get("watts"):
                    return cast("float", amount["watts"] / amount["replicas"])
            return None

        return cast("float", await self.bench.wait_for(stated, what=f"the watts of a replica of {name}"))

    async def limit_for(self, budget: str, name: str, replicas: int) -> float:
        """Returns the limit under which that many replicas of a service fit, everything else as it is now."""
        watts = await self.replica_watts(name)
        present = len(await self.bench.pods(name))
        guarded = await self.settled_sum(budget)
        return guarded + (replicas - max(present, await self.grant(name)) + 0.5) * watts

    async def settled_sum(self, budget: str) -> float:
        """Returns the guarded sum once two evaluations in a row agree."""
        last = await self.sums(budget)

        async def agree() -> float | None:
            nonlocal last
            seen, before = await self.sums(budget), last
            if seen.last_evaluated == before.last_evaluated:
                return None
            last = seen
            return seen.guarded if seen.guarded > 0 and abs(seen.guarded - before.guarded) < SETTLED_WATTS else None

        return cast("float", await self.bench.wait_for(agree, what=f"the sum of {budget} is settled"))

    async def wait_evaluations(self, budget: str, count: int) -> None:
        """Waits until a budget was evaluated so many times more."""
        seen = {(await self.sums(budget)).last_evaluated}

        async def evaluated() -> bool:
            seen.add((await self.sums(budget)).last_evaluated)
            return len(seen) > count

        await self.bench.wait_for(evaluated, what=f"{count} evaluations of {budget}")

    async def held_replicas(self, name: str, *, seconds: float) -> set[int]:
        """Returns every spec.replicas seen over a time."""
        seen: set[int] = set()
        started = time.monotonic()

        async def over() -> bool:
            seen.add(await self.bench.replicas(name))
            return time.monotonic() - started > seconds

        await self.bench.wait_for(over, what="the time is over", timeout_seconds=seconds + 10)
        return seen


def scaled_object(name: str, address: str, *, metric: str = "replicas", tolerance: str = "0", floor: int = 0) -> Object:
    """Returns a ScaledObject as the guide tells users to write it.

    With a floor of 0 KEDA stops the service at times, where the object is changed or the scaler is gone: a test of
    either wants a floor (docs/scaledobject.md).
    """
    behavior = {
        "scaleDown": {"stabilizationWindowSeconds": 0, "tolerance": tolerance},
        "scaleUp": {"tolerance": tolerance},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": 5,
            "cooldownPeriod": 0,
            "minReplicaCount": floor,
            "maxReplicaCount": 40,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": [
                {
                    "type": "external",
                    "metricType": "AverageValue",
                    "metadata": {"scalerAddress": address, "metric": metric},
                }
            ],
        },
    }
