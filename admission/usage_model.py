"""What containers use, learned from samples: a target, bounds and confidence for each container of each service.

As the Vertical Pod Autoscaler's recommender has them (kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender;
the file is named where a rule stands), plus what it lacks for models: the memory that loading took.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from admission.estimate import Estimate, Range
from admission.histogram import CPU_BUCKETS, HALF_LIFE_SECONDS, MEMORY_BUCKETS, Histograms
from admission.load_peaks import LoadPeaks
from admission.usage_instances import Instances
from admission.usage_state import UsageState
from wattkeeper.api.readings import Bools, Floats, Ints, ServiceKey
from wattkeeper.power.histogram import Decay

MARGIN: Final = 0.15
"""Added to every figure (logic/recommender.go: recommendation-margin-fraction)."""

TARGET, LOWER, UPPER = 0.9, 0.5, 0.95
"""Percentiles (logic/recommender.go: target-cpu-percentile and those beside it)."""

MINIMUM_CORES: Final = 0.025
MINIMUM_BYTES: Final = 250.0 * 2**20
"""A pod's least, shared evenly by its containers (logic/recommender.go: pod-recommendation-min-*)."""

LEAST_WEIGHT: Final = 0.1
"""Least weight of a CPU sample (model/aggregations_config.go: minSampleWeight)."""

FUTURE_SECONDS: Final = 300.0
"""How far ahead of ours the clock of a sample may be."""

PAST_SECONDS: Final = 10 * 86_400.0
"""What is older weighs less than a thousandth, and is no sample but a broken clock."""

FORGET_SECONDS: Final = 30 * 86_400.0
"""A container unseen for this long is forgotten: a service that was scaled to nothing keeps its figures for a month."""

_DAY_SECONDS: Final = 86_400.0
_DAY_MINUTES: Final = 1_440.0


class Sample(NamedTuple):
    """What one container of one pod uses.

    Attributes:
        time: Unix seconds.
        cores: CPU; NaN unknown.
        memory_bytes: working set; NaN unknown.
        loading: the pod was not Ready.
        minutes: what the sample stands for.
    """

    service: ServiceKey
    container: str
    pod_uid: str
    time: float
    cores: float
    memory_bytes: float
    loading: bool
    minutes: float = 1.0


class Room(NamedTuple):
    """How much a model may know, which bounds its memory.

    Attributes:
        containers: containers of services.
        instances: containers of single pods within a day.
    """

    containers: int = 20_000
    instances: int = 200_000


ROOM: Final = Room()


class Taken(NamedTuple):
    """What became of samples.

    Attributes:
        samples: how many taught something.
        dropped: the rest by reason: `future` and `old` (by our clock), `repeated` and `late` (not newer than the last
            one of that container), `unknown` (no figure at all), `full` (no room for another container); and figures:
            `negative`, `absurd` (beyond the last bucket). A sample with one good figure counts, for that one.
    """

    samples: int
    dropped: Counter[str]


