"""The webhook for pods: a review in, an answer out, and what is counted about it."""

from __future__ import annotations

import logging

from admission.decide import Decision, decide
from admission.errors import UnreadablePodError
from admission.estimate import Estimates
from admission.metrics import AdmissionMetrics
from admission.pod import read_pod
from admission.review import Answer, Review
from admission.view import AdmissionView
from wattkeeper.cluster.clock import Clock

LOG = logging.getLogger(__name__)


class PodMutator:
    """Answers reviews of new pods from memory."""

    def __init__(self, view: AdmissionView, estimates: Estimates, clock: Clock, metrics: AdmissionMetrics) -> None:
        self._view = view
        self._estimates = estimates
        self._clock = clock
        self._metrics = metrics
        self._known, self._unknown = metrics.estimates.labels("known"), metrics.estimates.labels("unknown")

    def __call__(self, review: Review) -> Answer:
        """Answers one review. Everything but the creation of a pod is let through as it is."""
        kind = (review.kind.group, review.kind.version, review.kind.kind)
        if kind != ("", "v1", "Pod") or review.sub_resource or review.operation != "CREATE":
            return Answer(result="not_asked_for")
        try:
            pod = read_pod(review.object)
        except UnreadablePodError as error:
            LOG.warning("let a pod of %s through unread: %s", review.namespace or "no namespace", error)
            return Answer(result="unreadable")
        decision = decide(pod, review.namespace, self._view, self._estimates, self._clock.now())
        if not review.dry_run:
            self._count(decision)
        return Answer(patch=decision.patch, warnings=decision.warnings, result=decision.outcome)

    def _count(self, decision: Decision) -> None:
        if decision.resized:
            self._metrics.resized.inc()
        if decision.gated:
            self._metrics.gated.inc()
        self._known.inc(decision.estimated)
        self._unknown.inc(decision.unknown)
