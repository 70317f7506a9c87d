"""Whose pods were those that Prometheus remembers? Most are gone, and only their names are left."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from wattkeeper.api.admission import concerned
from wattkeeper.api.readings import PodKey, ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet, Pod
from wattkeeper.recommender.pods import service_of

# Kubernetes makes template hashes and random suffixes of these (apimachinery, util/rand: SafeEncodeString).
_RANDOM: Final = "[bcdfghjklmnpqrstvwxz2456789]"
_OF_DEPLOYMENT: Final = re.compile(f"(.+)-{_RANDOM}{{1,10}}-{_RANDOM}{{5}}")
_OF_GROUP: Final = re.compile(r"(.+?)-\d+")
_OF_WORKER: Final = re.compile(r"(.+?)-\d+-\d+")


class Owner(NamedTuple):
    """Whose a pod is.

    Attributes:
        uid: the pod's; its name where it is gone.
    """

    service: ServiceKey
    uid: str


class Owners:
    """Services that the admission plugin is concerned with, and their pods."""

    def __init__(self, view: View) -> None:
        """Looks at what is there now."""
        self._pods: dict[PodKey, Owner] = {}
        self._services: set[ServiceKey] = set()
        for pod in view.all(Pod).values():
            service = service_of(pod) if concerned(pod.metadata.labels) else None
            if service is not None:
                self._services.add(service)
                self._pods[PodKey(pod.metadata.namespace, pod.metadata.name)] = Owner(service, pod.metadata.uid)
        for deployment in view.all(Deployment).values():
            if concerned(deployment.spec.template.metadata.labels):
                named = deployment.metadata
                self._services.add(ServiceKey(named.namespace, "Deployment", named.name))
        for group in view.all(LeaderWorkerSet).values():
            if concerned(group.spec.leader_worker_template.worker_template.metadata.labels):
                named = group.metadata
                self._services.add(ServiceKey(named.namespace, "LeaderWorkerSet", named.name))

    @property
    def namespaces(self) -> frozenset[str]:
        """Where services are."""
        return frozenset(service.namespace for service in self._services)

    def owner(self, pod: PodKey) -> Owner | None:
        """Returns whose a pod is or was; None where nobody's, or where its name allows more than one answer."""
        there = self._pods.get(pod)
        if there is not None:
            return there
        deployment = _OF_DEPLOYMENT.fullmatch(pod.name)
        named = {ServiceKey(pod.namespace, "Deployment", deployment[1])} if deployment else set[ServiceKey]()
        named |= {
            ServiceKey(pod.namespace, "LeaderWorkerSet", found[1])
            for pattern in (_OF_GROUP, _OF_WORKER)
            if (found := pattern.fullmatch(pod.name))
        }
        possible = named & self._services
        return Owner(possible.pop(), "/".join(pod)) if len(possible) == 1 else None
