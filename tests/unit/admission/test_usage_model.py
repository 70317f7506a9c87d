from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.usage_model import FORGET_SECONDS, Room, Sample, UsageModel
from tests.unit.admission import plain_usage
from tests.unit.admission.samples import NOW, SERVICE
from tests.unit.admission.usage_samples import BUCKET, DAY, GIB, MARGIN, MIB, known, learned, sample
from wattkeeper.api.readings import ServiceKey

OTHER = ServiceKey("chat", "Deployment", "other")


def dropped(samples: Sequence[Sample], model: UsageModel | None = None, now: float = NOW) -> dict[str, int]:
    return dict((model or UsageModel()).add(samples, now).dropped)


def test_nothing_is_known_of_a_container_that_was_never_seen() -> None:
    model = learned([sample()])
    assert model.estimate(SERVICE, "sidecar") is None
    assert model.estimate(OTHER, "main") is None


def test_a_target_is_what_was_used_and_the_margin() -> None:
    estimate = known(learned(sample(time=NOW + 60.0 * minute, cores=2.0, memory=8 * GIB) for minute in range(60)))
    assert 2.0 * MARGIN <= estimate.cpu.target <= 2.0 * MARGIN * BUCKET
    assert 8 * GIB * MARGIN <= estimate.memory.target <= 8 * GIB * MARGIN * BUCKET


def test_nothing_is_said_while_memory_is_unknown() -> None:
    model = learned([sample(memory=math.nan)])
    assert model.estimate(SERVICE, "main") is None


def test_a_busy_minute_weighs_more_than_an_idle_one() -> None:
    # Nine idle minutes weigh 0.9 together, the busy one 4: the 90th percentile is the busy one's.
    minutes = [0.01] * 9 + [4.0]
    estimate = known(learned(sample(time=NOW + 60.0 * n, cores=cores) for n, cores in enumerate(minutes)))
    assert estimate.cpu.target >= 4.0


def test_a_day_of_memory_counts_with_its_peak() -> None:
    quiet = [sample(time=NOW + 60.0 * n, memory=GIB) for n in range(100)]
    peak = sample(time=NOW + 6_000.0, memory=6 * GIB)
    after = [sample(time=NOW + 6_060.0 + 60.0 * n, memory=GIB) for n in range(100)]
    estimate = known(learned([*quiet, peak, *after]))
    assert estimate.memory.lower >= 6 * GIB * 0.9


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1.0, DAY), st.floats(3e8, 1e11)), min_size=1, max_size=30))
def test_a_memory_target_is_the_percentile_of_daily_peaks(samples: list[tuple[float, float]]) -> None:
    times: list[float] = np.floor(NOW + np.cumsum([gap for gap, _ in samples])).tolist()
    values = [value for _, value in samples]
    model = learned(sample(time=time, memory=value) for time, value in zip(times, values, strict=True))
    peaks = plain_usage.daily_peaks(list(zip(times, values, strict=True)))
    weighted = [(value, 1.0, time) for time, value in peaks]
    near = {plain_usage.percentile(weighted, 0.9 + e, 1e7, DAY) * MARGIN for e in (-1e-9, 0.0, 1e-9)}
    assert any(known(model).memory.target == pytest.approx(value) for value in near)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 900.0), st.floats(0.0, 9e11)), min_size=1, max_size=20))
def test_bounds_enclose_the_target(figures: list[tuple[float, float]]) -> None:
    estimate = known(
        learned(sample(time=NOW + 3_600.0 * n, cores=cores, memory=memory) for n, (cores, memory) in enumerate(figures))
    )
    for one in (estimate.cpu, estimate.memory):
        assert 0.0 < one.lower <= one.target <= one.upper < math.inf


def test_bounds_narrow_as_confidence_grows() -> None:
    model = learned(sample(time=NOW + 60.0 * n) for n in range(60))
    early = known(model)
    late = known(learned((sample(time=NOW + 3_600.0 * (n + 1), minutes=60.0) for n in range(49)), model))
    assert early.confidence_days == pytest.approx(1 / 24, rel=0.05)
    assert late.confidence_days == pytest.approx(2.04, rel=0.01)
    assert early.cpu.lower < late.cpu.lower < late.cpu.upper < early.cpu.upper
    assert late.cpu.upper == pytest.approx(late.cpu.target * (1 + 1 / late.confidence_days))
    assert late.cpu.lower == pytest.approx(late.cpu.target * (1 + 0.001 / late.confidence_days) ** -2)


