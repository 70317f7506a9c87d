import pytest

from tests.unit.power.readers.series import NOW, ages, by_name, node_cpu, run, series


def redfish(watts: float, *, source: str, kind: str = "PowerControl", node: str = "n1", until: float = NOW):
    labels = {"node_name": node, "bmc_id": "b", "chassis_id": "1", "source_id": source, "source_type": kind}
    return series("kepler_platform_watts", [watts], until=until, labels=labels)


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


@pytest.mark.parametrize("kind", ["PowerControl", "PowerSupply"])
def test_0_watts_is_unknown(kind: str):
    assert by_name(run(redfish(0, source="1", kind=kind)).measurements.node_platform_watts) == {}


def test_a_supply_that_stands_by_draws_0():
    supplies = [redfish(890, source="PSU1", kind="PowerSupply"), redfish(0, source="PSU2", kind="PowerSupply")]
    assert by_name(run(supplies).measurements.node_platform_watts) == {"n1": 890.0}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_control_that_tells_nothing_hides_no_other_of_its_chassis(order: tuple[int, int]):
    controls = [redfish(900, source="PC1"), redfish(0, source="PC2")]
    found = run([controls[at] for at in order])
    assert by_name(found.measurements.node_platform_watts) == {"n1": 900.0}


def test_a_control_that_ended_does_not_outbid_one_that_goes_on():
    ended = redfish(900, source="PC1", until=NOW - 10)
    found = run(ended, redfish(500, source="PC2"))
    assert by_name(found.measurements.node_platform_watts) == {"n1": 500.0}
    assert ages(found.measurements.node_platform_watts) == {"n1": 0.0}
