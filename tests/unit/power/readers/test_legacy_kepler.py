from tests.unit.power.readers.series import ages, by_name, counter, node_cpu, run, series
from tests.unit.power.readers.test_dcgm import gpu

MODES = ("dynamic", "idle")


def node(part: str, mode: str, watts: float, **labels: str):
    where = labels or {"exported_instance": "n1", "instance": "10.0.0.9:9102"}
    return counter(f"kepler_node_{part}_joules_total", watts, mode=mode, labels=where)


def container(part: str, watts: float, *, mode: str = "dynamic", name: str = "server"):
    return counter(
        f"kepler_container_{part}_joules_total",
        watts,
        mode=mode,
        container_namespace="ml",
        pod_name="a",
        container_name=name,
    )


def test_nodes_are_package_and_dram_by_the_exporters_own_instance():
    found = run(node("package", "dynamic", 200), node("package", "idle", 100), node("dram", "dynamic", 20))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 320.0}
    assert by_name(found.measurements.node_cpu_idle_watts) == {"n1": 100.0}


def test_an_honoured_instance_names_the_node_too():
    found = run(node("package", "dynamic", 200, instance="n1"))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 200.0}


def test_pods_are_their_containers_dynamic_package_and_dram():
    found = run(
        container("package", 20), container("package", 5, name="proxy"), container("dram", 2),
        container("package", 50, mode="idle"),
    )  # fmt: skip
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 27.0}


def test_the_total_that_holds_gpus_is_never_added_to_dcgm():
    found = run(
        container("package", 20),
        container("gpu", 300),
        counter("kepler_container_joules_total", 320, mode="dynamic", container_namespace="ml", pod_name="a"),
        gpu("GPU-1", 410, exported=False),
    )
    assert by_name(found.measurements.pod_cpu_watts) == {"a": 20.0}
    assert by_name(found.measurements.pod_gpu_watts) == {"a": 335.0}


def test_newer_kepler_wins_where_both_run():
    found = run(node("package", "dynamic", 900), node_cpu("n1", 200, 100))
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 300.0}


def test_system_processes_are_no_pod():
    system = counter(
        "kepler_container_package_joules_total", 50, mode="dynamic", container_namespace="system",
        pod_name="system_processes",
    )  # fmt: skip
    assert by_name(run(system).measurements.pod_cpu_watts) == {}


def stopping(metric: str, values: list[float], mode: str, **more: str):
    return series(metric, values, mode=mode, labels={"instance": "10.0.0.9:9102", **more})


def test_a_frozen_exporter_grows_old_and_its_pods_are_unknown():
    values = [0.0, 500.0, 500.0, 500.0, 500.0]
    found = run(
        [stopping("kepler_node_package_joules_total", values, mode, exported_instance="n1") for mode in MODES],
        stopping("kepler_container_package_joules_total", values, "dynamic", container_namespace="ml", pod_name="a"),
    )
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 200.0}
    assert ages(found.measurements.node_cpu_watts) == {"n1": 15.0}
    assert by_name(found.measurements.pod_cpu_watts) == {}
    assert "no longer advance" in " ".join(found.measurements.problems)


def test_an_exporter_that_stood_still_in_the_whole_window_is_unknown_and_not_0():
    values = [500.0, 500.0, 500.0, 500.0]
    found = run(
        [stopping("kepler_node_package_joules_total", values, mode, exported_instance="n1") for mode in MODES],
        stopping("kepler_container_package_joules_total", values, "dynamic", container_namespace="ml", pod_name="a"),
    )
    assert by_name(found.measurements.node_cpu_watts) == {}
    assert by_name(found.measurements.pod_cpu_watts) == {}


def test_an_idle_draw_that_is_not_told_does_not_hide_what_is():
    found = run(
        stopping("kepler_node_package_joules_total", [0.0, 0.0, 0.0], "idle", exported_instance="n1"),
        node("package", "dynamic", 200),
    )
    assert by_name(found.measurements.node_cpu_watts) == {"n1": 200.0}
    assert by_name(found.measurements.node_cpu_idle_watts) == {}
