from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.power.rows import NOW, budget_rows, floats, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.api.readings import PodPhase, Readings, Rung
from wattkeeper.power.charges import Charges
from wattkeeper.power.errors import ModelStateError
from wattkeeper.power.model import PowerModel
from wattkeeper.power.settings import ModelSettings

WALL, NODE, GPU = 0, 1, 2
QUICK = ModelSettings(confident_samples=20.0, confident_seconds=300.0, lowering_half_life_seconds=30.0)


class Loop:
    """A model that is shown readings every 15 s."""

    def __init__(self, settings: ModelSettings = QUICK) -> None:
        self.model = PowerModel(settings)
        self.now = NOW

    def show(self, seen: Readings, ticks: int = 1) -> Charges:
        for _ in range(ticks):
            self.now += 15.0
            self.model.observe(seen, self.now)
        return self.model.charges(seen, self.now)


def one_pod(gpu_watts: float = 400.0, cpu_watts: float = 20.0, load: float = 1.0, **columns: Any) -> Readings:
    """One Ready one-GPU pod on an H100 server whose readings include what it draws."""
    return readings(
        node_rows(1, cpu_watts=floats(150.0 + cpu_watts, 1), gpu_watts=floats(600.0 + gpu_watts, 1)),
        pod_rows(1, gpu_watts=floats(gpu_watts, 1), cpu_watts=floats(cpu_watts, 1), **columns),
        service_rows(load=floats(load, 1)),
    )


def late(seen: Readings, seconds: float) -> Readings:
    """The same values, that much older."""
    nodes, pods = seen.nodes, seen.pods
    return replace(
        seen,
        nodes=replace(
            nodes, cpu_age_seconds=nodes.cpu_age_seconds + seconds, gpu_age_seconds=nodes.gpu_age_seconds + seconds
        ),
        pods=replace(pods, age_seconds=pods.age_seconds + seconds),
    )


def lost(seen: Readings) -> Readings:
    """The same cluster without any reading."""
    nodes, pods = seen.nodes, seen.pods
    return replace(
        seen,
        nodes=replace(
            nodes,
            cpu_watts=nodes.cpu_watts * np.nan,
            gpu_watts=nodes.gpu_watts * np.nan,
            cpu_age_seconds=nodes.cpu_age_seconds + np.inf,
            gpu_age_seconds=nodes.gpu_age_seconds + np.inf,
        ),
        pods=replace(
            pods,
            cpu_watts=pods.cpu_watts * np.nan,
            gpu_watts=pods.gpu_watts * np.nan,
            age_seconds=pods.age_seconds + np.inf,
        ),
    )


# Priors


def test_a_replica_that_nobody_measured_is_charged_its_gpus_limit_without_their_idle_draw() -> None:
    charges = Loop().show(readings())
    assert charges.replica_upper_watts[GPU, 0, 0] == 700.0 - 75.0
    assert charges.replica_upper_watts[NODE, 0, 0] == 700.0 - 75.0 + 4 * 5.0
    assert charges.replica_upper_watts[WALL, 0, 0] == pytest.approx(1.15 * 645.0)


def test_an_enforced_limit_takes_the_place_of_the_nameplate() -> None:
    loop = Loop()
    seen = readings(node_rows(gpu_limit_watts=floats(8 * 500.0, 1)))
    assert loop.show(seen, 4).replica_upper_watts[GPU, 0, 0] == pytest.approx(500.0 - 75.0, abs=1.0)


def test_an_enforced_limit_is_remembered_while_it_is_not_shown() -> None:
    loop = Loop()
    before = loop.show(readings(node_rows(gpu_limit_watts=floats(8 * 500.0, 1))), 4)
    after = loop.show(readings())
    assert after.replica_upper_watts[GPU, 0, 0] == pytest.approx(before.replica_upper_watts[GPU, 0, 0], abs=1.0)


def test_an_enforced_limit_of_many_nameplates_is_not_believed() -> None:
    seen = readings(node_rows(gpu_limit_watts=floats(8 * 70_000.0, 1)))
    assert Loop().show(seen).replica_upper_watts[GPU, 0, 0] == 625.0


