import pytest

from tests.unit.power.readers.series import NOW, ages, by_name, counter, node_cpu, pod_cpu, run, series
from wattkeeper.power.readers.samples import Series

H100 = "NVIDIA H100 80GB HBM3"


def gpu(
    uuid: str, watts: float, *, pod: str = "a", host: str = "n1", exported: bool = True, until: float = NOW, **more: str
) -> list[Series]:
    if exported:
        names = {"exported_namespace": "ml", "exported_pod": pod} if pod else {}
        names |= {"namespace": "gpu-operator", "pod": "dcgm-exporter-0"}
    else:
        names = {"namespace": "ml", "pod": pod} if pod else {}
    labels = {"gpu_uuid_dcgm": uuid, "gpu_model": H100, "hostname": host, "instance": "10.0.0.9:9400", **names, **more}
    return [
        counter("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", watts * 1000, until=until, labels=labels),
        series("DCGM_FI_DEV_POWER_USAGE", [watts], until=until, labels=labels),
        series("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", [700], until=until, labels=labels),
    ]


@pytest.mark.parametrize("exported", [True, False])
def test_a_pod_gets_what_lies_above_its_gpus_idle_draw(exported: bool):
    found = run(gpu("GPU-1", 575, exported=exported))
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 575.0}
    assert by_name(found.measurements.node_gpu_idle_watts) == {"n1": 75.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}
    assert by_name(found.measurements.node_gpu_limit_watts) == {"n1": 700.0}


def test_a_gpu_that_no_pod_holds_is_not_the_exporters_own_pods():
    found = run(gpu("GPU-1", 575), gpu("GPU-2", 60, pod=""))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 635.0}
    assert by_name(found.measurements.node_gpu_idle_watts) == {"n1": 135.0}


def test_with_no_gpu_held_at_all_the_exporters_own_pod_gets_nothing():
    assert by_name(run(gpu("GPU-1", 60, pod="")).measurements.pod_gpu_watts) == {}


def test_a_gpu_shared_by_mig_counts_once_and_is_split_by_slices():
    found = run(
        gpu("GPU-1", 575, pod="a", mig_instance="1", mig_profile="3g.40gb"),
        gpu("GPU-1", 575, pod="b", mig_instance="2", mig_profile="1g.10gb"),
    )
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 575.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 375.0, "b": 125.0}


def test_two_exporters_of_one_gpu_count_once():
    found = run(gpu("GPU-1", 575), gpu("GPU-1", 575, job="again"))
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 575.0}


def test_a_pod_that_left_its_gpu_does_not_share_it():
    found = run(gpu("GPU-1", 575, pod="gone", until=NOW - 10), gpu("GPU-1", 575, pod="a"))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}


def test_a_pod_that_is_gone_and_still_named_takes_no_share_of_a_live_one():
    found = run(node_cpu("n1", 200, 100), pod_cpu("a", 30), gpu("GPU-1", 575, pod="gone"), gpu("GPU-1", 575, pod="a"))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}


def test_pods_that_share_a_gpu_and_run_get_equal_shares():
    found = run(
        node_cpu("n1", 200, 100), pod_cpu("a", 30), pod_cpu("b", 30), gpu("GPU-1", 575), gpu("GPU-1", 575, pod="b")
    )
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 250.0, "b": 250.0}


@pytest.mark.parametrize("profile", ["²g.10gb", "0g.10gb", "g.", "big"])
def test_a_profile_that_means_nothing_counts_as_one_slice(profile: str):
    found = run(gpu("GPU-1", 575, mig_instance="1", mig_profile=profile))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}


def test_energy_that_moves_in_steps_is_averaged_between_steps():
    steps = [0, 0, 9_000_000, 9_000_000, 9_000_000, 18_000_000, 18_000_000, 18_000_000, 27_000_000, 27_000_000]
    one = gpu("GPU-1", 600)
    stepping = Series(one[0].labels, [(NOW - 5 * (len(steps) - 1 - at), value) for at, value in enumerate(steps)])
    found = run([stepping, *one[1:]])
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 600.0}
    assert ages(found.measurements.node_gpu_watts) == {"n1": 5.0}


def test_without_two_steps_of_energy_the_gauge_counts():
    one = gpu("GPU-1", 600)
    flat = Series(one[0].labels, [(NOW - 5, 0.0), (NOW, 0.0)])
    assert by_name(run([flat, one[1]]).measurements.node_gpu_watts) == {"n1": 600.0}


def test_a_gpu_without_a_reading_leaves_its_node_unknown():
    silent = series("DCGM_FI_DEV_POWER_USAGE", [0], gpu_uuid_dcgm="GPU-2", hostname="n1", instance="10.0.0.9:9400")
    assert by_name(run(gpu("GPU-1", 575), silent).measurements.node_gpu_watts) == {}


def test_an_exporter_named_after_its_own_pod_is_placed_by_the_pods_it_names():
    found = run(node_cpu("n1", 200, 100), pod_cpu("a", 30), gpu("GPU-1", 575, host="nvidia-dcgm-exporter-abcde"))
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 575.0}


def test_dcgm_counts_and_not_kepler_where_it_covers_a_node():
    labels = {"node_name": "n1", "gpu_uuid": "GPU-1"}
    found = run(
        node_cpu("n1", 200, 100),
        node_cpu("n2", 200, 100),
        pod_cpu("a", 30),
        counter("kepler_node_gpu_joules_total", 999, labels=labels),
        counter("kepler_node_gpu_joules_total", 300, node_name="n2", gpu_uuid="GPU-2"),
        gpu("GPU-1", 575),
    )
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 575.0, "n2": 300.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 500.0}


def test_an_exporter_that_names_no_pods_leaves_gpus_to_kepler():
    labels = {"node_name": "n1", "pod_name": "a", "pod_namespace": "ml", "pod_id": "u", "state": "running"}
    found = run(
        node_cpu("n1", 200, 100),
        pod_cpu("a", 30),
        counter("kepler_node_gpu_joules_total", 400, node_name="n1", gpu_uuid="GPU-1"),
        series("kepler_pod_gpu_watts", [330], labels=labels),
        gpu("GPU-1", 575, pod=""),
    )
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 400.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 330.0}


def test_a_spike_is_clamped_to_the_enforced_limits():
    found = run(gpu("GPU-1", 9000))
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 700.0}
