from tests.unit.power.readers.series import by_name, node_cpu, run, series


def redfish(watts: float, *, source: str, kind: str = "PowerControl", node: str = "n1"):
    labels = {"node_name": node, "bmc_id": "b", "chassis_id": "1", "source_id": source, "source_type": kind}
    return series("kepler_platform_watts", [watts], labels=labels)


def test_several_controls_of_one_chassis_tell_the_same_watts():
    found = run(redfish(900, source="PC1"), redfish(850, source="PC2"))
    assert by_name(found.measurements.node_platform_watts) == {"n1": 900.0}


def test_supplies_are_summed_where_there_is_no_whole():
    supplies = [redfish(450, source="PSU1", kind="PowerSupply"), redfish(440, source="PSU2", kind="PowerSupply")]
    assert by_name(run(supplies).measurements.node_platform_watts) == {"n1": 890.0}
    assert by_name(run(supplies, redfish(880, source="PC1")).measurements.node_platform_watts) == {"n1": 880.0}


def test_ipmi_counts_where_redfish_does_not_tell():
    ipmi = [
        series("ipmi_dcmi_power_consumption_watts", [700], instance="n1:9290"),
        series("ipmi_dcmi_power_consumption_watts", [600], instance="10.0.0.2:9290", node="n2"),
    ]
    found = run(node_cpu("n1", 200, 100), ipmi, redfish(900, source="PC1"))
    assert by_name(found.measurements.node_platform_watts) == {"n1": 900.0, "n2": 600.0}


def test_0_watts_is_unknown():
    assert by_name(run(redfish(0, source="PC1")).measurements.node_platform_watts) == {}
