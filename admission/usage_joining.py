"""Joins what pods use with whose pods they are, and whether they were loading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from admission.usage_model import Sample
from wattkeeper.api.admission import concerned
from wattkeeper.api.readings import PodPhase
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod
from wattkeeper.cluster.usage import PodUsage
from wattkeeper.recommender.pods import phase_of, service_of, unix_seconds


def joined(usage: Iterable[PodUsage], view: View, unjoined: Counter[str]) -> list[Sample]:
    """Returns samples of the pods that the admission plugin is concerned with; all others are passed over.

    Args:
        usage: what pods use.
        view: whose they are.
        unjoined: counts containers of which no sample could be made, by reason: `unknown_pod` (not there, or not seen
            yet), `no_service` (a concerned pod that no Deployment or LeaderWorkerSet owns), `predecessor` (from before
            the pod with that name began).
    """
    samples: list[Sample] = []
    for one in usage:
        pod = view.get(Pod, *one.key)
        if pod is None:
            unjoined["unknown_pod"] += len(one.containers)
            continue
        if not concerned(pod.metadata.labels):
            continue
        service = service_of(pod)
        if service is None:
            unjoined["no_service"] += len(one.containers)
            continue
        # The kubelet's clock, which is also that of the sample.
        if one.timestamp < unix_seconds(pod.status.start_time):
            unjoined["predecessor"] += len(one.containers)
            continue
        loading = _was_loading(pod, one.timestamp)
        samples += [
            Sample(service, used.name, pod.metadata.uid, one.timestamp, used.cores, used.memory_bytes, loading)
            for used in one.containers
        ]
    return samples


def _was_loading(pod: Pod, time: float) -> bool:
    """Says whether a pod was not Ready when a sample was taken, which is up to a minute ago."""
    phase = phase_of(pod)
    if phase is not PodPhase.RUNNING:
        return phase is not PodPhase.TERMINATING
    return any(one.type == "Ready" and time <= unix_seconds(one.last_transition_time) for one in pod.status.conditions)
