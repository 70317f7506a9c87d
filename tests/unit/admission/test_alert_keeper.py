"""Alerts as a whole, in front of a cluster in memory: Events, the kept book, leaders that come and go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from admission.alert_keeper import AlertKeeper, AlertOptions
from admission.alert_metrics import AlertMetrics
from admission.alert_sinks import SinksFile
from admission.alerts import alerting
from admission.lease import LeaseOptions, renewed_lease
from tests.unit.admission.alert_samples import condition, row, running, service, telling
from tests.unit.admission.samples import NOW
from tests.unit.scaler.hand_clock import HandClock, settle
from tests.unit.scaler.memory_cluster import MemoryCluster
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.cluster.errors import ClusterError, StateCorruptError
from wattkeeper.cluster.leadership import Leadership

OPTIONS = AlertOptions(namespace="wattkeeper")
STATE = OPTIONS.state_name
STALE = row(condition("TelemetryStale", NOW - 100.0), evaluated=NOW + 1e6)
FRESH = row(condition("TelemetryStale", holds=False), evaluated=NOW + 1e6)


class Replica:
    """One replica, whose rounds a test counts."""

    def __init__(self, cluster: MemoryCluster, clock: HandClock, file: SinksFile | None = None) -> None:
        self.clock = clock
        self.registry = CollectorRegistry()
        self.leadership = Leadership(
            cluster, clock, namespace="wattkeeper", name="lease", holder=f"{id(self)}", duration_seconds=15
        )
        self.keeper = AlertKeeper(
            cluster=cluster,
            clock=clock,
            leadership=self.leadership,
            file=file or SinksFile(None),
            metrics=AlertMetrics(self.registry),
            options=OPTIONS,
        )

    async def rounds(self, count: int = 1) -> None:
        """Looks every five seconds, each time as the leader if it can be."""
        for _ in range(count):
            await self.leadership.renew()
            await self.keeper.round()
            await settle()
            await self.clock.forward(5.0)

    async def leaves(self) -> None:
        """Gives the Lease up, as at a stop."""
        await self.leadership.renew()
        await self.leadership.release()

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"wattkeeper_{name}", labels) or 0.0


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.view.put(STALE, telling())
    return cluster


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
def replica(cluster: MemoryCluster, clock: HandClock) -> Replica:
    return Replica(cluster, clock)


def told(cluster: MemoryCluster) -> list[str]:
    return [event.reason for event in cluster.events]


async def test_an_alert_is_an_event_and_a_metric_until_it_is_over(cluster: MemoryCluster, replica: Replica) -> None:
    await replica.rounds(3)
    (event,) = cluster.events
    assert (event.type, event.reason, event.regarding.metadata.name) == (
        "Warning",
        "WattkeeperTelemetryStale",
        "row-a",
    )
    active = {"alert": "WattkeeperTelemetryStale", "severity": "warning"}
    assert replica.metric("alerts_active", **active) == 1.0
    cluster.view.put(FRESH)
    await replica.rounds(13)
    assert told(cluster) == ["WattkeeperTelemetryStale", "WattkeeperTelemetryStaleResolved"]
    assert cluster.events[-1].type == "Normal"
    assert replica.metric("alerts_active", **active) == 0.0


async def test_of_two_replicas_one_tells_and_the_next_goes_on_where_it_was(
    cluster: MemoryCluster, clock: HandClock, replica: Replica
) -> None:
    other = Replica(cluster, clock)
    await replica.rounds(2)
    await other.rounds(2)
    assert told(cluster) == ["WattkeeperTelemetryStale"]
    assert other.metric("alerts_active", alert="WattkeeperTelemetryStale", severity="warning") == 0.0
    await replica.leaves()
    await other.rounds(2)
    assert told(cluster) == ["WattkeeperTelemetryStale"]
    cluster.view.put(FRESH)
    await other.rounds(13)
    assert told(cluster) == ["WattkeeperTelemetryStale", "WattkeeperTelemetryStaleResolved"]


async def test_who_leads_again_reads_what_others_did_meanwhile(
    cluster: MemoryCluster, clock: HandClock, replica: Replica
) -> None:
    other = Replica(cluster, clock)
    await replica.rounds(2)
    await replica.leaves()
    cluster.view.put(FRESH)
    await other.rounds(14)
    await other.leaves()
    await replica.rounds(14)
    assert told(cluster) == ["WattkeeperTelemetryStale", "WattkeeperTelemetryStaleResolved"]


async def test_nothing_is_told_while_nobody_knows_what_was_told(cluster: MemoryCluster, replica: Replica) -> None:
    cluster.states[STATE] = ClusterError("no answer")
    await replica.rounds(3)
    assert told(cluster) == []
    assert replica.metric("alert_failures_total", part="restore") == 3.0
    del cluster.states[STATE]
    await replica.rounds()
    assert told(cluster) == ["WattkeeperTelemetryStale"]


@pytest.mark.parametrize("state", [StateCorruptError("half of it"), b"no book"])
async def test_a_state_that_cannot_be_read_is_told_anew(
    cluster: MemoryCluster, replica: Replica, state: bytes | ClusterError
) -> None:
    cluster.states[STATE] = state
    await replica.rounds()
    assert told(cluster) == ["WattkeeperTelemetryStale"]
    assert replica.metric("alert_failures_total", part="restore") == 1.0
    await replica.rounds()
    assert isinstance(cluster.states[STATE], bytes)


async def test_a_state_that_cannot_be_kept_silences_nobody(cluster: MemoryCluster, replica: Replica) -> None:
    cluster.failing = {("state", "*")}
    await replica.rounds(2)
    assert told(cluster) == ["WattkeeperTelemetryStale"]
    assert replica.metric("alert_failures_total", part="keep") == 2.0
    cluster.failing = set()
    await replica.rounds()
    assert cluster.states[STATE]


async def test_the_state_is_written_only_when_something_happens(cluster: MemoryCluster, replica: Replica) -> None:
    await replica.rounds(2)
    del cluster.states[STATE]
    await replica.rounds(3)
    assert STATE not in cluster.states


async def test_caches_that_are_not_complete_neither_start_nor_end_anything(
    cluster: MemoryCluster, replica: Replica
) -> None:
    await replica.rounds(2)
    cluster.view.put(FRESH)
    cluster.view.complete = False
    await replica.rounds(30)
    assert told(cluster) == ["WattkeeperTelemetryStale"]


async def test_events_that_fail_are_written_later(cluster: MemoryCluster, replica: Replica) -> None:
    cluster.failing = {("record", "*")}
    await replica.rounds(2)
    cluster.failing = set()
    await replica.rounds(2)
    assert told(cluster) == ["WattkeeperTelemetryStale"]
    assert replica.metric("alert_notifications_failed_total", sink="events") == 2.0


async def test_an_object_that_is_gone_gets_no_event_and_keeps_no_other_back(
    cluster: MemoryCluster, replica: Replica
) -> None:
    cluster.failing = {("record", "row-a")}
    await replica.rounds(2)
    cluster.failing = set()
    cluster.view.remove(PowerBudget, "", "row-a")
    cluster.view.put(row(condition("TelemetryStale", NOW - 100.0), name="row-b", evaluated=NOW + 1e6))
    await replica.rounds(3)
    assert [event.regarding.metadata.name for event in cluster.events] == ["row-b"]
    assert replica.metric("alert_notifications_dropped_total", sink="events", reason="gone") == 1.0


async def test_a_service_that_nobody_caps_alerts_its_recommendation(cluster: MemoryCluster, replica: Replica) -> None:
    over, above = condition("OverBudget", NOW - 90.0), condition("AboveAdvice", NOW - 90.0)
    cluster.view.put(row(over, over=700.0, evaluated=NOW + 1e6), service(above), running(5))
    await replica.rounds(2)
    (event,) = cluster.events
    assert (event.reason, event.regarding.metadata.name) == ("WattkeeperAboveAdvice", "deployment-llm")


async def test_a_policy_that_names_a_sink_which_is_not_there_is_told_so_once(
    cluster: MemoryCluster, replica: Replica
) -> None:
    cluster.view.put(FRESH, telling("pagr", "chat"))
    await replica.rounds(3)
    (event,) = cluster.events
    assert (event.reason, event.regarding.metadata.name) == ("AlertSinkUnknown", "capped")
    assert "No alert sink is called chat or pagr" in event.note
    cluster.view.put(telling("typo"))
    await replica.rounds(2)
    cluster.view.remove(PowerCappingPolicy, "chat", "capped")
    await replica.rounds(2)
    assert told(cluster) == ["AlertSinkUnknown"] * 2


async def test_sinks_that_are_defined_later_hear_of_what_is_active(
    cluster: MemoryCluster, clock: HandClock, tmp_path: Path
) -> None:
    path = tmp_path / "sinks.yaml"
    path.write_text("sinks: []")
    replica = Replica(cluster, clock, SinksFile(path))
    await replica.rounds(2)
    path.write_text("sinks: [{name: nowhere, type: webhook, url: 'http://127.0.0.1:1/', default: true}]")
    await replica.rounds(1)

    async def tried() -> None:
        while not replica.metric("alert_notifications_failed_total", sink="nowhere"):  # noqa: ASYNC110 - real sockets.
            await asyncio.sleep(0.01)

    await asyncio.wait_for(tried(), 10)
    path.write_text("sinks: nonsense")
    await replica.rounds(1)
    assert replica.metric("alert_sinks_readable") == 0.0


async def test_a_defect_is_counted_and_ends_nothing(
    cluster: MemoryCluster, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr("admission.alert_keeper.find_facts", broken)
        await replica.rounds(2)
    assert replica.metric("alert_failures_total", part="look") == 2.0
    await replica.rounds()
    assert told(cluster) == ["WattkeeperTelemetryStale"]


async def test_alerts_run_while_the_block_does_and_are_kept_before_the_lease_is_given_up(
    cluster: MemoryCluster, clock: HandClock
) -> None:
    async with AsyncExitStack() as stack:
        lease = LeaseOptions(holder="one", namespace="wattkeeper")
        leadership = await stack.enter_async_context(renewed_lease(cluster=cluster, clock=clock, options=lease))
        await stack.enter_async_context(
            alerting(
                cluster=cluster,
                clock=clock,
                registry=CollectorRegistry(),
                leadership=leadership,
                file=SinksFile(None),
                options=OPTIONS,
            )
        )
        await clock.forward(6.0)
        assert told(cluster) == ["WattkeeperTelemetryStale"]
    kept = cluster.states[STATE]
    assert isinstance(kept, bytes)
    assert b'"events":"firing"' in kept
    assert cluster.lease_holders == {}
