"""The power gate of a new pod. It is added here and nothing is decided: the leader alone grants watts and opens it."""

from __future__ import annotations

from dataclasses import dataclass

from admission.patch import Operation, append, pointer
from admission.pod import AdmittedPod
from wattkeeper.api.admission import POWER_GATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Gating:
    """What happens at the gate.

    Attributes:
        operations: the patch; nothing where the gate stands already, or cannot.
        note: whether the pod waits, and why not where it does not.
    """

    operations: tuple[Operation, ...] = ()
    note: str


def plan_gate(pod: AdmittedPod) -> Gating:
    """Returns what happens at the gate of a pod of an enforced service."""
    if pod.spec.node_name:
        return Gating(note=f"no gate: it is bound to node {pod.spec.node_name}, where a gate is refused")
    note = f"waits for watts at the gate {POWER_GATE}"
    gates = pod.spec.scheduling_gates
    if any(gate.name == POWER_GATE for gate in gates or ()):
        return Gating(note=note)
    added = append(pointer("spec", "schedulingGates"), gates, {"name": POWER_GATE})
    return Gating(operations=(added,), note=note)
