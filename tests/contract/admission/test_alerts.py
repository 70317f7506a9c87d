"""Alerts from a cluster in memory to real sinks on loopback, of which some fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from admission.alert_keeper import AlertKeeper, AlertOptions
from admission.alert_metrics import AlertMetrics
from admission.alert_sinks import SinksFile
from tests.contract.admission.fake_sink import FakeSink, fake_sink, hang, status
from tests.contract.scaler.serving import StillClock, eventually
from tests.unit.admission.alert_samples import condition, row, telling
from tests.unit.admission.samples import NOW
from tests.unit.scaler.memory_cluster import MemoryCluster
from wattkeeper.cluster.leadership import Leadership

STALE = row(condition("TelemetryStale", NOW - 100.0), evaluated=NOW + 1e6)
FRESH = row(condition("TelemetryStale", holds=False), evaluated=NOW + 1e6)


def define(path: Path, *sinks: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"sinks": [{"default": True, **sink} for sink in sinks]}))


class Replica:
    """A keeper with sinks, whose rounds a test makes."""

    def __init__(self, cluster: MemoryCluster, clock: StillClock, path: Path, *sinks: dict[str, Any]) -> None:
        define(path, *sinks)
        self.registry = CollectorRegistry()
        self._clock = clock
        self._leadership = Leadership(
            cluster, clock, namespace="wattkeeper", name="lease", holder="one", duration_seconds=15
        )
        self._keeper = AlertKeeper(
            cluster=cluster,
            clock=clock,
            leadership=self._leadership,
            file=SinksFile(path),
            metrics=AlertMetrics(self.registry),
            options=AlertOptions(namespace="wattkeeper", timeout_seconds=30.0),
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        """Makes rounds, each five seconds after the last, until something holds."""

        async def looked() -> bool:
            await self._leadership.renew()
            await self._keeper.round()
            self._clock.time += 5.0
            return holds()

        await eventually(looked)

    def metric(self, what: str, sink: str) -> float:
        name = f"wattkeeper_alert_notifications_{what}_total"
        return self.registry.get_sample_value(name, {"sink": sink}) or 0.0


@pytest.fixture
async def sinks() -> AsyncIterator[tuple[FakeSink, FakeSink, FakeSink]]:
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(fake_sink()) for _ in range(3)]
        yield one, two, three


def kept(cluster: MemoryCluster) -> bytes:
    state = cluster.states.get("wattkeeper-alerts")
    return state if isinstance(state, bytes) else b""


def statuses(sink: FakeSink) -> list[str]:
    return [body["status"] for body in sink.bodies]


async def test_a_sink_that_hangs_or_fails_keeps_no_other_from_hearing_all(
    tmp_path: Path, sinks: tuple[FakeSink, FakeSink, FakeSink]
) -> None:
    hanging, failing, well = sinks
    hanging.answer, failing.answer = hang, status(500)
    cluster, clock = MemoryCluster(), StillClock(NOW)
    cluster.view.put(STALE, telling())
    replica = Replica(
        cluster,
        clock,
        tmp_path / "sinks.yaml",
        {"name": "hanging", "type": "slack", "url": hanging.url},
        {"name": "failing", "type": "webhook", "url": failing.url},
        {"name": "well", "type": "webhook", "url": well.url},
    )
    await replica.until(lambda: replica.metric("failed", "failing") >= 3.0 and bool(hanging.asked))
    assert statuses(well) == ["firing"]
    cluster.view.put(FRESH)
    await replica.until(lambda: statuses(well) == ["firing", "resolved"])
    assert len(hanging.asked) == 1, "it is asked again only when it has answered or time is up"
    failing.answer = None
    await replica.until(lambda: replica.metric("sent", "failing") == 2.0)
    assert statuses(failing)[-2:] == ["firing", "resolved"]


async def test_a_sink_that_is_too_busy_is_left_alone_for_as_long_as_it_says(
    tmp_path: Path, sinks: tuple[FakeSink, FakeSink, FakeSink]
) -> None:
    busy, well, _ = sinks
    busy.answer = status(429, Retry_After="300")
    cluster, clock = MemoryCluster(), StillClock(NOW)
    cluster.view.put(STALE, telling())
    replica = Replica(
        cluster,
        clock,
        tmp_path / "sinks.yaml",
        {"name": "busy", "type": "webhook", "url": busy.url},
        {"name": "well", "type": "webhook", "url": well.url},
    )
    await replica.until(lambda: replica.metric("failed", "busy") == 1.0)
    since = clock.time
    busy.answer = None
    await replica.until(lambda: replica.metric("sent", "busy") == 1.0)
    assert 290.0 <= clock.time - since <= 330.0
    assert statuses(busy) == ["firing", "firing"]


async def test_a_sink_that_comes_later_leaves_those_alone_that_are_being_told(
    tmp_path: Path, sinks: tuple[FakeSink, FakeSink, FakeSink]
) -> None:
    hanging, later, _ = sinks
    hanging.answer = hang
    cluster, clock, path = MemoryCluster(), StillClock(NOW), tmp_path / "sinks.yaml"
    cluster.view.put(STALE, telling())
    first = {"name": "hanging", "type": "webhook", "url": hanging.url}
    replica = Replica(cluster, clock, path, first)
    await replica.until(lambda: bool(hanging.asked))
    define(path, first, {"name": "later", "type": "webhook", "url": later.url})
    await replica.until(lambda: statuses(later) == ["firing"])
    cluster.view.put(FRESH)
    await replica.until(lambda: statuses(later) == ["firing", "resolved"])
    assert len(hanging.asked) == 1


async def test_after_a_restart_only_what_happened_since_is_told(
    tmp_path: Path, sinks: tuple[FakeSink, FakeSink, FakeSink]
) -> None:
    hook, _, _ = sinks
    cluster, clock = MemoryCluster(), StillClock(NOW)
    cluster.view.put(STALE, telling())
    sink = {"name": "hook", "type": "webhook", "url": hook.url}
    first = Replica(cluster, clock, tmp_path / "sinks.yaml", sink)
    await first.until(lambda: b'"hook":"firing"' in kept(cluster))
    second = Replica(cluster, clock, tmp_path / "sinks.yaml", sink)
    cluster.view.put(FRESH)
    await second.until(lambda: len(hook.asked) == 2)
    assert statuses(hook) == ["firing", "resolved"]