def test_many_pods_do_not_make_confidence_older_than_their_history() -> None:
    model = UsageModel()
    for minute in range(60):
        time = NOW + 60.0 * minute
        model.add([sample(time=time, pod=f"uid-{n}") for n in range(100)], time)
    assert known(model).confidence_days == pytest.approx(59 / 1_440)


def test_a_coarse_sample_stands_for_the_minutes_that_it_covers() -> None:
    model = learned(sample(time=NOW + 3_600.0 * n, minutes=60.0) for n in range(49))
    assert known(model).confidence_days == pytest.approx(2.0)


def test_a_pod_that_hardly_uses_anything_gets_the_least_shared_by_its_containers() -> None:
    model = learned([sample(cores=0.0, memory=MIB), sample(cores=0.0, memory=MIB, container="sidecar")])
    estimate = known(model, "sidecar")
    assert estimate.cpu.target == 0.0125
    assert estimate.memory.target == 125 * MIB
    assert estimate.memory.lower == 125 * MIB


def test_memory_stays_at_what_loading_took() -> None:
    loading = [sample(time=NOW + 60.0 * n, memory=40 * GIB, loading=True) for n in range(5)]
    served = (sample(time=NOW + 3_600.0 * n, memory=8 * GIB) for n in range(1, 24 * 20))
    estimate = known(learned(served, learned(loading)))
    assert estimate.load_peak_bytes == 40 * GIB
    assert estimate.memory.target == 40 * GIB
    assert estimate.memory.upper >= 40 * GIB
    assert estimate.memory.lower < 10 * GIB


def test_an_old_load_is_forgotten_a_fortnight_before_the_latest() -> None:
    model = learned([sample(memory=40 * GIB, loading=True, pod="old")])
    learned((sample(time=NOW + DAY * day, memory=8 * GIB, loading=True, pod=f"p{day}") for day in range(1, 16)), model)
    assert known(model).load_peak_bytes == 8 * GIB


def test_a_container_that_has_not_loaded_for_a_month_remembers_its_last_load() -> None:
    model = learned([sample(memory=40 * GIB, loading=True)])
    learned((sample(time=NOW + DAY * day, memory=8 * GIB) for day in range(1, 32)), model)
    assert known(model).load_peak_bytes == 40 * GIB


def test_the_same_sample_does_not_count_twice() -> None:
    model = learned([sample()])
    assert dropped([sample()], model) == {"repeated": 1}
    assert dropped([sample(time=NOW + 60.0), sample(time=NOW + 60.0)], model, NOW + 60.0) == {"repeated": 1}


def test_a_sample_from_before_the_last_one_is_late() -> None:
    model = learned([sample()])
    assert dropped([sample(time=NOW - 60.0)], model) == {"late": 1}


def test_samples_of_different_pods_may_come_in_any_order() -> None:
    model = learned([sample()])
    assert model.add([sample(time=NOW - 60.0, pod="uid-2")], NOW).samples == 1


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"cores": math.nan, "memory": math.nan}, {"unknown": 1}),
        ({"time": math.nan}, {"unknown": 1}),
        ({"cores": -1.0, "memory": -1.0}, {"negative": 2}),
        ({"cores": -math.inf, "memory": math.nan}, {"negative": 1}),
        ({"cores": 2_000.0, "memory": 1e15}, {"absurd": 2}),
        ({"cores": math.inf, "memory": math.inf}, {"absurd": 2}),
        ({"time": NOW + 3_600.0}, {"future": 1}),
        ({"time": math.inf}, {"future": 1}),
        ({"time": 0.0}, {"old": 1}),
        ({"time": -math.inf}, {"old": 1}),
    ],
    ids=str,
)
def test_what_cannot_be_usage_is_dropped_with_its_reason_and_leaves_nothing(
    figures: dict[str, float], reason: dict[str, int]
) -> None:
    model = UsageModel()
    taken = model.add([sample(**figures)], NOW)  # pyright: ignore[reportArgumentType]
    assert (taken.samples, dict(taken.dropped), model.containers) == (0, reason, 0)


