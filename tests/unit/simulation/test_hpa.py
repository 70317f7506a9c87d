"""The HPA's documented rules, one each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.simulation.hpa import Behavior, Hpa, HpaSpec, parse_behavior, wanted_replicas

EXACT = parse_behavior(
    {
        "horizontalPodAutoscalerConfig": {
            "behavior": {
                direction: {
                    "stabilizationWindowSeconds": 0,
                    "tolerance": "0",
                    "policies": [{"type": "Pods", "value": 1000, "periodSeconds": 15}],
                }
                for direction in ("scaleUp", "scaleDown")
            }
        }
    }
)


def _spec(behavior: Behavior = EXACT, minimum: int = 1, maximum: int = 40) -> HpaSpec:
    return HpaSpec(minimum=minimum, maximum=maximum, target=1.0, behavior=behavior)


@pytest.mark.parametrize(("value", "replicas"), [(19.0, 20), (22.0, 20), (18.0, 20), (17.9, 18), (22.1, 23)])
def test_a_change_inside_the_tolerance_is_none(value: float, replicas: int) -> None:
    assert wanted_replicas(value, target=1, replicas=20, behavior=Behavior()) == replicas


def test_replicas_are_rounded_up() -> None:
    assert wanted_replicas(4.001, target=1, replicas=2, behavior=EXACT) == 5


def test_the_target_divides_the_value() -> None:
    assert wanted_replicas(960, target=96, replicas=1, behavior=EXACT) == 10


def test_without_a_value_replicas_hold() -> None:
    assert Hpa().sync(_spec(), None, replicas=7, status_replicas=7, now=0.0) == 7


def test_bounds_count_even_without_a_value() -> None:
    assert Hpa().sync(_spec(maximum=5), None, replicas=7, status_replicas=7, now=0.0) == 5
    assert Hpa().sync(_spec(minimum=9), None, replicas=7, status_replicas=7, now=0.0) == 9


def test_zero_replicas_switch_the_hpa_off() -> None:
    assert Hpa().sync(_spec(), 9.0, replicas=0, status_replicas=0, now=0.0) == 0


def test_downwards_the_highest_wish_of_the_window_counts() -> None:
    hpa, spec = Hpa(), _spec(Behavior())
    replicas = [
        hpa.sync(spec, value, replicas=10, status_replicas=10, now=now)
        for now, value in ((0.0, 10.0), (15.0, 4.0), (290.0, 4.0), (301.0, 4.0))
    ]
    assert replicas == [10, 10, 10, 4]


@given(st.lists(st.floats(0, 60), min_size=1, max_size=20), st.integers(1, 10), st.integers(10, 30), st.integers(1, 40))
def test_replicas_never_leave_the_bounds(values: list[float], minimum: int, maximum: int, first: int) -> None:
    hpa, spec, replicas = Hpa(), _spec(Behavior(), minimum, maximum), first
    for turn, value in enumerate(values):
        replicas = hpa.sync(spec, value, replicas=replicas, status_replicas=replicas, now=15.0 * turn)
        assert minimum <= replicas <= maximum
