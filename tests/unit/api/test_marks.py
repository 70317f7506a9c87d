"""Slips of the pen in labels and annotations are noticed, and the right one is offered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.marks import MARKS, PREFIX, Form, Place, misread
from wattkeeper.cluster.actuation import FINALIZER

ROOT = Path(__file__).resolve().parents[3]
WATTS = "wattkeeper.dev/watts-per-replica"
TEMPLATE: Place = "the pod template"
WORKLOAD: Place = "the workload itself"
LLM: Place = "an LLMInferenceService itself"


@pytest.mark.parametrize(
    ("form", "place", "name", "value"),
    [
        ("label", "a namespace", "wattkeeper.dev/admission", "enabled"),
        ("label", "a namespace", "wattkeeper.dev/admission", "disabled"),
        ("label", TEMPLATE, "wattkeeper.dev/capped", "true"),
        ("label", TEMPLATE, "wattkeeper.dev/capped", "false"),
        ("annotation", WORKLOAD, WATTS, "700"),
        ("annotation", TEMPLATE, WATTS, "7e2"),
        ("annotation", WORKLOAD, "example.com/wats", "x"),
        ("annotation", WORKLOAD, "tests.wattkeeper.dev/load-delay", "x"),
        ("label", TEMPLATE, "app", "llm"),
    ],
)
def test_what_counts_and_what_is_not_ours_is_left_alone(form: Form, place: Place, name: str, value: str) -> None:
    assert misread(form, place, name, value) == ""


@pytest.mark.parametrize(
    ("form", "place", "name", "value", "said"),
    [
        (
            "annotation",
            WORKLOAD,
            "wattkeeper.dev/wats-per-replica",
            "7",
            f"unknown annotation: write {WATTS} if you mean that",
        ),
        (
            "label",
            TEMPLATE,
            "wattkeeper.dev/Caped",
            "true",
            "unknown label: write wattkeeper.dev/capped if you mean that",
        ),
        (
            "label",
            "a namespace",
            "wattkeeper.dev/admision",
            "enabled",
            "unknown label: write wattkeeper.dev/admission if you mean that",
        ),
        (
            "annotation",
            WORKLOAD,
            "wattkeeper.dev/priority",
            "5",
            "unknown annotation: spec.priority of a PowerCappingPolicy says that",
        ),
        (
            "label",
            WORKLOAD,
            "wattkeeper.dev/min-replicas",
            "5",
            "unknown label: spec.minReplicas of a PowerCappingPolicy says that",
        ),
        (
            "annotation",
            WORKLOAD,
            "wattkeeper.dev/selector",
            "chat",
            "unknown annotation: spec.selector of a PowerCappingPolicy says that",
        ),
        ("annotation", TEMPLATE, "wattkeeper.dev/x", "", f"unknown annotation: what counts here is {WATTS}"),
        ("label", WORKLOAD, "wattkeeper.dev/x", "", "unknown label: no label of that prefix counts here"),
    ],
)
def test_an_unknown_name_gets_the_nearest_right_one(form: Form, place: Place, name: str, value: str, said: str) -> None:
    assert misread(form, place, name, value) == said


@pytest.mark.parametrize(
    ("form", "place", "name", "said"),
    [
        ("label", WORKLOAD, "wattkeeper.dev/capped", "it counts as a label on the pod template"),
        ("annotation", TEMPLATE, "wattkeeper.dev/capped", "it counts as a label on the pod template"),
        ("label", WORKLOAD, WATTS, "it counts as an annotation on the workload itself"),
        ("annotation", "the leader's pod template", WATTS, "it counts as an annotation on the workload itself"),
        ("annotation", LLM, WATTS, "it counts as an annotation on spec of an LLMInferenceService, or its prefill"),
        ("label", WORKLOAD, "wattkeeper.dev/admission", "it counts as a label on a namespace"),
        ("annotation", "a namespace", "wattkeeper.dev/admission", "it counts as a label on a namespace"),
        ("annotation", TEMPLATE, "wattkeeper.dev/admission", "Wattkeeper writes it on pods: remove it"),
        ("annotation", TEMPLATE, "wattkeeper.dev/predicted-watts", "Wattkeeper writes it on pods: remove it"),
    ],
)
def test_what_does_not_count_where_it_is_gets_the_place_where_it_does(
    form: Form, place: Place, name: str, said: str
) -> None:
    assert misread(form, place, name, "true") == said


@pytest.mark.parametrize("value", ["3kW", "", "-1", "0", "nan", "inf", "1e999", "700 W"])
def test_watts_that_are_no_positive_number_are_to_be_written_as_one(value: str) -> None:
    assert misread("annotation", WORKLOAD, WATTS, value) == "write watts as a positive number, such as 700"


@pytest.mark.parametrize("value", ["yes", "True", "1", ""])
def test_a_switch_that_is_neither_on_nor_off_gets_its_value(value: str) -> None:
    assert misread("label", TEMPLATE, "wattkeeper.dev/capped", value) == 'it counts with the value "true" alone'


@given(
    st.sampled_from(get_args(Form)),
    st.sampled_from(get_args(Place)),
    st.text(max_size=30) | st.sampled_from([mark.name.removeprefix(PREFIX) for mark in MARKS]),
    st.text(max_size=30),
)
def test_whatever_is_written_gets_one_short_line(form: Form, place: Place, suffix: str, value: str) -> None:
    said = misread(form, place, PREFIX + suffix, value)
    assert len(said) < 160
    assert "\n" not in said


def test_no_mark_in_the_sources_is_missing_here() -> None:
    constant = re.compile(r'^\w+(?:: Final)? = "(wattkeeper\.dev/[\w.-]+)"', re.MULTILINE)
    rooms = ("wattkeeper", "scaler", "admission", "kserve_hooks")
    sources = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    written = {name for path in sources for name in constant.findall(path.read_text())}
    assert written == {mark.name for mark in MARKS} | {POWER_GATE, FINALIZER}
