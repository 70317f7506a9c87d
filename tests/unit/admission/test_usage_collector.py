from __future__ import annotations

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from admission.lease import LeaseOptions, renewed_lease
from admission.usage import collected_usage
from admission.usage_checkpoint import decode, encode
from admission.usage_collector import UsageCollector, UsageOptions
from admission.usage_history import HistoryOptions, UsageHistory
from admission.usage_model import UsageModel
from tests.unit.admission.samples import NOW, SERVICE, budget
from tests.unit.admission.test_usage_history import FakeSource, series
from tests.unit.admission.usage_cluster import GIB, UsageCluster, pod, used
from tests.unit.admission.usage_samples import learned, sample
from tests.unit.scaler.hand_clock import HandClock, settle
from wattkeeper.cluster.errors import StateCorruptError, UnreachableError

OPTIONS = UsageOptions(namespace="wattkeeper")
STATE = OPTIONS.state_name


class Running:
    """A collector, and what it says about itself."""

    def __init__(
        self, cluster: UsageCluster, clock: HandClock, *, leads: bool = True, source: FakeSource | None = None
    ):
        self.leads = leads
        self.registry = CollectorRegistry()
        history = UsageHistory(source, clock, HistoryOptions(days=1)) if source else None
        self.collector = UsageCollector(
            cluster=cluster,
            clock=clock,
            registry=self.registry,
            leads=lambda: self.leads,
            options=OPTIONS,
            history=history,
        )

    def target(self) -> float | None:
        estimate = self.collector.estimate(SERVICE, "main")
        return None if estimate is None else estimate.cpu.target

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"wattkeeper_admission_usage_{name}", labels)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
def cluster() -> UsageCluster:
    made = UsageCluster()
    made.view.put(pod())
    made.usage = (used(cores=4.0),)
    return made


def kept(cluster: UsageCluster) -> UsageModel:
    state = cluster.states[STATE]
    assert isinstance(state, bytes)
    return UsageModel.restored(decode(state), NOW)


async def test_what_pods_use_becomes_an_estimate(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock)
    assert running.target() is None
    await running.collector.collect()
    assert running.target() == pytest.approx(4.6, rel=0.07)
    assert running.metric("samples_total") == 1.0
    assert running.metric("containers") == 1.0


async def test_what_is_dropped_is_counted_by_reason(cluster: UsageCluster, clock: HandClock) -> None:
    cluster.usage = (used(), used(), used("gone"), used(time=NOW + 4_000.0), used(cores=-1.0))
    running = Running(cluster, clock)
    await running.collector.collect()
    counts = {
        reason: running.metric("dropped_total", reason=reason) for reason in ("repeated", "unknown_pod", "future")
    }
    assert counts == {"repeated": 2.0, "unknown_pod": 1.0, "future": 1.0}


async def test_the_age_of_the_last_usage_is_there_for_whoever_looks(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock)
    assert running.metric("age_seconds") == float("inf")
    await running.collector.collect()
    await clock.forward(90.0)
    assert running.metric("age_seconds") == 90.0


async def test_the_leader_keeps_what_was_learned(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock)
    await running.collector.collect()
    assert kept(cluster).estimate(SERVICE, "main") == running.collector.estimate(SERVICE, "main")


async def test_others_learn_and_keep_nothing(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock, leads=False)
    await running.collector.collect()
    assert running.target() is not None
    assert cluster.states == {}


async def test_it_is_kept_once_a_minute_at_most(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock)
    await running.collector.collect()
    del cluster.states[STATE]
    await clock.forward(59.0)
    await running.collector.collect()
    assert cluster.states == {}
    await clock.forward(1.0)
    await running.collector.collect()
    assert STATE in cluster.states


async def test_a_restart_gives_the_same_estimates(cluster: UsageCluster, clock: HandClock) -> None:
    before = Running(cluster, clock)
    await before.collector.collect()
    after = Running(cluster, clock)
    await after.collector.collect()
    assert after.collector.estimate(SERVICE, "main") == before.collector.estimate(SERVICE, "main")
    assert after.metric("samples_total") == 0.0


@pytest.mark.parametrize("state", [b"damaged", StateCorruptError("a shard is missing")], ids=str)
async def test_what_cannot_be_read_is_announced_and_learned_anew(
    state: bytes | StateCorruptError, cluster: UsageCluster, clock: HandClock
) -> None:
    cluster.view.put(budget())
    cluster.states[STATE] = state
    running = Running(cluster, clock)
    await running.collector.collect()
    assert running.target() is not None
    assert running.metric("failures_total", part="restore") == 1.0
    (event,) = cluster.events
    assert (event.type, event.reason) == ("Warning", "UsageUnreadable")
    assert kept(cluster).containers == 1


async def test_what_cannot_be_reached_is_not_written_over(cluster: UsageCluster, clock: HandClock) -> None:
    there = encode(learned([sample(cores=8.0, time=NOW - 600.0)]).state())
    cluster.states[STATE] = there
    cluster.unreachable_state = UnreachableError("no answer")
    running = Running(cluster, clock)
    await running.collector.collect()
    assert (running.target(), cluster.states[STATE]) == (None, there)
    cluster.unreachable_state = None
    await running.collector.collect()
    target = running.target()
    assert target is not None
    assert target > 8.0


