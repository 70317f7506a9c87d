"""What a watch shows of one namespace's pods at the power gate and of one budget, instant by instant.

Every change of a pod reaches a watch, in the order in which the API server made it, so what never holds here never
held: polls would miss what lasts for a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cluster.controlplane.api import Api, Object, holds
from tests.cluster.controlplane.waiting import wait_for
from wattkeeper.api.admission import POWER_GATE

POWER_GROUP = "wattkeeper.dev/v1alpha1"
# A status gives whole watts, its limit as well as its sum.
ROUNDING_WATTS = 1.0
SYNC_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Departure:
    """A pod left the gate.

    Attributes:
        app: whose it was.
        waiting: how many pods of each app stood at the gate then.
    """

    app: str
    waiting: Mapping[str, int]


@dataclass(kw_only=True)
class GateWatch:
    """What was seen so far.

    Attributes:
        departures: pods that left the gate, in the order in which they did.
        overs: W that the budget's guarded sum was above its limit, with every status that was written.
        most_out: the most pods that were out of the gate at one instant.
        most_missing: how many pods fewer were ready at one instant than at the best one before it.
    """

    departures: list[Departure] = field(default_factory=list[Departure])
    overs: list[float] = field(default_factory=list[float])
    most_out: int = 0
    most_missing: int = 0
    _most_ready: int = 0
    _pods: dict[str, Object] = field(default_factory=dict[str, Object])

    def settled(self, app: str, *, ready: int, waiting: int = 0) -> bool:
        """Says whether so many pods of an app serve, so many stand at the gate, and there are no others."""
        found = (len(self.ready(app)), self.waiting(app), len(self._of(app)))
        return found == (ready, waiting, ready + waiting)

    def out(self, app: str) -> int:
        """Returns how many pods of an app are out of the gate, those that terminate among them until they are gone."""
        return sum(not at_gate(one) for one in self._of(app))

    def waiting(self, app: str) -> int:
        """Returns how many pods of an app stand at the gate."""
        return sum(at_gate(one) for one in self._of(app))

    def ready(self, app: str) -> list[Object]:
        """Returns the pods of an app that serve."""
        return [one for one in self._of(app) if _serves(one)]

    @property
    def stayed_inside(self) -> bool:
        """Says whether the guarded sum was within the limit with every status that was written."""
        return bool(self.overs) and max(self.overs) <= ROUNDING_WATTS

    async def until(self, holding: Callable[[], bool], *, what: str, timeout_seconds: float = 60.0) -> None:
        """Waits until something that was seen holds."""

        async def seen() -> bool:
            return holding()

        await wait_for(seen, what=what, timeout_seconds=timeout_seconds, describe=self._describe)

    def see_pod(self, event: str, pod: Object) -> None:
        """Takes one event of a pod."""
        uid = pod["metadata"]["uid"]
        before = self._pods.pop(uid, None)
        if event != "DELETED":
            self._pods[uid] = pod
        if before is not None and uid in self._pods and at_gate(before) and not at_gate(pod):
            waiting = Counter(_app(one) for one in self._pods.values() if at_gate(one))
            self.departures.append(Departure(app=_app(pod), waiting=waiting))
        self.most_out = max(self.most_out, sum(not at_gate(one) for one in self._pods.values()))
        ready = sum(map(_serves, self._pods.values()))
        self._most_ready = max(self._most_ready, ready)
        self.most_missing = max(self.most_missing, self._most_ready - ready)

    def see_budget(self, budget: Object) -> None:
        """Takes one event of the budget."""
        status: Object = budget.get("status") or {}
        if status.get("guardedWatts", 0.0) > 0.0:
            self.overs.append(status["guardedWatts"] - status["limitWatts"])

    def _of(self, app: str) -> list[Object]:
        return [one for one in self._pods.values() if _app(one) == app]

    def _describe(self) -> str:
        apps = sorted({_app(one) for one in self._pods.values()})
        return "; ".join(f"{app}: {self.out(app)} out, {self.waiting(app)} waiting" for app in apps)


def at_gate(pod: Object) -> bool:
    """Says whether the power gate holds a pod."""
    return {"name": POWER_GATE} in pod["spec"].get("schedulingGates", [])


@asynccontextmanager
async def watching(api: Api, namespace: str, budget: str) -> AsyncGenerator[GateWatch]:
    """Watches a namespace's pods and a budget for as long as the context lasts."""
    watch = GateWatch()

    def see_pod(event: str, item: Object) -> None:
        if item["metadata"]["namespace"] == namespace:
            watch.see_pod(event, item)

    def see_budget(event: str, item: Object) -> None:
        if item["metadata"]["name"] == budget:
            watch.see_budget(item)

    async with following(api, "v1", "Pod", see_pod), following(api, POWER_GROUP, "PowerBudget", see_budget):
        yield watch


@asynccontextmanager
async def following(api: Api, api_version: str, kind: str, see: Callable[[str, Object], None]) -> AsyncGenerator[None]:
    """Hands every object of a kind, and everything that happens to one, to `see` for as long as the context lasts.

    Raises:
        ExceptionGroup: what went wrong in the context, or with the watch: then the context is cancelled.
    """
    synced = asyncio.Event()

    async def follow() -> None:
        async for event, item in api.watch(api_version, kind):
            if event == "SYNCED":
                synced.set()
            else:
                see(event, item)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow())
        await asyncio.wait_for(synced.wait(), SYNC_SECONDS)
        yield
        task.cancel()


def _serves(pod: Object) -> bool:
    return holds(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]


def _app(pod: Object) -> str:
    return pod["metadata"]["labels"].get("app", "")
