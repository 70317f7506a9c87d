"""Whether a workload is in the middle of a rollout, when nobody else should take pods away from it."""

from __future__ import annotations

from collections.abc import Iterable

from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.kserve import Workload
from wattkeeper.recommender.templates import template_of


def rolls(workload: Workload, pods: Iterable[Pod]) -> bool:
    """Says whether a workload's pods are being replaced.

    They are from the change of its template on, which its controller may not have seen yet, until no pod of a former
    template is left, those that are about to end included. A LeaderWorkerSet does not say what it has seen, nor does a
    Deployment that has no pod yet.
    """
    seen = workload.status.observed_generation
    if seen and seen < workload.metadata.generation:
        return True
    return len({template_of(pod) for pod in pods}) > 1
