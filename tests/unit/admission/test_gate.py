"""Who is gated, and what the patch for it is."""

from __future__ import annotations

from admission.gate import plan_gate
from admission.patch import Operation
from tests.unit.admission.samples import pod, read

GATE = {"name": "wattkeeper.dev/power"}


def test_a_pod_without_gates_gets_the_list_and_ours_in_it() -> None:
    assert plan_gate(read(pod())).operations == (Operation(op="add", path="/spec/schedulingGates", value=[GATE]),)


def test_others_gates_stay() -> None:
    gating = plan_gate(read(pod(spec={"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]})))
    assert gating.operations == (Operation(op="add", path="/spec/schedulingGates/-", value=GATE),)


def test_a_gate_that_stands_is_not_added_again() -> None:
    assert plan_gate(read(pod(spec={"schedulingGates": [GATE]}))).operations == ()


def test_a_pod_that_names_its_node_is_not_gated_because_the_api_server_would_refuse_it() -> None:
    gating = plan_gate(read(pod(spec={"nodeName": "rack-1"})))
    assert gating.operations == ()
    assert "no gate: it is bound to node rack-1" in gating.note
