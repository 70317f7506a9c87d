"""The twin's HPA and KEDA against recordings of the real ones.

recorded_hpa.json is written by tests/cluster/record_hpa.py, whose docstring says what its fields mean. The HPA's syncs
are replayed at the moments when the real ones asked for the metric (`answered`), and the replicas that follow must be
those that the real Deployment had (`spec_replicas`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wattkeeper.simulation.hpa import Hpa, HpaSpec, parse_behavior

RECORDING: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_hpa.json").read_text())
# What KEDA alone does: test_autoscaler.py replays it through the simulated KEDA.
OF_KEDA = {"zero-and-back", "paused-at-a-number"}
SCENARIOS: dict[str, dict[str, Any]] = {one["name"]: one for one in RECORDING["scenarios"]}
# The twin refuses ScaledObjects with several triggers, unless a formula makes one metric of them.
SEVERAL = {name for name, one in SCENARIOS.items() if len(one["metrics"]) > 1 and not one["formula"]}
# An answer to an HPA sync and the change that it causes lie within this many seconds in the recording.
TOGETHER_SECONDS = 1.0


def _script_at(scenario: dict[str, Any], moment: float) -> dict[str, Any]:
    """Returns bounds and metrics in force at a moment."""
    state: dict[str, Any] = {"minimum": scenario["minimum"], "maximum": scenario["maximum"], "failing": False}
    for change in scenario["script"]:
        if change["at_seconds"] > moment:
            break
        patch = change.get("scaled_object", {}).get("spec", {})
        state["minimum"] = patch.get("minReplicaCount", state["minimum"])
        state["maximum"] = patch.get("maxReplicaCount", state["maximum"])
        state["maximum"] = change.get("autoscaler", {}).get("spec", {}).get("maxReplicas", state["maximum"])
        state["failing"] = change.get("failing", state["failing"])
    return state


def _syncs(scenario: dict[str, Any]) -> list[tuple[float, float | None]]:
    """Returns (moment, value) of each HPA sync: where the metric was asked for, and where it could not be had.

    A sync that finds replicas outside the bounds asks for nothing; such a one is where replicas changed unasked.
    """
    by_moment: dict[float, dict[str, float]] = {}
    for moment, metric, value in scenario["answered"]:
        by_moment.setdefault(moment, {})[metric] = value
    syncs: list[tuple[float, float | None]] = [(moment, min(values.values())) for moment, values in by_moment.items()]
    unasked = [
        (moment, None)
        for moment, _ in scenario["spec_replicas"][1:]
        if not any(0 <= moment - asked <= TOGETHER_SECONDS for asked, _ in syncs)
    ]
    return sorted([*syncs, *unasked], key=lambda sync: sync[0])


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - OF_KEDA - SEVERAL))
def test_replicas_go_as_they_went_in_the_recording(name: str) -> None:
    scenario = SCENARIOS[name]
    behavior = parse_behavior({"horizontalPodAutoscalerConfig": {"behavior": scenario["behavior"]}})
    hpa = Hpa()
    replicas = scenario["replicas"]
    seen = [replicas]
    for moment, value in _syncs(scenario):
        state = _script_at(scenario, moment)
        spec = HpaSpec(minimum=max(state["minimum"], 1), maximum=state["maximum"], target=1.0, behavior=behavior)
        wanted = hpa.sync(
            spec, None if state["failing"] else value, replicas=replicas, status_replicas=replicas, now=moment
        )
        if wanted != replicas:
            seen.append(wanted)
        replicas = wanted

    assert seen == [count for _, count in scenario["spec_replicas"]]


def test_few_recorded_scenarios_are_left_to_others() -> None:
    assert len(SCENARIOS.keys() - OF_KEDA - SEVERAL) >= 20
    assert SCENARIOS.keys() >= OF_KEDA
