"""Labels and annotations under wattkeeper.dev/ that do not do what they seem to: a warning, whoever's object it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, cast

from admission.nearest import nearest
from admission.problem import Problem
from wattkeeper.api.marks import POLICY_ANNOTATION, Form, Place, misread
from wattkeeper.api.meta import GROUP

_SPOTS: Final[Mapping[tuple[str, str], Mapping[str, Place]]] = {
    ("", "Namespace"): {"metadata": "a namespace"},
    ("apps", "Deployment"): {"metadata": "the workload itself", "spec.template.metadata": "the pod template"},
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): {
        "metadata": "the workload itself",
        "spec.leaderWorkerTemplate.leaderTemplate.metadata": "the leader's pod template",
        "spec.leaderWorkerTemplate.workerTemplate.metadata": "the pod template",
    },
    # KServe copies these into the pod template, of an LLMInferenceService only what its spec says.
    ("serving.kserve.io", "InferenceService"): {
        "metadata": "an InferenceService or one of its components",
        "spec.predictor": "an InferenceService or one of its components",
        "spec.transformer": "an InferenceService or one of its components",
        "spec.explainer": "an InferenceService or one of its components",
    },
    ("serving.kserve.io", "LLMInferenceService"): {
        "metadata": "an LLMInferenceService itself",
        "spec": "spec of an LLMInferenceService, or its prefill",
        "spec.prefill": "spec of an LLMInferenceService, or its prefill",
    },
    (GROUP, "PowerBudget"): {"metadata": "an object of Wattkeeper's own"},
    (GROUP, "PowerCappingPolicy"): {"metadata": "an object of Wattkeeper's own"},
}
"""Where each kind has labels and annotations."""

_FORMS: Final[Mapping[Form, str]] = {"label": "labels", "annotation": "annotations"}


def bears_marks(group: str, kind: str) -> bool:
    """Says whether labels and annotations of a kind are looked at."""
    return (group, kind) in _SPOTS


def mark_problems(group: str, kind: str, given: object, policies: Collection[str]) -> Iterator[Problem]:
    """Yields problems of an object of whatever shape.

    Args:
        group: API group, "" for the core group.
        kind: the object's kind.
        given: the object, as JSON is read.
        policies: names of the policies of its namespace.
    """
    for path, place in _SPOTS[group, kind].items():
        for form, field in _FORMS.items():
            for name, value in _strings(given, f"{path}.{field}").items():
                wrong = misread(form, place, name, value)
                if not wrong and name == POLICY_ANNOTATION and value not in policies:
                    meant = nearest(value, policies)
                    instead = f"write {meant} if you mean that" if meant else "selectors count until there is"
                    wrong = f"no PowerCappingPolicy of the namespace is called {value}: {instead}"
                if wrong:
                    yield Problem(field=f"{path}.{field}", message=f"{name}: {wrong}.")


def _strings(given: object, path: str) -> dict[str, str]:
    """Returns the map of strings at a path, without what is none."""
    for step in path.split("."):
        given = cast("dict[str, Any]", given).get(step) if isinstance(given, dict) else None
    if not isinstance(given, dict):
        return {}
    return {name: value for name, value in cast("dict[str, Any]", given).items() if isinstance(value, str)}
