"""The kubelets: pods load for minutes, become Ready, drain when they are deleted, and are gone when they have exited.

A pod holds its GPUs and draws its watts from the moment it is on a node until its containers have exited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgspec

from wattkeeper.cluster.objects import Pod, PodCondition
from wattkeeper.simulation.cluster import TwinCluster
from wattkeeper.simulation.store import kubernetes_time


class Stage(Enum):
    """Where a pod's containers stand."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(kw_only=True, slots=True)
class RunningPod:
    """A pod on a node.

    Attributes:
        until: Unix seconds when loading ends, or when the grace period does; inf while serving.
    """

    pod: Pod
    stage: Stage
    until: float


class Kubelet:
    """Runs every pod that is on a node.

    Attributes:
        version: rises with every change of what runs, or of a stage.
    """

    def __init__(
        self, cluster: TwinCluster, *, load_seconds: Callable[[Pod], float], grace_seconds: Callable[[Pod], float]
    ) -> None:
        """Prepares.

        Args:
            cluster: whose pods run.
            load_seconds: draws how long a pod's model loads.
            grace_seconds: what a pod may take to finish its requests after its deletion.
        """
        self._cluster = cluster
        self._load_seconds = load_seconds
        self._grace_seconds = grace_seconds
        self._running: dict[str, RunningPod] = {}
        self.version = 0

    @property
    def running(self) -> dict[str, RunningPod]:
        """Pods whose containers run, by UID, in the order in which they started."""
        return self._running

    def reconcile(self, now: float) -> None:
        """Starts what was bound, and makes Ready what has loaded."""
        objects = self._cluster.objects
        for pod in list(objects.all(Pod).values()):
            if pod.spec.node_name and pod.metadata.uid not in self._running and not pod.metadata.deletion_timestamp:
                self._start(pod, now)
        for one in self._running.values():
            if one.stage is Stage.LOADING and now >= one.until:
                one.stage, one.until = Stage.SERVING, float("inf")
                self.version += 1
                # As it is by now: others write on it while it loads.
                pod = objects.all(Pod)[one.pod.metadata.uid]
                one.pod = objects.update(_with_status(pod, phase="Running", ready=True, now=now))

    def delete(self, pod: Pod, now: float) -> None:
        """Asks a pod to end. One without a node is gone at once."""
        running = self._running.get(pod.metadata.uid)
        if running is None:
            self._cluster.objects.remove(pod)
            return
        grace = self._grace_seconds(pod)
        # Kubernetes writes when the grace period ends, not when the deletion was asked for.
        meta = msgspec.structs.replace(pod.metadata, deletion_timestamp=kubernetes_time(now + grace))
        running.pod = self._cluster.objects.update(msgspec.structs.replace(pod, metadata=meta))
        running.stage, running.until = Stage.DRAINING, now + grace
        self.version += 1

    def exit(self, uid: str) -> None:
        """Ends a pod whose containers have exited: it holds and draws nothing any more."""
        self._cluster.objects.remove(self._running.pop(uid).pod)
        self.version += 1

    def _start(self, pod: Pod, now: float) -> None:
        status = msgspec.structs.replace(pod.status, start_time=kubernetes_time(now))
        pod = msgspec.structs.replace(pod, status=status)
        pod = self._cluster.objects.update(_with_status(pod, phase="Running", ready=False, now=now))
        until = now + self._load_seconds(pod)
        self._running[pod.metadata.uid] = RunningPod(pod=pod, stage=Stage.LOADING, until=until)
        self.version += 1

    def finish_loading(self, now: float) -> None:
        """Makes everything Ready that still loads: a story may begin in the middle of a fleet's life."""
        for one in self._running.values():
            if one.stage is Stage.LOADING:
                one.until = now
        self.reconcile(now)


def _with_status(pod: Pod, *, phase: str, ready: bool, now: float) -> Pod:
    condition = PodCondition(
        type="Ready", status="True" if ready else "False", last_transition_time=kubernetes_time(now)
    )
    return msgspec.structs.replace(
        pod, status=msgspec.structs.replace(pod.status, phase=phase, conditions=(condition,))
    )
