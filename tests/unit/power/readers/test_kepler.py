import msgspec
import pytest

from tests.unit.power.readers.series import NOW, ages, by_name, counter, node_cpu, pod_cpu, run, series
from wattkeeper.power.readers import kepler
from wattkeeper.power.readers.settings import ReaderSettings


def test_nodes_draw_active_and_idle_of_package_and_dram():
    found = run(node_cpu("n1", 200, 100), node_cpu("n1", 20, 10, zone="dram"), node_cpu("n1", 90, 50, zone="core"))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 330.0}
    assert by_name(found.measurements.node_cpu_idle_watts) == {"n1": 110.0}


def test_psys_is_read_alone():
    found = run(node_cpu("n1", 200, 100), node_cpu("n1", 300, 150, zone="psys"), settings=ReaderSettings(zones="psys"))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 450.0}


def test_the_wrapping_register_is_not_read():
    wrapped = series("kepler_node_cpu_joules_total", [262_000, 500], node_name="n1", zone="package", path="package")
    assert by_name(run(wrapped, node_cpu("n1", 200, 100)).measurements.node_cpu_watts) == {"n1": 300.0}


def test_biased_gauges_of_watts_are_not_read():
    gauges = [
        series("kepler_node_cpu_watts", [0], node_name="n1", zone="package"),
        series("kepler_pod_cpu_watts", [900], node_name="n1", pod_name="a", pod_namespace="ml", state="running"),
    ]
    found = run(gauges, node_cpu("n1", 200, 100), pod_cpu("a", 30))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 300.0}
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 30.0}


def test_a_busy_node_without_idle_joules_is_still_read():
    assert by_name(run(node_cpu("n1", 200, 0)).measurements.node_cpu_watts) == {"n1": 200.0}


def test_an_exporter_scraped_by_two_jobs_counts_once():
    once = [*node_cpu("n1", 200, 100), pod_cpu("a", 30)]
    twice = [one._replace(labels=msgspec.structs.replace(one.labels, job="again")) for one in once]
    found = run(once, twice)
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 300.0}
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 30.0}


def test_a_pods_reset_counter_gives_no_spike():
    labels = {"node_name": "n1", "pod_name": "a", "pod_namespace": "ml", "pod_id": "u", "state": "running"}
    reset = series("kepler_pod_cpu_joules_total", [1000, 1100, 20, 120], zone="package", labels=labels)
    assert by_name(run(reset).measurements.pod_cpu_watts) == {"a": 20.0}


def test_a_counter_that_drops_to_a_high_value_gives_no_spike():
    labels = {"node_name": "n1", "pod_name": "a", "pod_namespace": "ml", "pod_id": "u", "state": "running"}
    glitch = series(
        "kepler_pod_cpu_joules_total", [1_000_000, 1_000_100, 900_000, 900_100], zone="package", labels=labels
    )
    assert by_name(run(glitch).measurements.pod_cpu_watts) == {"a": 20.0}


def test_terminated_pods_are_left_out():
    found = run(pod_cpu("a", 30), pod_cpu("a", 50, state="terminated"), pod_cpu("b", 50, state="terminated"))
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 30.0}


def test_a_pod_seen_once_is_unknown_not_zero():
    assert by_name(run(pod_cpu("a", 30, samples=1)).measurements.pod_cpu_watts) == {}


def test_a_pod_that_has_just_begun_is_not_understated():
    assert by_name(run(pod_cpu("a", 30, samples=2)).measurements.pod_cpu_watts) == {"a": 30.0}


def test_one_unknown_zone_leaves_the_pod_unknown():
    found = run(pod_cpu("a", 30), pod_cpu("a", 3, zone="dram", samples=1))
    assert by_name(found.measurements.pod_cpu_watts) == {}


def test_a_predecessor_of_the_same_name_does_not_count():
    found = run(pod_cpu("a", 30, pod_id="old", until=NOW - 10), pod_cpu("a", 40, pod_id="new"))
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 40.0}


def test_ages_are_those_of_the_samples():
    found = run(node_cpu("n1", 200, 100, until=NOW - 7), pod_cpu("a", 30, until=NOW - 7))
    assert ages(found.measurements.node_cpu_watts) == {"n1": 7.0}
    assert ages(found.measurements.pod_cpu_watts) == {"a": 7.0}


def test_a_frozen_kepler_grows_old_and_its_pods_are_unknown():
    def frozen(metric: str):
        return series(metric, [0, 500, 500, 500, 500], node_name="n1", zone="package", path="package")

    found = run(
        frozen("kepler_node_cpu_active_joules_total"), frozen("kepler_node_cpu_idle_joules_total"), pod_cpu("a", 0)
    )
    assert ages(found.measurements.node_cpu_watts) == {"n1": 15.0}
    assert by_name(found.measurements.pod_cpu_watts) == {}
    assert "no longer advance" in " ".join(found.measurements.problems)


