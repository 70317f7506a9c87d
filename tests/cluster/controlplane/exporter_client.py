"""What tests tell the exporter, and ask it for the truth behind the readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp


@dataclass(frozen=True, kw_only=True)
class PodTruth:
    """One pod whose containers run.

    Attributes:
        phase: loading, ready or terminating.
        watts: what it draws now, on CPU and GPUs, without the GPUs' idle draw.
    """

    uid: str
    namespace: str
    name: str
    node: str
    phase: str
    watts: float
    running_requests: float
    waiting_requests: float


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What everything draws now.

    Attributes:
        monotonic_seconds: the exporter's clock, for `history`.
        node_watts: CPU and GPU draw by node, as perfect Kepler readings would sum up to.
        wall_watts: draw at the wall by node.
        pods: pods whose containers run.
    """

    monotonic_seconds: float
    node_watts: dict[str, float]
    wall_watts: dict[str, float]
    pods: list[PodTruth]


class ExporterClient:
    """Talks to the exporter; use it as an asynchronous context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), raise_for_status=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client inside `async with`")
        return self._session

    async def _tell(self, what: str, body: dict[str, Any]) -> None:
        async with self._open.post(f"{self.url}/control/{what}", json=body):
            pass

    async def set_demand(self, namespace: str, service: str, requests: float) -> None:
        """Sets how many requests the pods labelled app=service have at once, all together."""
        await self._tell("demand", {"namespace": namespace, "service": service, "requests": requests})

    async def set_unmanaged(self, node: str, watts: float) -> None:
        """Sets what a node draws beside its pods, truly."""
        await self._tell("unmanaged", {"node": node, "watts": watts})

    async def spike(self, node: str, watts: float, *, seconds: float) -> None:
        """Adds watts to a node's CPU readings for a time, as a sensor's fault; nothing truly draws them."""
        await self._tell("spike", {"node": node, "watts": watts, "seconds": seconds})

    async def vanish(self, nodes: Sequence[str] = ("*",)) -> None:
        """Makes Kepler's power series of nodes vanish while it goes on answering, so that `up` stays 1."""
        await self._tell("vanish", {"nodes": list(nodes)})

    async def freeze(self) -> None:
        """Serves the present values from now on, with fresh times."""
        await self._tell("freeze", {"frozen": True})

    async def recover(self) -> None:
        """Ends `vanish` and `freeze`."""
        await self._tell("vanish", {"nodes": []})
        await self._tell("freeze", {"frozen": False})

    async def reset_counters(self, namespace: str) -> None:
        """Sets the pods' joules of a namespace back to zero."""
        await self._tell("reset", {"namespace": namespace})

    async def truth(self) -> Truth:
        """Returns what everything draws now."""
        async with self._open.get(f"{self.url}/truth") as answer:
            found = await answer.json()
        return Truth(
            monotonic_seconds=found["monotonic_seconds"],
            node_watts={name: one["watts"] for name, one in found["nodes"].items()},
            wall_watts={name: one["wall_watts"] for name, one in found["nodes"].items()},
            pods=[PodTruth(**one) for one in found["pods"]],
        )

    async def history(self, nodes: Sequence[str], *, since: float = 0.0) -> list[tuple[float, float]]:
        """Returns (seconds, W) of some nodes together, ten a second, from a moment of the exporter's clock on."""
        query = [("node", name) for name in nodes] + [("since", str(since))]
        async with self._open.get(f"{self.url}/history", params=query) as answer:
            return [(when, watts) for when, watts in await answer.json()]