async def test_the_first_start_reads_what_prometheus_remembers(cluster: UsageCluster, clock: HandClock) -> None:
    past = [series((NOW - 3_600.0 * hour, 8.0)) for hour in range(2, 20)]
    memory = [series((NOW - 3_600.0 * hour, 8 * GIB)) for hour in range(2, 20)]
    running = Running(cluster, clock, source=FakeSource(lambda _: past, lambda _: memory))
    await running.collector.collect()
    target = running.target()
    assert target is not None
    assert target > 8.0


async def test_what_was_kept_is_preferred_to_what_prometheus_remembers(cluster: UsageCluster, clock: HandClock) -> None:
    cluster.states[STATE] = encode(learned([sample(time=NOW - 600.0)]).state())
    source = FakeSource()
    await Running(cluster, clock, source=source).collector.collect()
    assert source.asked == []


async def test_prometheus_is_asked_once(cluster: UsageCluster, clock: HandClock) -> None:
    source = FakeSource()
    running = Running(cluster, clock, leads=False, source=source)
    await running.collector.collect()
    asked = len(source.asked)
    await running.collector.collect()
    assert len(source.asked) == asked == 2


async def test_an_incomplete_history_is_said_and_used(
    cluster: UsageCluster, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(cluster, clock, source=FakeSource(warnings=("a store is down",)))
    await running.collector.collect()
    assert "a store is down" in caplog.text
    assert running.metric("failures_total", part="history") == 1.0
    assert running.target() is not None


async def test_a_failure_is_counted_each_time_and_logged_once(
    cluster: UsageCluster, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.usage = UnreachableError("metrics-server is gone")
    running = Running(cluster, clock)
    for _ in range(3):
        await running.collector.collect()
    assert running.metric("failures_total", part="collect") == 3.0
    assert caplog.text.count("metrics-server is gone") == 1


async def test_what_works_again_is_said_and_may_fail_anew(
    cluster: UsageCluster, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = Running(cluster, clock)
    for usage in (UnreachableError("gone"), (used(),), UnreachableError("gone")):
        cluster.usage = usage
        await running.collector.collect()
    assert "collect works again" in caplog.text
    assert caplog.text.count("gone") == 2


async def test_a_write_that_fails_ends_nothing(cluster: UsageCluster, clock: HandClock) -> None:
    cluster.failing = {("state", STATE)}
    running = Running(cluster, clock)
    await running.collector.collect()
    assert running.metric("failures_total", part="keep") == 1.0
    assert running.target() is not None


async def test_a_defect_ends_nothing(cluster: UsageCluster, clock: HandClock) -> None:
    cluster.usage = ZeroDivisionError()
    running = Running(cluster, clock)
    await running.collector.collect()
    cluster.usage = (used(),)
    await running.collector.collect()
    assert running.target() is not None


async def test_it_collects_each_minute_and_keeps_at_the_end(cluster: UsageCluster, clock: HandClock) -> None:
    running = Running(cluster, clock, leads=False)
    task = asyncio.create_task(running.collector.run())
    await settle()
    assert running.metric("samples_total") == 1.0
    cluster.usage = (used(time=NOW + 60.0),)
    await clock.forward(60.0)
    assert running.metric("samples_total") == 2.0
    running.leads = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert kept(cluster).time == NOW + 60.0


async def test_usage_is_collected_while_the_block_runs_and_the_lease_is_given_up_after_it(
    cluster: UsageCluster, clock: HandClock
) -> None:
    lease = LeaseOptions(holder="one", namespace="wattkeeper")
    async with (
        renewed_lease(cluster=cluster, clock=clock, options=lease) as leadership,
        collected_usage(
            cluster=cluster, clock=clock, registry=CollectorRegistry(), leadership=leadership, options=OPTIONS
        ) as estimates,
    ):
        await settle()
        assert cluster.lease_holders == {lease.name: "one"}
        assert estimates.estimate(SERVICE, "main") is not None
    assert kept(cluster).estimate(SERVICE, "main") == estimates.estimate(SERVICE, "main")
    assert cluster.lease_holders == {}


async def test_one_of_two_replicas_keeps_usage_and_both_know_it(cluster: UsageCluster, clock: HandClock) -> None:
    cluster.lease_holders["wattkeeper-admission"] = "other"
    lease = LeaseOptions(holder="one", namespace="wattkeeper")
    async with (
        renewed_lease(cluster=cluster, clock=clock, options=lease) as leadership,
        collected_usage(
            cluster=cluster, clock=clock, registry=CollectorRegistry(), leadership=leadership, options=OPTIONS
        ) as estimates,
    ):
        await settle()
        assert estimates.estimate(SERVICE, "main") is not None
    assert cluster.states == {}
    assert cluster.lease_holders == {"wattkeeper-admission": "other"}
