"""The pods of each service, as a view shows them: joined once a pass, and only in a pass that asks."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from wattkeeper.api.readings import PodPhase, ServiceKey
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import FINISHED, phase_of, service_of

_HIGHEST_COST: Final = 2**31 - 1


class ServicePods:
    """Looks up pods for one pass. Finished ones are left out: nothing about them can be changed any more."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._by_service: dict[ServiceKey, list[Pod]] | None = None

    def of(self, service: ServiceKey) -> list[Pod]:
        """Returns the pods of a service, those that are about to end included, by name."""
        if self._by_service is None:
            self._by_service = self._joined()
        return self._by_service.get(service, [])

    def by_uid(self, uid: str) -> Pod | None:
        """Returns this very pod, None where it is gone, whoever has its name now."""
        return self._view.all(Pod).get(uid)

    def _joined(self) -> dict[ServiceKey, list[Pod]]:
        found: dict[ServiceKey, list[Pod]] = defaultdict(list)
        for pod in self._view.all(Pod).values():
            service = service_of(pod)
            if service is not None and pod.status.phase not in FINISHED:
                found[service].append(pod)
        for pods in found.values():
            pods.sort(key=lambda pod: pod.metadata.name)
        return found


def is_ready(pod: Pod) -> bool:
    """Says whether a pod serves, and is not about to end."""
    return phase_of(pod) is PodPhase.RUNNING


def ends(pod: Pod) -> bool:
    """Says whether a pod is about to end."""
    return bool(pod.metadata.deletion_timestamp)


def cost_of(pod: Pod) -> int:
    """Returns a pod's deletion cost, as Kubernetes reads it: 0 where it is absent or no 32-bit number."""
    text = pod.metadata.annotations.get(DELETION_COST, "")
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdecimal():
        return 0
    cost = int(text)
    return cost if -_HIGHEST_COST - 1 <= cost <= _HIGHEST_COST else 0