def test_a_sample_with_one_good_figure_counts_for_that_one() -> None:
    model = learned([sample(cores=3.0)])
    taken = model.add([sample(time=NOW + 60.0, cores=-5.0, memory=3 * GIB)], NOW + 60.0)
    assert (taken.samples, dict(taken.dropped)) == (1, {"negative": 1})
    assert known(model).memory.target >= 3 * GIB


def test_an_absurd_figure_does_not_become_what_loading_took() -> None:
    model = learned([sample(), sample(time=NOW + 60.0, memory=1e18, loading=True)])
    assert known(model).load_peak_bytes == 0.0


def test_a_clock_that_runs_backwards_loses_nothing_and_learns_again_when_it_is_right() -> None:
    model = learned(sample(time=NOW + 60.0 * n, cores=2.0) for n in range(60))
    before = known(model)
    assert dropped([sample(time=NOW - 3_600.0)], model, NOW - 3_600.0) == {"late": 1}
    assert known(model) == before
    assert model.add([sample(time=NOW + 3_600.0)], NOW + 3_600.0).samples == 1


def test_our_clock_gone_wrong_for_a_moment_forgets_nothing() -> None:
    model = learned([sample()])
    year = 365 * DAY
    assert dropped([sample(time=NOW + 60.0)], model, NOW + year) == {"old": 1}
    model.forget()
    assert model.add([sample(time=NOW + 120.0)], NOW + 120.0).samples == 1
    assert known(model).confidence_days > 0.0


def test_a_service_unseen_for_long_is_forgotten_with_its_pods() -> None:
    model = learned([sample(), sample(service=OTHER, pod="uid-2")])
    time = NOW + FORGET_SECONDS + 60.0
    model.add([sample(time=time, pod="uid-3", service=OTHER)], time)
    model.forget()
    assert model.estimate(SERVICE, "main") is None
    assert model.containers == 1
    assert len(model.state().instances.series) == 1


def test_a_new_service_in_the_place_of_a_forgotten_one_begins_empty() -> None:
    model = learned([sample(cores=500.0, memory=500 * GIB, loading=True), sample(service=OTHER, pod="uid-2")])
    time = NOW + FORGET_SECONDS + 60.0
    model.add([sample(time=time, pod="uid-3", service=OTHER)], time)
    model.forget()
    third = ServiceKey("chat", "Deployment", "third")
    model.add([sample(time=time, pod="uid-4", service=third, cores=1.0, memory=GIB)], time)
    estimate = known(model, service=third)
    assert estimate.cpu.target < 2.0
    assert estimate.load_peak_bytes == 0.0
    assert known(model, service=OTHER).confidence_days > 0.0


def test_a_service_without_pods_keeps_its_figures_for_weeks() -> None:
    model = learned(sample(time=NOW + 60.0 * n, cores=2.0) for n in range(60))
    before = known(model)
    time = NOW + FORGET_SECONDS - DAY
    model.add([sample(time=time, service=OTHER, pod="uid-2")], time)
    model.forget()
    assert known(model) == before


def test_there_is_room_for_so_many_containers_and_no_more() -> None:
    model = UsageModel(Room(containers=3, instances=100))
    samples = [sample(container=f"c{n}") for n in range(5)]
    assert dropped(samples, model) == {"full": 2}
    assert model.containers == 3


def test_there_is_room_for_so_many_pods_a_day_and_no_more() -> None:
    model = UsageModel(Room(containers=100, instances=3))
    assert dropped([sample(pod=f"uid-{n}") for n in range(5)], model) == {"full": 2}
    tomorrow = NOW + DAY + 60.0
    model.add([sample(time=tomorrow, pod="uid-0")], tomorrow)
    model.forget()
    assert dropped([sample(time=tomorrow, pod="uid-9")], model, tomorrow) == {}


def test_samples_in_one_call_teach_the_same_as_one_by_one() -> None:
    random = np.random.default_rng(1)
    samples = [
        sample(pod=f"uid-{n}", cores=cores, memory=memory, time=NOW - n)
        for n, (cores, memory) in enumerate(random.lognormal((0.0, 22.0), 1.0, (300, 2)).tolist())
    ]
    together = UsageModel()
    together.add(samples, NOW)
    apart = UsageModel()
    for one in samples:
        apart.add([one], NOW)
    assert known(together) == known(apart)