def still(metric: str, **labels: str):
    """A counter that stood still in the whole window."""
    return series(metric, [500, 500, 500, 500], node_name="n1", labels=labels)


def test_pods_of_a_frozen_kepler_are_unknown_beside_a_source_that_is_slow():
    stopped = [still(name, zone="package", path="package") for name in kepler.NODE_METRICS[:2]]
    found = run(stopped, pod_cpu("a", 0), interval=30.0)
    assert by_name(found.measurements.node_cpu_watts) == {}
    assert by_name(found.measurements.pod_cpu_watts) == {}
    assert "no longer advance" in " ".join(found.measurements.problems)


def test_gauges_of_a_frozen_kepler_do_not_stand_in_for_its_counters():
    stopped = [still(name, zone="package", path="package") for name in kepler.NODE_METRICS[:2]]
    gpus = [still("kepler_node_gpu_joules_total", gpu_uuid="G"), still("kepler_node_gpu_watts", gpu_uuid="G")]
    assert by_name(run(stopped, gpus).measurements.node_gpu_watts) == {}


def test_a_zone_without_its_idle_joules_leaves_the_node_unknown():
    package, dram = node_cpu("n1", 200, 100), node_cpu("n1", 20, 10, zone="dram")
    assert by_name(run(package, dram[:1]).measurements.node_cpu_watts) == {}


def test_a_kepler_that_answers_without_power_series_yields_nothing():
    found = run(series("kepler_build_info", [1, 1, 1], version="v0.11.3"))
    assert by_name(found.measurements.node_cpu_watts) == {}


@pytest.mark.parametrize("watts", [9_000, 300_000])
def test_spikes_are_clamped_to_the_nodes_limit_and_said(watts: float):
    found = run(node_cpu("n1", watts, 0), settings=ReaderSettings(node_cpu_limit_watts=1500.0))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 1500.0}
    assert "clamped" in " ".join(found.measurements.problems)


def test_labels_renamed_by_a_scrape_configuration_are_read():
    labels = {
        "exported_pod_name": "a",
        "exported_pod_namespace": "ml",
        "pod_name": "kepler-x",
        "pod_namespace": "kepler",
    }
    one = counter("kepler_pod_cpu_joules_total", 30, zone="package", state="running", node_name="n1", labels=labels)
    assert by_name(run(one).measurements.pod_cpu_watts) == {"a": 30.0}


def gpu(node: str = "n1", watts: float = 400.0, idle: float = 70.0):
    labels = {"node_name": node, "gpu": "0", "gpu_uuid": f"GPU-{node}"}
    return [
        counter("kepler_node_gpu_joules_total", watts, labels=labels),
        series("kepler_node_gpu_watts", [watts], labels=labels),
        series("kepler_node_gpu_idle_watts", [idle], labels=labels),
    ]


def pod_gpu(pod: str, watts: float, *, until: float = NOW):
    labels = {"node_name": "n1", "pod_name": pod, "pod_namespace": "ml", "pod_id": f"uid-{pod}", "state": "running"}
    return series("kepler_pod_gpu_watts", [watts], until=until, labels=labels)


def test_gpu_watts_of_nodes_hold_idle_and_those_of_pods_do_not():
    found = run(node_cpu("n1", 200, 100), gpu(), pod_cpu("a", 30), pod_gpu("a", 330))
    assert by_name(found.measurements.node_gpu_watts) == {"n1": 400.0}
    assert by_name(found.measurements.node_gpu_idle_watts) == {"n1": 70.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 330.0}


def test_without_a_gpu_series_a_fresh_pod_draws_0_where_kepler_sees_the_gpus():
    found = run(node_cpu("n1", 200, 100), gpu(), pod_cpu("a", 30), pod_gpu("a", 330), pod_cpu("b", 5))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 330.0, "b": 0.0}


def test_without_a_gpu_series_a_pod_is_unknown_where_kepler_sees_no_gpus():
    found = run(node_cpu("n1", 200, 100), pod_cpu("a", 30))
    assert by_name(found.measurements.pod_gpu_watts) == {}


def test_a_gpu_series_that_ended_means_0_and_not_its_last_value():
    found = run(node_cpu("n1", 200, 100), gpu(), pod_cpu("a", 30), pod_gpu("a", 330, until=NOW - 10))
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 0.0}


def test_a_first_gpu_reading_of_0_watts_is_unknown():
    first = series("kepler_node_gpu_watts", [0], node_name="n1", gpu_uuid="GPU-n1")
    assert by_name(run(first).measurements.node_gpu_watts) == {}
