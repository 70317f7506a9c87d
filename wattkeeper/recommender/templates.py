"""Which of a workload's templates a pod was made from, and which of them a rollout leaves behind."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import LWS_REVISION_LABEL, TEMPLATE_HASH_LABEL


def template_of(pod: Pod) -> str:
    """Returns the hash of the template that a pod was made from, as its controller wrote it on the pod."""
    labels = pod.metadata.labels
    return labels.get(TEMPLATE_HASH_LABEL) or labels.get(LWS_REVISION_LABEL, "")


def outdated_templates(pods: Iterable[Pod], known: Collection[str]) -> frozenset[str]:
    """Returns the hashes of all templates but the newest: the one whose first pod came last.

    Of an old template a pod may come later than that, in the place of one that went: so what is known to be old stays
    old until one template is left. Where two began in the same second nobody can say, and neither is old.

    Args:
        pods: of one service, those that are about to end included.
        known: what was old in this rollout already.
    """
    began: dict[str, str] = {}
    for pod in pods:
        template, created = template_of(pod), pod.metadata.creation_timestamp
        began[template] = min(began.get(template, created), created)
    candidates = sorted(began.keys() - set(known), key=lambda template: began[template])
    if len(began) < 2 or not candidates:
        return frozenset()
    latest = {template for template in candidates if began[template] == began[candidates[-1]]}
    return frozenset(began.keys() - latest)
