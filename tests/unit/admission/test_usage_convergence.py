from __future__ import annotations

import numpy as np
import pytest

from admission.usage_model import UsageModel
from tests.unit.admission.samples import NOW
from tests.unit.admission.usage_samples import BUCKET, DAY, GIB, MARGIN, known, learned, sample
from wattkeeper.api.readings import Floats


def replayed(cores: Floats, memory: Floats) -> UsageModel:
    """A workload of one pod, replayed in steps of ten minutes."""
    figures = zip(cores.tolist(), memory.tolist(), strict=True)
    return learned((sample(time=NOW + 600.0 * n, cores=c, memory=m, minutes=10.0) for n, (c, m) in enumerate(figures)))


def hourly(days: float, *, cores: float, memory: float, start: float, model: UsageModel) -> UsageModel:
    samples = (
        sample(time=start + 3_600.0 * hour, cores=cores, memory=memory, minutes=60.0) for hour in range(int(24 * days))
    )
    return learned(samples, model)


def test_a_cpu_target_converges_to_the_ninetieth_percentile_and_the_margin() -> None:
    cores = np.random.default_rng(1).uniform(3.6, 4.4, 4 * 144)
    model = replayed(cores, np.full(len(cores), GIB))
    highest = float(np.quantile(cores, 0.9))
    assert highest * 0.99 <= known(model).cpu.target / MARGIN <= highest * BUCKET


def test_a_cpu_target_of_bursts_covers_nine_tenths_of_the_core_minutes() -> None:
    cores = np.random.default_rng(2).lognormal(0.0, 0.8, 4 * 144)
    model = replayed(cores, np.full(len(cores), GIB))
    target = known(model).cpu.target / MARGIN
    # Older ones weigh less, but all are alike.
    covered = float(cores[cores <= target].sum() / cores.sum())
    assert covered == pytest.approx(0.9, abs=0.04)


def test_a_memory_target_covers_nine_of_ten_daily_peaks() -> None:
    random = np.random.default_rng(3)
    model = UsageModel()
    peaks = random.uniform(6.0, 10.0, 60) * GIB
    for pod, peak in enumerate(peaks.tolist()):
        learned((sample(time=NOW + 60.0 * n, pod=f"p{pod}", memory=m) for n, m in enumerate([GIB, peak, GIB])), model)
    highest = float(np.quantile(peaks, 0.9))
    assert highest * 0.97 <= known(model).memory.target / MARGIN <= highest * 1.03 * BUCKET


def test_an_old_regime_gives_way_as_the_half_life_says() -> None:
    # In the long run 8 cores weigh 8 * 2^-days beside 2 * (1 - 2^-days) of the 2 cores after them. So the old regime is
    # under half of all weight after 2.3 days, and under a tenth after 5.2.
    model = hourly(20, cores=8.0, memory=GIB, start=NOW, model=UsageModel())
    change = NOW + 20 * DAY
    hourly(2, cores=2.0, memory=GIB, start=change, model=model)
    assert known(model).cpu.lower > 8.0
    hourly(1, cores=2.0, memory=GIB, start=change + 2 * DAY, model=model)
    assert known(model).cpu.lower < 2.0 * MARGIN * BUCKET
    hourly(2, cores=2.0, memory=GIB, start=change + 3 * DAY, model=model)
    assert known(model).cpu.target > 8.0
    hourly(1, cores=2.0, memory=GIB, start=change + 5 * DAY, model=model)
    assert known(model).cpu.target < 2.0 * MARGIN * BUCKET


def test_memory_of_an_old_regime_is_gone_from_the_target_within_a_week() -> None:
    model = hourly(20, cores=1.0, memory=32 * GIB, start=NOW, model=UsageModel())
    change = NOW + 20 * DAY
    hourly(2, cores=1.0, memory=8 * GIB, start=change, model=model)
    assert known(model).memory.target > 32 * GIB
    hourly(4, cores=1.0, memory=8 * GIB, start=change + 2 * DAY, model=model)
    assert known(model).memory.target < 8 * GIB * MARGIN * BUCKET


def test_figures_of_a_steady_workload_stay_put_for_weeks() -> None:
    model = hourly(5, cores=2.0, memory=8 * GIB, start=NOW, model=UsageModel())
    before = known(model)
    after = known(hourly(40, cores=2.0, memory=8 * GIB, start=NOW + 5 * DAY, model=model))
    assert (after.cpu.target, after.memory.target) == (before.cpu.target, before.memory.target)