class UsageModel:
    """Learns and answers. Not for several threads at once.

    A container of a service takes about 3 kB and one of a pod 0.4 kB: tests/perf/usage.py measures it.
    """

    def __init__(self, room: Room = ROOM) -> None:
        """Begins knowing nothing."""
        self._room = room
        self._series: dict[ServiceKey, dict[str, int]] = {}
        self._free: list[int] = []
        self._rows = 0
        self._first, self._last, self._minutes = np.zeros(0), np.zeros(0), np.zeros(0)
        self._cpu = Histograms(CPU_BUCKETS)
        self._memory = Histograms(MEMORY_BUCKETS)
        self._load_peaks = LoadPeaks()
        self._instances = Instances(room.instances)
        self._decay = Decay(HALF_LIFE_SECONDS)
        self.time = -math.inf
        """Unix seconds of the youngest sample; -inf before the first one. Everything ages by it: our own clock may be
        set wrong for a moment, and nothing would be left."""

    @property
    def containers(self) -> int:
        """How many containers of services are known."""
        return self._rows - len(self._free)

    def add(self, samples: Sequence[Sample], now: float) -> Taken:
        """Learns from samples, one of each container of a pod at most.

        Args:
            samples: in any order; of two of the same container the first counts.
            now: Unix seconds.
        """
        dropped: Counter[str] = Counter()
        columns = np.array([sample[3:] for sample in samples], dtype=np.float64).reshape(-1, 5)
        time, cores, memory, loading, minutes = columns.T
        has_cores = _within(cores, CPU_BUCKETS.limit, dropped)
        has_memory = _within(memory, MEMORY_BUCKETS.limit, dropped)
        future, past = time > now + FUTURE_SECONDS, time < now - PAST_SECONDS
        known = ~(np.isnan(cores) & np.isnan(memory)) & ~np.isnan(time)
        dropped.update(
            {"future": int(future.sum()), "old": int(past.sum()), "unknown": int((~known & ~future & ~past).sum())}
        )
        usable = known & (has_cores | has_memory) & ~future & ~past
        which, rows = self._located(samples, np.flatnonzero(usable), dropped)
        newer, again = self._instances.newer(rows, time[which])
        dropped.update({"repeated": int(again.sum()), "late": int((~newer & ~again).sum())})
        which, rows = which[newer], rows[newer]
        if which.size:
            self._learn(rows, time[which], minutes[which])
            of = which[has_cores[which]], rows[has_cores[which]]
            self._learn_cpu(of[1], time[of[0]], cores[of[0]], minutes[of[0]])
            of = which[has_memory[which]], rows[has_memory[which]]
            self._learn_memory(of[1], time[of[0]], memory[of[0]], loading[of[0]] > 0.0)
        return Taken(which.size, +dropped)

    def forget(self) -> None:
        """Forgets containers of services, and of pods, that were not seen for long."""
        gone: list[int] = []
        for service, containers in list(self._series.items()):
            for container, row in list(containers.items()):
                if self._last[row] < self.time - FORGET_SECONDS:
                    gone.append(row)
                    del containers[container]
            if not containers:
                del self._series[service]
        rows = np.array(gone, dtype=np.int64)
        self._instances.forget(self.time, rows)
        for part in (self._cpu, self._memory, self._load_peaks):
            part.clear(rows)
        self._free += gone

    def estimate(self, service: ServiceKey, container: str) -> Estimate | None:
        """Returns what is known of a container; None while its CPU or its memory is not.

        Upper bounds are multiplied by 1 + 1 / confidence and lower bounds by (1 + 0.001 / confidence)^-2
        (logic/recommender.go, CreatePodResourceRecommender), but no bound is beyond what a histogram can hold.
        """
        containers = self._series.get(service, {})
        row = containers.get(container)
        if row is None:
            return None
        confidence = self._confidence_days(row)
        share = 1.0 / len(containers)
        load_peak = self._load_peaks.most(row)
        cpu = _range(self._cpu, row, confidence, least=share * MINIMUM_CORES)
        memory = _range(self._memory, row, confidence, least=share * MINIMUM_BYTES)
        if cpu is None or memory is None:
            return None
        return Estimate(
            cpu=cpu,
            memory=Range(target=max(memory.target, load_peak), lower=memory.lower, upper=max(memory.upper, load_peak)),
            load_peak_bytes=load_peak,
            confidence_days=confidence,
        )

    def state(self) -> UsageState:
        """Returns everything that was learned; it shares nothing with the model."""
        names = [(service, tuple(containers)) for service, containers in self._series.items()]
        rows = np.array([row for containers in self._series.values() for row in containers.values()], dtype=np.int64)
        number_of = np.zeros(self._rows, dtype=np.int64)
        number_of[rows] = np.arange(len(rows))
        time = self.time if math.isfinite(self.time) else 0.0
        scale = 1.0 / self._decay.factor(np.array(time))
        cpu, memory = self._cpu.sparse(rows), self._memory.sparse(rows)
        return UsageState(
            time=time,
            services=tuple(names),
            first=self._first[rows],
            last=self._last[rows],
            minutes=self._minutes[rows],
            cpu=cpu._replace(weights=cpu.weights * scale),
            memory=memory._replace(weights=memory.weights * scale),
            load_bytes=self._load_peaks.bytes[rows],
            load_days=self._load_peaks.days[rows],
            instances=self._instances.state(number_of),
        )

    @classmethod
    def restored(cls, state: UsageState, now: float, room: Room = ROOM) -> UsageModel:
        """Returns a model that knows what another one knew.

        Args:
            state: what it knew.
            now: Unix seconds. A state from the future was kept by a clock that went ahead of ours, and is taken to be
                as old as now: else new samples would weigh nothing beside it.
            room: how much the model may know; what the state holds is taken up in any case.
        """
        ahead = state.time - now
        state = state.earlier(ahead) if ahead > FUTURE_SECONDS else state
        model = cls(room)
        model._grow(state.containers)
        model._rows = state.containers
        rows = iter(range(state.containers))
        model._series = {
            service: {container: next(rows) for container in containers} for service, containers in state.services
        }
        count = state.containers
        model._first[:count], model._last[:count], model._minutes[:count] = state.first, state.last, state.minutes
        model._cpu.fill(state.cpu)
        model._memory.fill(state.memory)
        model._load_peaks.bytes[:count], model._load_peaks.days[:count] = state.load_bytes, state.load_days
        model._instances = Instances.restored(state.instances, room.instances)
        model._decay.reference_time = state.time
        model.time = state.time if count else -math.inf
        return model

    def _located(self, samples: Sequence[Sample], usable: Ints, dropped: Counter[str]) -> tuple[Ints, Ints]:
        """Returns which samples count so far, and the row of each one's instance; no row stands there twice."""
        rows: dict[int, int] = {}
        indices: list[int] = usable.tolist()
        for index in indices:
            sample = samples[index]
            row = self._instances.find(sample.pod_uid, sample.container)
            if row is None:
                # A series is made only together with an instance, whose first sample then counts for both.
                series = None if self._instances.full else self._series_row(sample.service, sample.container)
                if series is None:
                    dropped["full"] += 1
                    continue
                row = self._instances.new(sample.pod_uid, sample.container, series)
            if rows.setdefault(row, index) != index:
                dropped["repeated"] += 1
        return np.array(list(rows.values()), dtype=np.int64), np.array(list(rows), dtype=np.int64)

    def _series_row(self, service: ServiceKey, container: str) -> int | None:
        containers = self._series.get(service, {})
        row = containers.get(container)
        if row is not None:
            return row
        if self.containers >= self._room.containers:
            return None
        if self._free:
            row = self._free.pop()
        else:
            row = self._rows
            self._rows += 1
            if row == len(self._last):
                self._grow(min(max(row + row // 2, 64), self._room.containers))
        self._first[row], self._last[row], self._minutes[row] = math.inf, -math.inf, 0.0
        self._series.setdefault(service, {})[container] = row
        return row

    def _grow(self, rows: int) -> None:
        more = np.zeros(rows - len(self._last))
        self._first = np.concatenate([self._first, more])
        self._last = np.concatenate([self._last, more])
        self._minutes = np.concatenate([self._minutes, more])
        for part in (self._cpu, self._memory, self._load_peaks):
            part.grow(rows)

    def _learn(self, rows: Ints, times: Floats, minutes: Floats) -> None:
        self._instances.heard(rows, times)
        self.time = max(self.time, float(times.max()))
        scale = self._decay.shift(self.time)
        if scale != 1.0:
            self._cpu.scale(scale)
            self._memory.scale(scale)
        series = self._instances.series(rows)
        np.minimum.at(self._first, series, times)
        np.maximum.at(self._last, series, times)
        np.add.at(self._minutes, series, minutes)

    def _learn_cpu(self, rows: Ints, times: Floats, cores: Floats, minutes: Floats) -> None:
        """Adds CPU samples.

        VPA weighs a sample by the request, which is what makes its history give way when a request rises (model/
        aggregate_container_state.go: addCPUSample). Requests are what is to be found here, and usage stands for them:
        a busy minute says more about what is needed than an idle one, of which there may be any number.
        """
        weights = np.maximum(cores, LEAST_WEIGHT) * minutes * self._decay.factor(times)
        self._cpu.add(self._instances.series(rows), CPU_BUCKETS.of(cores), weights)

    def _learn_memory(self, rows: Ints, times: Floats, memory_bytes: Floats, loading: Bools) -> None:
        """Adds memory samples: a day of a container's counts with its peak, and weighs 1 (addMemorySample)."""
        series, buckets = self._instances.series(rows), MEMORY_BUCKETS.of(memory_bytes)
        peaks = self._instances.peaks(rows, buckets, times)
        weights = self._decay.factor(peaks.times)
        replaces = peaks.changed & (peaks.replaces >= 0)
        self._memory.subtract(series[replaces], peaks.replaces[replaces], weights[replaces])
        self._memory.add(series[peaks.changed], buckets[peaks.changed], weights[peaks.changed])
        self._load_peaks.add(series[loading], memory_bytes[loading], times[loading])

    def _confidence_days(self, row: int) -> float:
        """Returns the days' worth of samples, not more than lie between the first and the last one.

        VPA counts samples, which come once a minute (logic/estimator.go: getConfidence). A coarser one of Prometheus'
        history stands for as many minutes as it covers.
        """
        lifespan = float(self._last[row] - self._first[row]) / _DAY_SECONDS
        return min(lifespan, float(self._minutes[row]) / _DAY_MINUTES)


def _within(values: Floats, limit: float, dropped: Counter[str]) -> Bools:
    """Says which figures can be usage, and counts those that are none. NaN is unknown."""
    dropped.update({"negative": int((values < 0.0).sum()), "absurd": int((values >= limit).sum())})
    return (values >= 0.0) & (values < limit)


def _range(histograms: Histograms, row: int, confidence_days: float, *, least: float) -> Range | None:
    """Returns the figures of one resource, None where nothing is known of it."""
    lower, target, upper = ((1.0 + MARGIN) * one for one in histograms.percentiles(row, (LOWER, TARGET, UPPER)))
    if math.isnan(target):
        return None
    # Without any confidence the factors are 0 and infinity: anything may be right.
    doubt = 1.0 / confidence_days if confidence_days > 0.0 else math.inf
    lower *= (1.0 + 0.001 * doubt) ** -2.0
    upper = min(upper * (1.0 + doubt), histograms.buckets.limit)
    target = max(target, least)
    return Range(target=target, lower=max(lower, least), upper=max(upper, target))
