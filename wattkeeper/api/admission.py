"""What the admission plugin writes on pods and the recommender reads there: names, and which pods are concerned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

POWER_GATE: Final = "wattkeeper.dev/power"
"""Scheduling gate of a pod whose watts are not granted yet. The webhook adds it, the leader removes it."""

ADMISSION_ANNOTATION: Final = "wattkeeper.dev/admission"
"""Pod: what the webhook did to it, and why. Its absence on a concerned pod means that the pod slipped past."""

PREDICTED_WATTS_ANNOTATION: Final = "wattkeeper.dev/predicted-watts"
"""Pod: what it may draw at most, in whole watts, when it was created."""

ADMISSION_LABEL: Final = "wattkeeper.dev/admission"
ADMISSION_ENABLED: Final = "enabled"
"""Namespace: an admin's word that pods in it may be changed and gated."""

CAPPED_LABEL: Final = "wattkeeper.dev/capped"
"""Pod: "true" on the template of plain Deployments and LeaderWorkerSets that are to be concerned."""

INFERENCE_SERVICE_LABEL: Final = "serving.kserve.io/inferenceservice"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
LLM_INFERENCE_SERVICE: Final = "llminferenceservice"


def opted_in(namespace_labels: Mapping[str, str]) -> bool:
    """Says whether an admin let pods of a namespace be changed and gated.

    >>> opted_in({"wattkeeper.dev/admission": "enabled"})
    True
    """
    return namespace_labels.get(ADMISSION_LABEL) == ADMISSION_ENABLED


def concerned(pod_labels: Mapping[str, str]) -> bool:
    """Says whether a pod's own labels bring it before the webhook (the chart's selectors say the same).

    >>> concerned({"serving.kserve.io/inferenceservice": "chat"}), concerned({"app": "web"})
    (True, False)
    """
    return (
        INFERENCE_SERVICE_LABEL in pod_labels
        or pod_labels.get(PART_OF_LABEL) == LLM_INFERENCE_SERVICE
        or pod_labels.get(CAPPED_LABEL) == "true"
    )
