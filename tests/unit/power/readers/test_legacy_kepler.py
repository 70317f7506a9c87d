from tests.unit.power.readers.series import by_name, counter, node_cpu, run
from tests.unit.power.readers.test_dcgm import gpu


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
