import numpy as np
import pytest

from wattkeeper.power.tracking import track


def followed(samples: list[float], share: float) -> float:
    quantile, spread = np.array([np.nan]), np.array([np.nan])
    for count, watts in enumerate(samples):
        quantile, spread = track(quantile, spread, np.array([float(count)]), np.array([watts]), share)
    return float(quantile[0])


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_the_quantile_of_what_came_is_found(share: float) -> None:
    samples = np.random.default_rng(1).uniform(100.0, 200.0, 3_000)
    assert followed(samples.tolist(), share) == pytest.approx(100.0 + 100.0 * share, abs=10.0)


def test_one_spike_moves_it_by_little() -> None:
    calm = [150.0, 152.0, 148.0] * 30
    assert followed([*calm, 9_000.0], 0.95) - followed(calm, 0.95) < 1.0


def test_a_first_sample_that_was_a_spike_is_overcome() -> None:
    assert followed([1_200.0, *[150.0, 152.0] * 100], 0.25) == pytest.approx(151.0, abs=10.0)