def test_watts_stated_by_a_policy_raise_the_prior() -> None:
    seen = readings(services=service_rows(prior_watts=floats(900.0, 1)))
    assert Loop().show(seen).replica_upper_watts[NODE, 0, 0] == pytest.approx(900.0)


@pytest.mark.parametrize("stated", [1.0, 0.0, -5.0, np.nan, np.inf])
def test_watts_stated_by_a_policy_never_lower_the_prior(stated: float) -> None:
    seen = readings(services=service_rows(prior_watts=floats(stated, 1)))
    assert Loop().show(seen).replica_upper_watts[NODE, 0, 0] == 645.0


def test_watts_stated_by_a_policy_count_no_more_once_measured() -> None:
    loop = Loop()
    loop.show(one_pod(), 100)
    seen = one_pod()
    plain = loop.show(seen)
    stated = replace(seen, services=replace(seen.services, prior_watts=floats(5_000.0, 1)))
    np.testing.assert_allclose(loop.show(stated).replica_upper_watts, plain.replica_upper_watts, rtol=1e-3)


def test_a_server_of_eight_h200_idles_at_what_public_logs_show_at_the_wall() -> None:
    # MLCommons Inference v4.1, closed power: 2.37 to 2.42 kW before the runs begin.
    seen = readings(node_rows(kind_names=("NVIDIA-H200x8",), cpu_watts=floats(np.nan, 1), gpu_watts=floats(np.nan, 1)))
    charges = Loop().show(seen)
    assert charges.node_expected_watts[WALL, 0] == pytest.approx(2400.0, rel=0.1)
    assert charges.node_upper_watts[WALL, 0] >= 2400.0


# Learning


def test_a_bound_falls_slowly_towards_what_is_measured_and_its_margin() -> None:
    loop = Loop()
    early = loop.show(one_pod(300.0), 6)
    late_on = loop.show(one_pod(300.0), 200)
    assert early.replica_upper_watts[GPU, 0, 0] > 500.0
    assert 300.0 * 1.1 <= late_on.replica_upper_watts[GPU, 0, 0] <= 300.0 * 1.1 * 1.06


def test_a_bound_stays_at_its_prior_while_only_little_load_was_seen() -> None:
    loop = Loop()
    assert loop.show(one_pod(100.0, load=0.1), 200).replica_upper_watts[GPU, 0, 0] > 500.0


def test_one_spike_moves_no_bound() -> None:
    loop = Loop()
    before = loop.show(one_pod(300.0), 200)
    loop.show(one_pod(9_000.0))
    after = loop.show(one_pod(300.0))
    assert after.replica_upper_watts[GPU, 0, 0] <= before.replica_upper_watts[GPU, 0, 0]


def test_a_spike_is_clamped_to_what_its_gpu_may_draw() -> None:
    charges = Loop().show(one_pod(9_000.0), 5)
    assert charges.pod_upper_watts[GPU, 0] <= 640.0


def test_a_spike_read_again_in_the_next_tick_is_still_one_sample() -> None:
    loop = Loop()
    before = loop.show(one_pod(300.0), 200)
    spike = one_pod(600.0)
    loop.show(spike)
    for age in (10.0, 15.0, 20.0):
        loop.now += 5.0
        loop.model.observe(late(spike, age - 5.0), loop.now)
    after = loop.model.charges(spike, loop.now)
    assert after.replica_upper_watts[GPU, 0, 0] <= before.replica_upper_watts[GPU, 0, 0]


def test_growth_that_two_samples_confirm_moves_the_bound_at_once() -> None:
    loop = Loop()
    loop.show(one_pod(300.0), 200)
    assert loop.show(one_pod(500.0), 2).replica_upper_watts[GPU, 0, 0] >= 500.0


@pytest.mark.parametrize("phase", [PodPhase.LOADING, PodPhase.TERMINATING])
def test_pods_that_load_or_end_teach_nothing_and_are_charged_the_bound(phase: PodPhase) -> None:
    loop = Loop()
    loop.show(one_pod(300.0), 200)
    charges = loop.show(one_pod(10.0, phase=ints(phase, 1)), 50)
    assert charges.pod_upper_watts[GPU, 0] == charges.replica_upper_watts[GPU, 0, 0] >= 330.0


