"""The exporter's figures, without a control plane: what pods draw, and how Kepler would show it."""

from __future__ import annotations

import re

import pytest

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.draw import CPU_WATTS, IDLE_WATTS, LOAD_WATTS, LOADING_WATTS, Fleet
from tests.cluster.controlplane.exposition import RAPL_RANGE_JOULES, dcgm, kepler, vllm

FIGURES = {IDLE_WATTS: "100", LOAD_WATTS: "200", LOADING_WATTS: "150", CPU_WATTS: "20"}


def _node() -> Object:
    return {"metadata": {"name": "n1"}, "status": {"capacity": {"nvidia.com/gpu": "2"}}}


def _pod(name: str, *, ready: bool = True, deleted: bool = False, gpus: int = 1, running: bool = True) -> Object:
    meta: Object = {"uid": name, "name": name, "namespace": "team", "labels": {"app": "llm"}, "annotations": FIGURES}
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    state: Object = {"running": {}} if running else {"terminated": {}}
    return {
        "metadata": meta,
        "spec": {"nodeName": "n1", "containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]},
        "status": {
            "containerStatuses": [{"state": state}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet(0.0)
    fleet.see_node("ADDED", _node(), 0.0)
    return fleet


def _watts(fleet: Fleet, name: str) -> float:
    return fleet.pods[name].cpu_watts + fleet.pods[name].gpu_watts


def _value(text: str, name: str, **labels: str) -> float | None:
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}{{(.*)}} (.*)", line)
        if found and all(f'{key}="{value}"' in found[1] for key, value in labels.items()):
            return float(found[2])
    return None


def test_a_loading_pod_draws_its_loading_share_and_takes_no_demand(fleet: Fleet) -> None:
    fleet.set_demand("team", "llm", 5, 0.0)
    fleet.see_pod("ADDED", _pod("a", ready=False), 0.0)
    assert _watts(fleet, "a") == 170.0
    assert "vllm" not in vllm(fleet)


def test_ready_pods_share_the_demand_of_their_service_equally(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a"), 0.0)
    fleet.see_pod("ADDED", _pod("b"), 0.0)
    fleet.set_demand("team", "llm", 24, 0.0)
    assert [_watts(fleet, "a"), _watts(fleet, "b")] == [320.0, 320.0]
    assert _value(vllm(fleet), "vllm:num_requests_waiting", pod="a") == 2.0


def test_a_terminating_pod_keeps_its_draw_while_the_rest_take_its_demand(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a"), 0.0)
    fleet.see_pod("ADDED", _pod("b"), 0.0)
    fleet.set_demand("team", "llm", 8, 0.0)
    fleet.see_pod("MODIFIED", _pod("a", deleted=True), 1.0)
    assert [_watts(fleet, "a"), _watts(fleet, "b")] == [200.0, 280.0]


def test_a_pod_whose_containers_have_exited_draws_nothing(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a"), 0.0)
    fleet.see_pod("MODIFIED", _pod("a", running=False), 1.0)
    fleet.advance(2.0)
    assert fleet.nodes["n1"].watts == 60.0 + 2 * 25.0


def test_joules_are_the_integral_of_watts(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a", ready=False), 0.0)
    fleet.see_pod("MODIFIED", _pod("a"), 10.0)
    fleet.advance(15.0)
    assert fleet.pods["a"].gpu.joules == 150.0 * 10 + 100.0 * 5


def test_the_first_reading_of_a_pod_is_zero_watts(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a"), 0.5)
    fleet.advance(1.0)
    assert _value(kepler(fleet), "kepler_pod_cpu_watts", pod_name="a", zone="package") == 0.0
    fleet.advance(2.0)
    assert _value(kepler(fleet), "kepler_pod_cpu_watts", pod_name="a", zone="package") == pytest.approx(17.0)


def test_a_pod_without_gpu_draw_has_no_gpu_series(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a", gpus=0), 0.0)
    fleet.advance(1.0)
    fleet.advance(2.0)
    assert "kepler_pod_gpu_watts" not in kepler(fleet)
    assert _value(kepler(fleet), "kepler_node_gpu_watts", gpu="0") == 25.0


def test_each_gpu_belongs_to_one_pod(fleet: Fleet) -> None:
    fleet.see_pod("ADDED", _pod("a"), 0.0)
    fleet.see_pod("ADDED", _pod("b", ready=False), 0.0)
    fleet.advance(1.0)
    fleet.advance(2.0)
    text = dcgm(fleet)
    assert _value(text, "DCGM_FI_DEV_POWER_USAGE", gpu="0", pod="a") == 125.0
    assert _value(text, "DCGM_FI_DEV_POWER_USAGE", gpu="1", pod="b") == 175.0


def test_the_nodes_register_wraps_and_its_parts_do_not(fleet: Fleet) -> None:
    fleet.nodes["n1"].unmanaged_watts = 1000.0
    fleet.advance(100.0)
    text = kepler(fleet)
    total = _value(text, "kepler_node_cpu_joules_total", zone="package")
    assert total is not None
    assert total < RAPL_RANGE_JOULES - 30_000.0
    assert _value(text, "kepler_node_cpu_active_joules_total", zone="package") == pytest.approx(85_000.0)


def test_a_spike_is_in_the_readings_alone(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    node.spike_watts, node.spike_until = 9000.0, 5.0
    fleet.advance(1.0)
    fleet.advance(2.0)
    assert _value(kepler(fleet), "kepler_node_cpu_active_watts", zone="package") == pytest.approx(0.85 * 9000.0)
    assert node.watts == 110.0
