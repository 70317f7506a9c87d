"""`rollout: Replace`: while a rollout lacks the watts of one replica more, a pod of an old template goes first.

A new pod takes over its watts at the gate. So there is one replica fewer for as long as that takes to start, and the
next pod goes once as many are ready again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from kserve_hooks.capped import Capped
from kserve_hooks.pods import ends, is_ready, template_of
from wattkeeper.api.conditions import holds
from wattkeeper.cluster.objects import Deployment, Pod


def replaces(one: Capped) -> bool:
    """Says whether a service's rollout lacks watts, and its policy lets pods go for it."""
    return (
        one.enforced
        and one.policy is not None
        and one.policy.spec.rollout == "Replace"
        and isinstance(one.workload, Deployment)
        and holds(one.recommendation.status.conditions, "RolloutBlocked")
    )


def outdated(pods: Iterable[Pod], known: Collection[str]) -> tuple[str, ...]:
    """Returns the hashes of the templates whose pods go: all but the newest one.

    The newest is the one whose first pod came last. Of an old one a pod may come later than that, in the place of one
    that was evicted: so what is known to be old stays old until one template is left. Where two began in the same
    second nobody can say, and no template is old.

    Args:
        pods: of the service.
        known: what was old in this rollout already.
    """
    began: dict[str, str] = {}
    for pod in pods:
        template, created = template_of(pod), pod.metadata.creation_timestamp
        began[template] = min(began.get(template, created), created)
    candidates = sorted(began.keys() - set(known), key=lambda template: began[template])
    if len(began) < 2 or not candidates:
        return ()
    if len(candidates) > 1 and began[candidates[-1]] == began[candidates[-2]]:
        return tuple(sorted(began.keys() & set(known)))
    return tuple(sorted(began.keys() - {candidates[-1]}))


def next_outdated(one: Capped, pods: Sequence[Pod], old: Collection[str]) -> Pod | None:
    """Returns the pod that goes next, None while there are fewer ready pods than there shall be, or none is left.

    Pods that wait at the gate are no replicas yet, and are not waited for: they wait for this.
    """
    staying = [pod for pod in pods if not ends(pod)]
    wanted = one.recommendation.status.target.replicas
    if one.workload is not None:
        wanted = min(wanted, one.workload.spec.replicas)
    ready = [pod for pod in staying if is_ready(pod)]
    started = [pod for pod in staying if pod.spec.node_name]
    if len(ready) < max(wanted, 1) or len(started) > len(ready) or len(staying) < len(pods):
        return None
    going = [pod for pod in ready if template_of(pod) in old]
    return min(going, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name), default=None)