def test_a_service_whose_pods_request_more_is_charged_its_prior_again() -> None:
    loop = Loop()
    loop.show(one_pod(300.0), 200)
    seen = one_pod(300.0)
    grown = replace(seen, services=replace(seen.services, gpus=floats(2.0, 1)))
    assert loop.show(grown).replica_upper_watts[GPU, 0, 0] == pytest.approx(2 * 625.0, rel=0.01)


def test_expected_watts_follow_the_load() -> None:
    loop = Loop()
    for tick in range(200):
        load = (tick % 10) / 10
        loop.show(one_pod(150.0 + 300.0 * load, load=load))
    for load in (0.1, 0.5, 0.9):
        charges = loop.show(one_pod(150.0 + 300.0 * load, load=load))
        assert charges.replica_expected_watts[GPU, 0, 0] == pytest.approx(150.0 + 300.0 * load, rel=0.1)


def test_a_replica_of_several_pods_is_charged_all_of_them() -> None:
    group = service_rows(pods_per_replica=ints(2, 1), gpus=floats(16.0, 1), cpu_cores=floats(8.0, 1))
    pods = pod_rows(2, gpus=floats(8.0, 2), gpu_watts=floats(np.nan, 2), cpu_watts=floats(np.nan, 2))
    charges = Loop().show(readings(pods=pods, services=group))
    assert charges.replica_upper_watts[GPU, 0, 0] == 16 * 625.0
    assert charges.pod_upper_watts[GPU].tolist() == [8 * 625.0, 8 * 625.0]


def test_the_pod_of_a_group_that_requests_all_its_gpus_is_charged_all_of_them() -> None:
    group = service_rows(pods_per_replica=ints(2, 1), gpus=floats(8.0, 1))
    pods = pod_rows(2, gpus=np.array([0.0, 8.0]), phase=ints(PodPhase.LOADING, 2), gpu_watts=floats(np.nan, 2))
    assert Loop().show(readings(pods=pods, services=group)).pod_upper_watts[GPU, 1] == 8 * 625.0


# Fixed draw, unmanaged pods, sums


def test_pods_and_fixed_draw_and_unmanaged_pods_sum_to_what_the_node_reads() -> None:
    loop = Loop()
    pods = pod_rows(3, service=np.array([0, 0, -1]), gpu_watts=np.array([400.0, 300.0, 200.0]))
    nodes = node_rows(cpu_watts=floats(180.0 + 60.0, 1), gpu_watts=floats(640.0 + 900.0, 1))
    charges = loop.show(readings(nodes, pods), 50)
    for meter, total in ((NODE, 1780.0), (GPU, 1540.0)):
        parts = charges.pod_expected_watts[meter].sum() + charges.unmanaged_expected_watts[meter, 0]
        assert parts + charges.node_expected_watts[meter, 0] == pytest.approx(total, rel=0.01)
    assert charges.meter_watts.tolist() == [1780.0]


def test_the_fixed_draw_at_the_wall_is_learned_from_the_platform() -> None:
    loop = Loop()
    seen = one_pod(400.0)
    seen = replace(
        seen, nodes=replace(seen.nodes, platform_watts=floats(3_000.0, 1), platform_age_seconds=floats(5.0, 1))
    )
    charges = loop.show(seen, 60)
    assert charges.node_expected_watts[WALL, 0] == pytest.approx(3_000.0 - 1.08 * 420.0, rel=0.01)
    assert charges.node_upper_watts[WALL, 0] >= charges.node_expected_watts[WALL, 0]


def test_a_source_that_shows_idle_watts_is_believed_where_pods_are_unknown() -> None:
    loop = Loop()
    nodes = node_rows(cpu_watts=floats(400.0, 1), cpu_idle_watts=floats(210.0, 1))
    pods = pod_rows(1, cpu_watts=floats(np.nan, 1), gpu_watts=floats(np.nan, 1), age_seconds=floats(np.inf, 1))
    charges = loop.show(readings(nodes, pods), 60)
    cpu = charges.node_expected_watts[NODE, 0] - charges.node_expected_watts[GPU, 0]
    assert cpu == pytest.approx(210.0, rel=0.01)


