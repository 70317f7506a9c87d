"""`rollout: Replace`: while a rollout lacks the watts of one replica more, a pod of an old template goes first.

A new pod takes over its watts at the gate. So there is one replica fewer for as long as that takes to start, and the
next pod goes once as many are ready again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kserve_hooks.capped import Capped
from kserve_hooks.pods import ends, is_ready
from wattkeeper.api.conditions import holds
from wattkeeper.api.readings import PodPhase
from wattkeeper.cluster.objects import Deployment, Pod
from wattkeeper.recommender.pods import phase_of
from wattkeeper.recommender.templates import template_of


def replaces(one: Capped) -> bool:
    """Says whether a service's rollout lacks watts, and its policy lets pods go for it.

    Old readings open the gate to nobody: who went then would have gone for nothing.
    """
    said = one.recommendation.status.conditions
    return (
        one.enforced
        and one.policy is not None
        and one.policy.spec.rollout == "Replace"
        and isinstance(one.workload, Deployment)
        and holds(said, "RolloutBlocked")
        and not holds(said, "TelemetryStale")
    )


def next_outdated(one: Capped, pods: Sequence[Pod], old: Collection[str]) -> Pod | None:
    """Returns the pod that goes next, None while there are fewer ready pods than there shall be, or none is left.

    Pods that wait at the gate are no replicas yet, and are not waited for: they wait for this. One of them has to be of
    the new template: a controller makes the next one only a moment after the last one is ready, and until then the
    watts would let out the successor of an old pod.
    """
    staying = [pod for pod in pods if not ends(pod)]
    wanted = one.recommendation.status.target.replicas
    if one.workload is not None:
        wanted = min(wanted, one.workload.spec.replicas)
    ready = [pod for pod in staying if is_ready(pod)]
    started = [pod for pod in staying if pod.spec.node_name]
    if len(ready) < max(wanted, 1) or len(started) > len(ready) or len(staying) < len(pods):
        return None
    if not any(phase_of(pod) is PodPhase.GATED and template_of(pod) not in old for pod in staying):
        return None
    going = [pod for pod in ready if template_of(pod) in old]
    return min(going, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name), default=None)
