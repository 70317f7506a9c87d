from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from admission.usage_history import HistoryOptions, Past, UsageHistory
from admission.usage_model import Sample
from admission.usage_owners import Owners
from tests.unit.admission.samples import NAMESPACE, SERVICE
from tests.unit.admission.usage_cluster import GIB, HASH, pod
from tests.unit.scaler.hand_clock import HandClock
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.power.readers.errors import RefusedError, SourceUnreachableError
from wattkeeper.power.readers.prometheus_api import Answer
from wattkeeper.power.readers.samples import Labels, Point, Series

HOUR = 3_600.0
# Not on a step: the last one before it is at END.
END = 1_800_000_000.0 - 1_800_000_000.0 % HOUR
NOW = END + 700.0
NAME = f"{SERVICE.name}-{HASH}-x7k2p"


def series(*points: Point, name: str = NAME, container: str = "main", namespace: str = NAMESPACE) -> Series:
    return Series(Labels(namespace=namespace, pod=name, container_name=container), list(points))


class FakeSource:
    """Answers queries from functions of their time, and notes them."""

    def __init__(
        self,
        cores: Callable[[float], list[Series]] = lambda _: [],
        memory: Callable[[float], list[Series]] = lambda _: [],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._cores = cores
        self._memory = memory
        self._warnings = warnings
        self.asked: list[tuple[str, float]] = []
        self.closed = False

    def refresh_token(self) -> None:
        pass

    def query(self, promql: str, *, now: float, timeout_seconds: float) -> Answer:
        self.asked.append((promql, now))
        answer = self._cores if "container_cpu_usage_seconds_total" in promql else self._memory
        return Answer(answer(now), self._warnings)

    def close(self) -> None:
        self.closed = True


def view() -> MemoryView:
    made = MemoryView()
    made.put(pod())
    return made


async def read(source: FakeSource, there: MemoryView | None = None, *, days: int = 2) -> Past:
    history = UsageHistory(source, HandClock(NOW), HistoryOptions(days=days))
    return await history.read(Owners(there or view()))


def flat(past: Past) -> list[Sample]:
    return [one for batch in past.batches for one in batch]


async def test_cpu_and_memory_of_an_hour_are_one_sample_that_stands_for_it() -> None:
    source = FakeSource(
        lambda at: [series((END, 2.0))] if at == END else [], lambda at: [series((END, 8 * GIB))] if at == END else []
    )
    (one,) = flat(await read(source))
    assert one._replace(loading=False) == Sample(
        SERVICE, "main", pod().metadata.uid, END, 2.0, 8 * GIB, loading=False, minutes=60.0
    )


async def test_samples_come_oldest_first_however_they_were_read() -> None:
    source = FakeSource(lambda at: [series((at - HOUR, 1.0), (at, 2.0))])
    times = [one.time for one in flat(await read(source))]
    assert times == [END - 25 * HOUR, END - 24 * HOUR, END - HOUR, END]


async def test_each_day_is_a_query_for_each_figure_from_the_latest_on() -> None:
    source = FakeSource()
    await read(source, days=3)
    assert [at for _, at in source.asked] == [END - day * 24 * HOUR for day in (0, 0, 1, 1, 2, 2)]
    assert source.closed


async def test_only_namespaces_with_services_are_asked_about() -> None:
    source = FakeSource()
    await read(source)
    assert all(f'namespace=~"{NAMESPACE}"' in promql for promql, _ in source.asked)


async def test_without_services_nothing_is_asked() -> None:
    source = FakeSource()
    assert flat(await read(source, MemoryView())) == []
    assert source.asked == []
    assert source.closed


async def test_the_first_hour_of_a_pod_is_that_of_its_loading() -> None:
    source = FakeSource(lambda at: [series((END - HOUR, 1.0), (END, 1.0))] if at == END else [])
    assert [one.loading for one in flat(await read(source))] == [True, False]


async def test_a_pod_that_is_older_than_history_did_not_load_in_it() -> None:
    source = FakeSource(lambda _: [series((END - 23 * HOUR, 1.0), (END, 1.0))])
    assert [one.loading for one in flat(await read(source, days=1))] == [False, False]


async def test_pods_that_are_gone_count_for_the_services_that_they_were_of() -> None:
    gone = f"{SERVICE.name}-{HASH}-b2c4d"
    source = FakeSource(lambda _: [series((END, 1.0), name=gone), series((END, 1.0), name="web-0")])
    (one,) = flat(await read(source))
    assert (one.service, one.pod_uid) == (SERVICE, f"{NAMESPACE}/{gone}")


@pytest.mark.parametrize(
    "row",
    [
        series((END, 1.0), container=""),
        series((END, 1.0), name=""),
        series((END, 1.0), namespace=""),
        series((END + HOUR, 1.0)),
        series((END - 48 * HOUR, 1.0)),
        series((1e18, 1.0), (-1e18, 1.0)),
        series((END, float("nan"))),
    ],
    ids=str,
)
async def test_what_is_malformed_or_out_of_range_is_passed_over(row: Series) -> None:
    assert flat(await read(FakeSource(lambda _: [row]))) == []


async def test_a_point_beside_the_steps_counts_for_the_nearest() -> None:
    (one,) = flat(await read(FakeSource(lambda _: [series((END - 20.0, 1.0))])))
    assert one.time == END


async def test_a_query_that_is_refused_leaves_the_others() -> None:
    def refused(at: float) -> list[Series]:
        raise RefusedError("too many samples")

    past = await read(FakeSource(refused, lambda _: [series((END, GIB))]))
    assert len(flat(past)) == 1
    assert past.problems == ("too many samples", "too many samples")


async def test_a_source_that_cannot_be_reached_is_asked_once() -> None:
    def gone(at: float) -> list[Series]:
        raise SourceUnreachableError("no route")

    source = FakeSource(gone)
    past = await read(source)
    assert (flat(past), past.problems, len(source.asked)) == ([], ("no route",), 1)


async def test_warnings_of_partial_answers_are_said() -> None:
    past = await read(FakeSource(warnings=("a store is down",)), days=1)
    assert past.problems == ("a store is down", "a store is down")


class HangingSource(FakeSource):
    """Answers the first query, and hangs in the second until it is closed."""

    def __init__(self) -> None:
        super().__init__(lambda _: [series((END, 1.0))])
        self.hangs = threading.Event()
        self._released = threading.Event()

    def query(self, promql: str, *, now: float, timeout_seconds: float) -> Answer:
        if self.asked:
            self.hangs.set()
            self._released.wait(30.0)
        return super().query(promql, now=now, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        super().close()
        self._released.set()


async def test_the_time_limit_ends_reading_with_what_is_there() -> None:
    source, clock = HangingSource(), HandClock(NOW)
    history = UsageHistory(source, clock, HistoryOptions(limit_seconds=60.0))
    reading = asyncio.create_task(history.read(Owners(view())))
    await asyncio.to_thread(source.hangs.wait)
    await clock.forward(61.0)
    past = await reading
    assert len(flat(past)) == 1
    assert past.problems == ("what was not read within 60 s is left out",)
    assert source.closed


async def test_whoever_stops_meanwhile_does_not_wait_for_an_answer() -> None:
    source, clock = HangingSource(), HandClock(NOW)
    reading = asyncio.create_task(UsageHistory(source, clock).read(Owners(view())))
    await asyncio.to_thread(source.hangs.wait)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed


async def test_a_defect_is_not_taken_for_an_empty_history() -> None:
    def defect(at: float) -> list[Series]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read(FakeSource(defect))