def test_unmanaged_pods_are_charged_what_they_draw_and_a_margin() -> None:
    seen = readings(pods=pod_rows(1, service=ints(-1, 1)))
    charges = Loop().show(seen, 5)
    assert charges.unmanaged_upper_watts[NODE, 0] == pytest.approx(1.2 * 420.0)
    assert charges.unmanaged_expected_watts[NODE, 0] == pytest.approx(420.0)
    assert charges.pod_upper_watts.sum() == 0.0


def test_unmanaged_pods_without_readings_are_charged_what_they_request() -> None:
    pods = pod_rows(1, service=ints(-1, 1), gpu_watts=floats(np.nan, 1), cpu_watts=floats(np.nan, 1))
    assert Loop().show(readings(pods=pods)).unmanaged_upper_watts[NODE, 0] == 645.0


def test_pods_that_request_and_show_nothing_are_charged_something() -> None:
    nothing = floats(np.nan, 1)
    pods = pod_rows(
        1, service=ints(-1, 1), gpus=floats(0.0, 1), cpu_cores=floats(0.0, 1), gpu_watts=nothing, cpu_watts=nothing
    )
    assert Loop().show(readings(pods=pods)).unmanaged_upper_watts[NODE, 0] > 0.0


def test_pending_unmanaged_pods_are_charged_what_they_request_on_the_hungriest_kind() -> None:
    nodes = node_rows(2, kind=np.array([0, 1]), kind_names=("NVIDIA-L4x8", "NVIDIA-H100-80GB-HBM3x8"))
    pods = pod_rows(2, service=np.array([-1, 0]), node=ints(-1, 2), phase=ints(PodPhase.PENDING, 2))
    charges = Loop().show(readings(nodes, pods, service_rows(kinds=2)))
    assert charges.pending_unmanaged_watts[NODE] == 645.0
    assert charges.pod_upper_watts.sum() == 0.0


# The ladder


def test_nodes_are_absent_until_three_samples_came() -> None:
    loop = Loop()
    rungs = [int(loop.show(readings()).node_rung[0]) for _ in range(4)]
    assert rungs == [Rung.ABSENT, Rung.ABSENT, Rung.FRESH, Rung.FRESH]


def test_a_node_that_shows_no_gpu_watts_is_not_fresh() -> None:
    seen = readings(node_rows(gpu_watts=floats(np.nan, 1)))
    assert Loop().show(seen, 5).node_rung.tolist() == [Rung.ABSENT]


def test_a_node_without_gpus_need_not_show_any() -> None:
    seen = readings(node_rows(gpus=ints(0, 1), kind_names=("cpu",), gpu_watts=floats(np.nan, 1)))
    assert Loop().show(seen, 5).node_rung.tolist() == [Rung.FRESH]


def test_a_node_that_reads_zero_is_not_fresh() -> None:
    assert Loop().show(readings(node_rows(cpu_watts=floats(0.0, 1))), 5).node_rung.tolist() == [Rung.ABSENT]


def test_readings_that_stop_take_a_node_down_rung_by_rung() -> None:
    loop = Loop()
    loop.show(one_pod(), 5)
    gone = lost(one_pod())
    rungs = [int(loop.show(gone).node_rung[0]) for _ in range(70)]
    assert rungs == sorted(rungs)
    assert set(rungs) == set(Rung)


def test_tightened_pods_are_charged_what_their_gpus_limits_allow_and_absent_ones_the_nameplate() -> None:
    loop = Loop()
    seen = one_pod(200.0)
    seen = replace(seen, nodes=replace(seen.nodes, gpu_limit_watts=floats(8 * 500.0, 1)))
    fresh = loop.show(seen, 200)
    frozen = loop.show(lost(seen), 4)
    tightened = loop.show(lost(seen), 6)
    absent = loop.show(lost(seen), 60)
    assert frozen.node_rung[0] == Rung.FROZEN
    assert frozen.pod_upper_watts[GPU, 0] == fresh.pod_upper_watts[GPU, 0] < 300.0
    assert tightened.node_rung[0] == Rung.TIGHTENED
    assert tightened.pod_upper_watts[GPU, 0] == pytest.approx(500.0 - 75.0, abs=5.0)
    assert absent.node_rung[0] == Rung.ABSENT
    assert absent.pod_upper_watts[GPU, 0] == pytest.approx(700.0 - 75.0, abs=5.0)


