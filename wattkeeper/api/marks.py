"""Every label and annotation under `wattkeeper.dev/` that means something: where it counts, and with which values.

Nothing refuses a label that nobody reads, so a slip of the pen goes unnoticed until somebody wonders why nothing
happens. `misread` says what a reader of ours makes of one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from wattkeeper.api.admission import (
    ADMISSION_ANNOTATION,
    ADMISSION_ENABLED,
    ADMISSION_LABEL,
    CAPPED_LABEL,
    PREDICTED_WATTS_ANNOTATION,
)
from wattkeeper.api.meta import GROUP
from wattkeeper.api.power_capping_policy import PowerCappingPolicySpec

PREFIX: Final = f"{GROUP}/"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
WATTS_ANNOTATION: Final = "wattkeeper.dev/watts-per-replica"
"""Workload or pod template: what one replica may draw, in watts. It can only raise what is assumed before measuring."""

POLICY_ANNOTATION: Final = "wattkeeper.dev/policy"
"""Workload or KServe service: the policy that caps it, whatever selectors say."""

Form = Literal["label", "annotation"]
Place = Literal[
    "a namespace",
    "a pod",
    "the workload itself",
    "the pod template",
    "the leader's pod template",
    "an InferenceService or one of its components",
    "an LLMInferenceService itself",
    "spec of an LLMInferenceService, or its prefill",
    "an object of Wattkeeper's own",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One label or annotation.

    Attributes:
        places: where it counts, the most usual first.
        wrong: says what is wrong with a value and what to write instead, "" for a good one.
        ours: Wattkeeper writes it, and nobody else should.
    """

    name: str
    form: Form
    places: tuple[Place, ...]
    wrong: Callable[[str], str]
    ours: bool = False


def watts_of(text: str) -> float:
    """Returns an annotation's watts, NaN for what is no positive number.

    >>> watts_of("700.5"), watts_of("3kW")
    (700.5, nan)
    """
    try:
        watts = float(text)
    except ValueError:
        return math.nan
    return watts if math.isfinite(watts) and watts > 0 else math.nan


def _wrong_watts(text: str) -> str:
    return "write watts as a positive number, such as 700" if math.isnan(watts_of(text)) else ""


def _wrong_policy(text: str) -> str:
    return "" if _NAME.fullmatch(text) else "write the name of a PowerCappingPolicy of the same namespace"


def _switch(on: str, off: str) -> Callable[[str], str]:
    """Whoever writes the opposite knows what he says; anything else was meant to be one of both."""
    return lambda text: "" if text in (on, off) else f'it counts with the value "{on}" alone'


MARKS: Final[tuple[Mark, ...]] = (
    Mark(name=ADMISSION_LABEL, form="label", places=("a namespace",), wrong=_switch(ADMISSION_ENABLED, "disabled")),
    Mark(
        name=CAPPED_LABEL,
        form="label",
        places=(
            "the pod template",
            "the leader's pod template",
            "a pod",
            "an InferenceService or one of its components",
            "spec of an LLMInferenceService, or its prefill",
        ),
        wrong=_switch("true", "false"),
    ),
    Mark(
        name=WATTS_ANNOTATION,
        form="annotation",
        places=(
            "the workload itself",
            "the pod template",
            "an InferenceService or one of its components",
            "spec of an LLMInferenceService, or its prefill",
        ),
        wrong=_wrong_watts,
    ),
    Mark(
        name=POLICY_ANNOTATION,
        form="annotation",
        places=(
            "the workload itself",
            "an InferenceService or one of its components",
            "an LLMInferenceService itself",
        ),
        wrong=_wrong_policy,
    ),
    Mark(name=ADMISSION_ANNOTATION, form="annotation", places=("a pod",), wrong=lambda _: "", ours=True),
    Mark(name=PREDICTED_WATTS_ANNOTATION, form="annotation", places=("a pod",), wrong=lambda _: "", ours=True),
)

_POLICY_FIELDS: Final = {
    field.replace("_", "-"): f"spec.{wire}"
    for field, wire in zip(
        PowerCappingPolicySpec.__struct_fields__, PowerCappingPolicySpec.__struct_encode_fields__, strict=True
    )
}
"""What a policy says and no label or annotation does, by the name that one would give it."""


def misread(form: Form, place: Place, name: str, value: str) -> str:
    """Says why a label or annotation does not do what it seems to, and what to do; "" where it does, or is not ours.

    >>> misread("annotation", "the workload itself", "wattkeeper.dev/wats-per-replica", "700")
    'unknown annotation: write wattkeeper.dev/watts-per-replica if you mean that'
    """
    if not name.startswith(PREFIX):
        return ""
    named = [mark for mark in MARKS if mark.name == name]
    if not named:
        return f"unknown {form}: {_instead(form, place, name.removeprefix(PREFIX))}"
    here = [mark for mark in named if place in mark.places]
    exact = next((mark for mark in here if mark.form == form), None)
    if exact is not None:
        return exact.wrong(value)
    likeliest = next(iter(here), None) or next((mark for mark in named if mark.form == form), named[0])
    if likeliest.ours:
        return "Wattkeeper writes it on pods: remove it"
    article = "an" if likeliest.form == "annotation" else "a"
    return f"it counts as {article} {likeliest.form} on {_place(likeliest, place)}"


def _place(mark: Mark, near: Place) -> Place:
    """Returns where to put a mark that does not count where it is."""
    if near in mark.places:
        return near
    passed_on: Place = "spec of an LLMInferenceService, or its prefill"
    return passed_on if near == "an LLMInferenceService itself" and passed_on in mark.places else mark.places[0]


def _instead(form: Form, place: Place, suffix: str) -> str:
    """Offers the nearest name. Names that count here come first, whatever resembles more elsewhere."""
    free = [mark for mark in MARKS if not mark.ours]
    here = [mark.name for mark in free if mark.form == form and place in mark.places]
    for names in (here, [mark.name for mark in free]):
        nearest = difflib.get_close_matches(suffix.lower(), [name.removeprefix(PREFIX) for name in names], n=1)
        if nearest:
            return f"write {PREFIX}{nearest[0]} if you mean that"
    if suffix in _POLICY_FIELDS:
        return f"{_POLICY_FIELDS[suffix]} of a PowerCappingPolicy says that"
    return f"what counts here is {', '.join(here)}" if here else f"no {form} of that prefix counts here"