def test_a_pod_whose_own_readings_stop_climbs_down_on_a_fresh_node() -> None:
    loop = Loop()
    loop.show(one_pod(200.0), 200)
    seen = one_pod(200.0)
    silent = replace(seen, pods=lost(seen).pods)
    charges = loop.show(silent, 10)
    assert charges.node_rung[0] == Rung.FRESH
    assert charges.pod_upper_watts[GPU, 0] == pytest.approx(625.0, abs=5.0)


# The residual


def metered(watts: float, age: float = 5.0) -> Readings:
    return replace(one_pod(), budgets=budget_rows(meter_watts=floats(watts, 1), meter_age_seconds=floats(age, 1)))


def test_a_domain_meter_that_shows_more_than_expected_is_followed_slowly() -> None:
    loop = Loop()
    loop.show(metered(1_170.0), 20)
    first = loop.show(metered(1_670.0))
    settled = loop.show(metered(1_670.0), 300)
    assert first.residual_watts[0] < 50.0
    assert settled.residual_watts[0] == pytest.approx(500.0, rel=0.05)
    assert settled.meter_watts.tolist() == [1_670.0]


def test_a_residual_stays_inside_a_share_of_the_limit() -> None:
    assert Loop().show(metered(1e9), 300).residual_watts.tolist() == [2_000.0]


def test_a_residual_is_never_negative() -> None:
    assert Loop().show(metered(10.0), 300).residual_watts.tolist() == [0.0]


def test_a_residual_stands_still_while_readings_are_stale() -> None:
    loop = Loop()
    loop.show(metered(1_670.0), 100)
    before = loop.show(replace(lost(one_pod()), budgets=metered(1_670.0).budgets), 4)
    after = loop.show(replace(lost(one_pod()), budgets=metered(10.0).budgets), 100)
    assert before.node_rung[0] == Rung.FROZEN
    assert after.residual_watts[0] == before.residual_watts[0] >= 400.0


def test_a_meter_that_is_too_old_gives_way_to_the_sum_over_nodes() -> None:
    assert Loop().show(metered(9_999.0, age=600.0), 5).meter_watts.tolist() == [1170.0]


def test_a_domain_with_many_unknown_nodes_has_no_meter() -> None:
    nodes = node_rows(4, gpu_watts=np.array([600.0, 600.0, 600.0, np.nan]))
    assert np.isnan(Loop().show(readings(nodes), 5).meter_watts).all()


def test_a_wall_meter_sums_platforms() -> None:
    nodes = node_rows(2, platform_watts=floats(2_000.0, 2), platform_age_seconds=floats(5.0, 2))
    charges = Loop().show(readings(nodes, budgets=budget_rows(meter=ints(0, 1))), 5)
    assert charges.meter_watts.tolist() == [4_000.0]


@pytest.mark.parametrize(("age", "watts"), [(100.0, 2_000.0), (130.0, np.nan)])
def test_a_meter_of_machines_that_is_slower_than_their_exporters_is_believed_for_a_while(
    age: float, watts: float
) -> None:
    nodes = node_rows(
        1,
        interval_seconds=floats(5.0, 1),
        platform_watts=floats(2_000.0, 1),
        platform_age_seconds=floats(age, 1),
    )
    charges = Loop().show(readings(nodes, budgets=budget_rows(meter=ints(0, 1))), 5)
    assert charges.node_rung.tolist() == [Rung.FRESH]
    np.testing.assert_equal(charges.meter_watts, [watts])


# Checkpoints


@pytest.mark.parametrize("state", [b"", b"nonsense", PowerModel().dump()[:-4]])
def test_a_damaged_checkpoint_is_refused(state: bytes) -> None:
    with pytest.raises(ModelStateError, match="fresh model"):
        PowerModel.load(state)


def test_a_cluster_without_anything_is_charged_nothing() -> None:
    empty = readings(node_rows(0, kind_names=()), pod_rows(0), service_rows(0, kinds=0, domains=0), budget_rows(0))
    charges = Loop().show(empty, 3)
    assert charges.node_upper_watts.shape == (3, 0)
    assert charges.replica_upper_watts.shape == (3, 0, 0)
    assert charges.pending_unmanaged_watts.tolist() == [0.0, 0.0, 0.0]
